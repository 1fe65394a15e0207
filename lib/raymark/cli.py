"""The command line: one subcommand per step of the workflow, so that each also runs by hand.

    raymark train --config config/config.yaml pelvis cpm 0

reads and writes the same files under results/ as the workflow's rule would.
"""

import argparse
import os
import sys

from raymark import __version__
from raymark.core.errors import InputError

# name: (what it does, its positional arguments)
STEPS = {
    "fetch": ("bring a declared data file, verified by checksum", ["source"]),
    "ingest": ("turn a subject's CT and labels into the canonical volume", ["dataset", "subject"]),
    "landmarks": ("import or compute a subject's 3D landmarks", ["dataset", "subject"]),
    "virtual-patient": ("deform a CT with its landmarks, e.g. pelvis-v001", ["dataset", "subject"]),
    "views": ("plan every view of a data set and check its splits", ["dataset"]),
    "render": ("render one shard of views", ["dataset", "view_set", "subject", "shard"]),
    "train": ("train a method; resumes if it was interrupted", ["dataset", "method", "seed"]),
    "predict-views": ("predict a view set's landmarks", ["dataset", "method", "seed", "view_set"]),
    "evaluate": ("compare predictions with truth", ["dataset", "method", "seed", "view_set"]),
    "pose": ("estimate and refine poses", ["dataset", "method", "seed", "view_set"]),
    "capture-range": ("try from how far refinement finds back", ["dataset", "view_set"]),
    "setup-error": ("measure set-up errors", ["dataset", "method", "seed", "view_set"]),
    "contrast": ("measure the contrast of bone, kilovoltage against megavoltage", []),
    "mean-position": ("evaluate the baseline that looks at no image", ["dataset", "view_set"]),
    "correspondence-train": ("train the network that matches CT slices", []),
    "correspondence-match": ("match the test slices with their transformed copies", ["matcher"]),
    "correspondence-follow-up": ("match the test slices with a virtual second scan", []),
    "correspondence-report": ("write the table of the matches", []),
    "table": ("write a table as CSV, Markdown, LaTeX and HTML", ["table"]),
    "figure": ("draw a figure as SVG and PNG", ["figure"]),
}
HELP = {
    "source": "id in the table of sources (config/sources.tsv)",
    "dataset": "name of a data set of the configuration",
    "subject": "id in the subject sheet, or a virtual patient's",
    "view_set": "name of a view set of the data set",
    "shard": "number of the shard within view set and subject",
    "method": "name of a method of the configuration",
    "seed": "seed of the training",
    "matcher": "network or sift",
    "table": "name of a table (see docs/reading-the-tables.md)",
    "figure": "name of a figure, e.g. overlays-pelvis-cpm-grid",
}


def main(arguments: list[str] | None = None) -> int:
    """Run one step; return the exit status. A user's mistake is told in one line."""
    options = _parser().parse_args(arguments)
    if options.threads:
        for variable in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "MKL_NUM_THREADS"):
            os.environ[variable] = str(options.threads)  # read when the libraries are imported
    # Threads that wait without spinning leave the cores to other jobs: twice the speed when shared.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    from raymark.workflow import steps

    step = getattr(steps, options.step.replace("-", "_"))
    try:
        step(**{k: v for k, v in vars(options).items() if k not in ("step", "threads")})
    except InputError as error:
        print(f"raymark {options.step}: {error}", file=sys.stderr)
        return 1
    except (OSError, MemoryError, OverflowError, RecursionError) as error:
        print(f"raymark {options.step}: {_told(error)}", file=sys.stderr)
        return 1
    return 0


def _told(error: Exception) -> str:
    """Tell in one line what the machine refused, and of which file where that is known."""
    name = getattr(error, "filename2", None) or getattr(error, "filename", None)
    if name is not None:
        return f"{name}: {error.strerror}. Check the path, its rights and the space on its disk"
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="raymark",
        description="Anatomical landmarks in X-ray images: from CT to tables and figures. "
        "Every subcommand is one step of the workflow (snakemake --cores 8 all).",
    )
    parser.add_argument("--version", action="version", version=f"raymark {__version__}")
    commands = parser.add_subparsers(dest="step", required=True, metavar="<step>")
    for name, (what, positional) in STEPS.items():
        command = commands.add_parser(name, help=what, description=what.capitalize() + ".")
        for argument in positional:
            number = _number if argument in ("shard", "seed") else str
            command.add_argument(argument, type=number, help=HELP[argument])
        command.add_argument(
            "--config",
            default=os.environ.get("RAYMARK_CONFIG") or "config/config.yaml",
            help="the main configuration file (default: $RAYMARK_CONFIG or config/config.yaml)",
        )
        command.add_argument("--threads", type=int, help="threads to use (default: all cores)")
    _add_tools(commands)
    return parser


def _number(text: str) -> int:
    number = int(text)
    if not 0 <= number < 2**32:
        raise argparse.ArgumentTypeError(f"{text} is not from 0 to {2**32 - 1}")
    return number


def _add_tools(commands) -> None:
    """Add what is no step of the workflow."""
    schemas = commands.add_parser(
        "schemas",
        help="write the configuration's JSON schemas and reference",
        description="Write the JSON schemas and config/README.md below the project's folder.",
    )
    schemas.add_argument("root", nargs="?", default=".", help="the project's folder")
    _add_predict(commands)
    _add_match_cts(commands)
    export = commands.add_parser(
        "export",
        help="write a trained model as ONNX",
        description="Write network, standardisation and decoder as one ONNX file: grey image at the "
        "model's pixel size in, points in px and confidence out; the metadata name the landmarks.",
    )
    export.add_argument("model_path", metavar="model", help="a model.safetensors")
    export.add_argument("out_path", metavar="out", help="the file to write, e.g. model.onnx")
    import_2d = commands.add_parser(
        "import-2d",
        help="turn annotated 2D X-rays into shards to train and evaluate on",
        description="Read the images and annotations that a file names (config/import/*.yaml) and "
        "write them as shards, a table of views and a list of images below results/.",
    )
    import_2d.add_argument("import_path", metavar="import", help="a YAML file, see config/import")
    check = commands.add_parser(
        "check",
        help="read every byte of shards, models and tables and tell which are damaged",
        description="Verify the checksums of every shard, model and Parquet table. Exit status 1 if "
        "one is damaged, or if there is none.",
    )
    check.add_argument(
        "folder", nargs="?", default="results", help="a folder, or one file (%(default)s)"
    )
    check.add_argument(
        "--delete",
        action="store_true",
        help="delete the damaged, and tell the command that makes them anew",
    )
    progress = commands.add_parser(
        "progress",
        help="tell what a run has done, is doing and has left",
        description="Tell what a run of the workflow has done, is doing since when, and has left, "
        "here or on a cluster; run it in the folder the workflow was started in.",
    )
    progress.add_argument("log", nargs="?", help="a log of Snakemake (default: the newest run's)")
    for command in (schemas, export, import_2d, check, progress):
        command.set_defaults(threads=None)


def _add_predict(commands) -> None:
    predict = commands.add_parser(
        "predict",
        help="find landmarks in X-ray images of your own",
        description="Find landmarks in DICOM, PNG, TIFF, JPEG, NIfTI or MetaImage files, bone "
        "bright. Writes each image's points as CSV and for 3D Slicer, and a picture of them. An "
        "image is brought to the pixel size of the training images; where its file does not tell "
        "its own, it is taken to show as much as they do. See docs/your-own-xrays.md.",
    )
    predict.add_argument("--model", dest="model_path", required=True, help="a model.safetensors")
    predict.add_argument(
        "image_paths", metavar="image", nargs="+", help="an X-ray, or a folder of them"
    )
    predict.add_argument(
        "--out", dest="out_dir", default="predicted", help="folder to write to (%(default)s)"
    )
    predict.add_argument(
        "--pixel-mm", type=float, help="pixel size at the detector, of all these images"
    )
    predict.add_argument(
        "--invert", action="store_true", help="the images show bone dark: turn them bright"
    )
    predict.set_defaults(threads=None)


def _add_match_cts(commands) -> None:
    match_cts = commands.add_parser(
        "match-cts",
        help="find corresponding landmarks in two CTs of one patient",
        description="Align the second CT to the first by an affine map, then match axial slices. "
        "Writes matches.csv (pixels of 1 mm, and world RAS mm in each CT) and a picture.",
    )
    match_cts.add_argument("--model", dest="model_path", required=True, help="model.safetensors")
    match_cts.add_argument("first_path", metavar="first", help="a CT: DICOM, NIfTI, NRRD, MHA")
    match_cts.add_argument("second_path", metavar="second", help="another CT of the same patient")
    match_cts.add_argument(
        "--out", dest="out_dir", default="matched", help="folder to write to (%(default)s)"
    )
    match_cts.add_argument(
        "--slices", dest="slice_count", type=int, help="how many, evenly spread (default: all)"
    )
    match_cts.set_defaults(threads=None)
