"""What tests.end_to_end.fuzz breaks beside a user's images and settings: annotations, tables, logs."""

from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.end_to_end.fuzz_readers import Reader, text, written

POINTS = "image,landmark,x_px,y_px,patient\na.png,tip,1,2,p1\na.png,end,3,4,p1\nb.png,tip,5,6,p2\nb.png,end,7,8,p2\n"
LOG = """Provided remote nodes: 4
Job stats:
job        count
-------  -------
render         1
total          1

[Sat Nov 21 12:00:00 2026]
rule render:
    input: ct.nii.gz, views.parquet
    output: 00000.zarr.zip
    log: logs/render.log
    jobid: 1
    wildcards: dataset=d, shard=00000
    resources: mem_mb=1500, runtime=10
[Sat Nov 21 12:01:00 2026]
Error in rule render:
    message: SLURM-job '7' failed, SLURM status is: 'FAILED'.For further error details see the log.
    jobid: 1
    log: logs/render.log, slurm/7.log (check log file(s) for error details)
Finished jobid: 1 (Rule: render)
Complete log(s): x.log
"""


def _annotations(path: Path, **layout):
    from pydantic import TypeAdapter

    from raymark.annotations.layouts import Layout, read_annotations

    return read_annotations(TypeAdapter(Layout).validate_python(layout), None)


def _spreadsheet(path: Path):
    return _annotations(path, layout="csv", file=str(path))


def _spine_ap(path: Path):
    return _annotations(
        path, layout="spine-ap", landmarks=str(path), filenames=str(path.with_name("names.csv"))
    )


def _spine_ap_seeds(folder: Path) -> list[Path]:
    (folder / "names.csv").write_text("a.jpg\nb.jpg\n")
    (folder / "landmarks.csv").write_text("\n".join([",".join(["0.25"] * 136)] * 2) + "\n")
    return [folder / "landmarks.csv"]


def _cephalometric(path: Path):
    return _annotations(path, layout="cephalometric-2015", readers=[str(path.parent)])


def _splits(path: Path):
    import numpy as np

    from raymark.annotations.layouts import Annotation
    from raymark.config.imports import Import2d
    from raymark.imports.splits import split_of

    values = {"name": "made", "title": "Made", "images": ".", "annotations": {"layout": "csv", "file": "x"},
              "split": {"kind": "table", "file": str(path)}}  # fmt: skip
    images = [Annotation(name, "x.csv", np.zeros((1, 2))) for name in ("a.png", "b.png")]
    return split_of(Import2d.model_validate(values), images, ["p1", "p2"])


def _import(path: Path):
    from raymark.config.imports import read_import

    return read_import(path)


def _correspondence(path: Path):
    from raymark.correspondence.config import read_correspondence

    return read_correspondence(path, "demo")


def _correspondence_model(path: Path):
    from raymark.correspondence.training import load_model

    return load_model(path)


def _correspondence_model_seeds(folder: Path) -> list[Path]:
    from raymark.correspondence.config import Correspondence
    from raymark.correspondence.network import build
    from raymark.training.model_files import write_tensors

    settings = Correspondence.model_validate({"network": {"filters": 1}})
    weights = build(settings.network, seed=0).state_dict()
    record = {"correspondence": settings.model_dump(mode="json"), "provenance": ""}
    write_tensors(folder / "model.safetensors", weights, record)
    return [folder / "model.safetensors"]


def _attenuation(path: Path):
    from raymark.radiotherapy.contrast import read_tabulated

    return read_tabulated(path)


def _log(path: Path):
    from datetime import datetime

    from raymark.workflow.run_log import progress, read_run

    return progress(read_run(path), datetime(2026, 11, 21, 13))


def _landmark_table(path: Path):
    from raymark.landmarks.table import read_landmark_table

    return read_landmark_table(path)


def _views(path: Path):
    from raymark.views.plan import read_views

    return read_views(path, view_set="word", shard=1)


def _views_schema() -> pa.Schema:
    from raymark.views.plan import SCHEMA

    return SCHEMA


def _predictions(path: Path):
    from raymark.evaluation.errors import read_predictions

    return read_predictions(path)


def _predictions_schema() -> pa.Schema:
    from raymark.detection.on_views import SCHEMA

    return SCHEMA


def _errors(path: Path):
    from raymark.evaluation.errors import read_errors

    return read_errors([path])


def _errors_schema() -> pa.Schema:
    from raymark.evaluation.errors import ERROR_COLUMNS

    return pa.schema([(name, pa.string()) for name in ERROR_COLUMNS])


def _poses(path: Path):
    from raymark.pose.estimate import read_poses

    return read_poses([path])


def _poses_schema() -> pa.Schema:
    from raymark.pose.estimate import SCHEMA

    return SCHEMA


def _setup(path: Path):
    from raymark.radiotherapy.setup_table import read_setup

    return read_setup([path])


def _setup_schema() -> pa.Schema:
    from raymark.radiotherapy.setup_table import SCHEMA

    return SCHEMA


def _matches(path: Path):
    from raymark.correspondence.matches import read_matches

    return read_matches(path)


def _matches_schema() -> pa.Schema:
    words = ("subject", "transformation", "method")
    numbers = ("z_mm", "x1_px", "y1_px", "x2_px", "y2_px", "error_mm")
    kinds = dict.fromkeys(words, pa.string()) | dict.fromkeys(numbers, pa.float64())
    return pa.schema(kinds)


def _table(
    read: Callable[[Path], object], schema: Callable[[], pa.Schema], *modules: str
) -> Reader:
    """A Parquet table of two equal rows."""

    def value(kind: pa.DataType):
        if pa.types.is_list(kind):
            return [1.0]
        if pa.types.is_boolean(kind):
            return True
        return "word" if pa.types.is_string(kind) else 1

    def seeds(folder: Path) -> list[Path]:
        row = {field.name: value(field.type) for field in schema()}
        table = pa.Table.from_pylist([row] * 2, schema())
        pq.write_table(table, folder / "table.parquet", compression="zstd")
        return [folder / "table.parquet"]

    return Reader("table.parquet", read, seeds, ("stored", *modules))


TABLES = {
    "import settings": text("cephalometric_2015.yaml", _import, "config/import/cephalometric_2015.yaml", "settings2d"),
    "annotations, spreadsheet": Reader("points.csv", _spreadsheet, written("points.csv", POINTS), ("annotations2d",)),
    "annotations, spine-ap": Reader("landmarks.csv", _spine_ap, _spine_ap_seeds, ("annotations2d",)),
    "annotations, cephalometric": Reader("001.txt", _cephalometric, written("001.txt", "12,34\n" * 21), ("annotations2d",)),
    "table of splits": Reader("split.csv", _splits, written("split.csv", "image,view_set\na.png,train\nb.png,test\n"), ("splits2d",)),
    "attenuation coefficients": text("nist_tissues.csv", _attenuation, "config/reference/nist_tissues.csv", "contrast"),
    "correspondence settings": text("correspondence.yaml", _correspondence, "config/correspondence.yaml", "correspondence.config"),
    "correspondence model": Reader("model.safetensors", _correspondence_model, _correspondence_model_seeds, ("models", "correspondence.training")),
    "landmark table": Reader("landmarks.csv", _landmark_table, written("landmarks.csv", "subject,landmark,x_mm,y_mm,z_mm,origin\np,tip,1,2,3,csv\n"), ("stored", "landmarks")),
    "views": _table(_views, _views_schema, "views"),
    "predictions": _table(_predictions, _predictions_schema, "evaluation"),
    "errors": _table(_errors, _errors_schema, "evaluation"),
    "poses": _table(_poses, _poses_schema, "poses"),
    "set-up errors": _table(_setup, _setup_schema, "setup.results"),
    "matches of slices": _table(_matches, _matches_schema, "correspondence.matches"),
    "Snakemake's log": Reader("x.snakemake.log", _log, written("x.snakemake.log", LOG), ("progress",)),
}  # fmt: skip
