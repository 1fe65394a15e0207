"""What the steps are called with: each argument of the command line once."""

from typing import Annotated, Any

import typer


def _argument(help: str, **options: Any) -> Any:
    return typer.Argument(help=help, show_default=False, **options)


SourceId = Annotated[str, _argument("id in the table of sources (config/sources.tsv)")]
DatasetName = Annotated[str, _argument("name of a data set of the configuration")]
CalibratedName = Annotated[str, _argument("name of a calibrated data set of the configuration")]
CalibratedSubjectName = Annotated[str, _argument("name of a subject there, e.g. 17-1882")]
SubjectId = Annotated[str, _argument("id in the subject sheet, or a virtual patient's")]
ViewSetName = Annotated[str, _argument("name of a view set of the data set")]
MethodName = Annotated[str, _argument("name of a method of the configuration")]
Seed = Annotated[int, _argument("seed of the training", min=0, max=2**32 - 1)]
Shard = Annotated[
    int, _argument("number of the shard within view set and subject", min=0, max=2**32 - 1)
]
Matcher = Annotated[str, _argument("network or sift")]
TableName = Annotated[str, _argument("name of a table (docs/tables.md)")]
FigureName = Annotated[str, _argument("name of a figure, e.g. overlays-pelvis-cpm-grid")]
ModelFile = Annotated[str, _argument("a model.safetensors", metavar="MODEL")]
ImportFile = Annotated[str, _argument("a YAML file, see config/import", metavar="IMPORT")]
ConfigFile = Annotated[
    str, typer.Option(help="the main configuration file", envvar="RAYMARK_CONFIG")
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="threads to use; without it, all cores", show_default=False),
]
