"""Whether files below results/ still are what was written: shards, models and tables."""

import os
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

from raymark import layout
from raymark.core.errors import InputError
from raymark.core.left_out import is_left_out

CHECKPOINTS = ("checkpoint.safetensors", "previous.safetensors")


def files_to_check(place: str | Path) -> list[Path]:
    """List the shards, models and Parquet tables at or below `place`, links followed.

    Names that begin with a dot belong to files being written; a line in the place of a file is not
    damaged. Raises InputError if there are none.
    """
    place = Path(place)
    every = [place] if place.is_file() else _below(place)
    found = sorted(path for path in every if path.name.endswith(tuple(_checks())))
    found = [path for path in found if not is_left_out(path)]
    if not found:
        problem = "holds nothing to check" if place.exists() else "is missing"
        remedy = "Give a shard, a model, a Parquet table or a folder of them"
        raise InputError(place, problem, remedy)
    return found


def _below(folder: Path) -> Iterator[Path]:
    seen = set()
    for where, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        folders[:] = [name for name in folders if not name.startswith(".")]
        if real in seen:  # a link to a folder above it, or a second one to the same
            folders.clear()
            continue
        seen.add(real)
        yield from (Path(where, name) for name in names if not name.startswith("."))


def damage(paths: list[Path]) -> Iterator[tuple[Path, InputError]]:
    """Read every byte of these files; yield the damaged, each with what is wrong.

    A shard that holds a view of another in its folder is a damaged one, and so is one of a subject
    that its folder is not named after.
    """
    owners: dict[tuple[Path, str], Path] = {}
    for path in paths:
        try:
            _check_of(path)(path)
            if path.name.endswith(".zarr.zip"):
                _check_place(path, owners)
        except InputError as error:
            yield path, error


def _check_of(path: Path) -> Callable[[Path], object]:
    return next(check for ending, check in _checks().items() if path.name.endswith(ending))


def _checks() -> dict[str, Callable[[Path], object]]:
    from raymark.core.stored_tables import check_table
    from raymark.datasets.shards import check_shard
    from raymark.training.model_files import read_tensors

    return {".zarr.zip": check_shard, ".safetensors": read_tensors, ".parquet": check_table}


def _check_place(path: Path, owners: dict[tuple[Path, str], Path]) -> None:
    from raymark.datasets.shards import REMEDY, read_attributes

    attributes = read_attributes(path)
    subjects, folder = set(attributes["subject"]), path.absolute().parent
    of_workflow = folder.parts[-4:-3] == ("shards",) and folder.name != "imported"
    if of_workflow and subjects != {folder.name}:
        raise InputError(path, f"holds views of {', '.join(sorted(subjects))}", REMEDY)
    for view in attributes["view"]:
        first = owners.setdefault((folder, view), path)
        if first != path:
            raise InputError(path, f"holds {view!r}, as does {first}", REMEDY)


def made_again_by(paths: list[Path]) -> str:
    """Return the command that makes these files again; checkpoints are made by their training.

    Of an import all shards are made together, with the table of its views.
    """
    command, targets = ["snakemake", "--cores", "all"], []
    for path in paths:
        if path.parent.name == "imported":
            command[3:] = ["--forcerun", "import_2d", "--"]
            targets.append(layout.VIEWS.format(dataset=path.absolute().parts[-4]))
        elif path.name not in CHECKPOINTS:
            targets.append(os.path.relpath(path))
    return shlex.join([*command, *dict.fromkeys(targets)])
