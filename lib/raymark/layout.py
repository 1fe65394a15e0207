"""Where every result lies, relative to the working folder.

The workflow's rules and the command line both take their paths from here, so that a step run by
hand reads and writes exactly what the workflow would.
"""

SOURCE = "results/sources/{source}/{file}"
CALIBRATED_FOLDER = "results/calibrated"
CALIBRATED = CALIBRATED_FOLDER + "/{calibrated}/{subject}/{file}"
CALIBRATED_FILES = {"ct": "ct.nii.gz", "labels": "labels.nii.gz", "landmarks": "landmarks.csv"}
CT = "results/volumes/{dataset}/{subject}/ct.nii.gz"
LABELS = "results/volumes/{dataset}/{subject}/labels.nii.gz"
LANDMARKS = "results/volumes/{dataset}/{subject}/landmarks.csv"
ATLAS_LABELS = "results/volumes/{dataset}/{subject}/atlas_labels.nii.gz"
ATLAS_FIT = "results/volumes/{dataset}/{subject}/atlas_fit.csv"
QUALITY = "results/volumes/{dataset}/{subject}/quality.csv"
VERDICT = "results/volumes/{dataset}/{subject}/verdict.json"
DEFORMATION = "results/volumes/{dataset}/{subject}/deformation.json"
VIEWS = "results/views/{dataset}.parquet"
SHARD = "results/shards/{dataset}/{view_set}/{subject}/{shard}.zarr.zip"
IMPORTED_SHARD = "results/shards/{dataset}/{view_set}/imported/{shard}.zarr.zip"
IMPORTED_SHARDS = "results/shards/{dataset}"  # the folder: how many there are, the images tell
IMPORTED_IMAGES = "results/views/{dataset}.images.csv"
MODEL_FOLDER = "results/models/{dataset}/{method}/{seed}"
MODEL = MODEL_FOLDER + "/model.safetensors"
LOSSES = MODEL_FOLDER + "/losses.csv"
PREDICTIONS = "results/predictions/{dataset}/{method}/{seed}/{view_set}.parquet"
ERRORS = "results/errors/{dataset}/{method}/{seed}/{view_set}.parquet"
POSES = "results/poses/{dataset}/{method}/{seed}/{view_set}.parquet"
CAPTURE_RANGE = "results/capture_range/{dataset}/{view_set}.parquet"
SETUP = "results/setup/{dataset}/{method}/{seed}/{view_set}.parquet"
CONTRAST = "results/contrast/contrast.csv"
MEAN_POSITION = "results/errors/{dataset}/mean_position/0/{view_set}.parquet"
TABLE = "results/tables/{table}.{format}"
FIGURE = "results/figures/{figure}.{format}"
FIGURE_IN_REPORT = "results/report/{figure}.jpg"
CORRESPONDENCE_FOLDER = "results/correspondence"
CORRESPONDENCE_MODEL = CORRESPONDENCE_FOLDER + "/model.safetensors"
CORRESPONDENCE_LOSSES = CORRESPONDENCE_FOLDER + "/losses.csv"
CORRESPONDENCE_MATCHES = CORRESPONDENCE_FOLDER + "/{matcher}.parquet"
CORRESPONDENCE_FOLLOW_UP = CORRESPONDENCE_FOLDER + "/follow_up.parquet"
CORRESPONDENCE_FOLLOW_UP_SLICES = CORRESPONDENCE_FOLDER + "/follow_up_slices.parquet"
CONFIG = "results/config/{digest}/config.yaml"

TABLE_FORMATS = ("csv", "md", "tex", "html")
FIGURE_FORMATS = ("svg", "png")


def shard_name(shard: int) -> str:
    """Return the file stem of shard number `shard`."""
    return f"{shard:05d}"
