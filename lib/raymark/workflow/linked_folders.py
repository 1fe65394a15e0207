"""Folders of results that lie elsewhere, on scratch say: each belongs to one project."""

from pathlib import Path

from raymark.core.errors import InputError
from raymark.core.files import atomic

OWNER = "raymark-project.txt"


def claim_linked_folders() -> None:
    """Write this project's folder into those that `results`, or links in it, lead to.

    Raises InputError for a folder that another project has claimed, whose shards and models have the
    names of ours, and for a link that leads nowhere.
    """
    results = Path("results")
    for link in [results, *sorted(results.glob("*"))]:
        if link.is_symlink():
            _claim(link, str(Path.cwd()))


def _claim(link: Path, project: str) -> None:
    folder = link.resolve()
    if not folder.is_dir():
        remedy = "Make that folder, or remove the link"
        raise InputError(link, f"is a link to {folder}, which is no folder", remedy)
    owner = folder / OWNER
    if not owner.exists():
        _write(owner, project, link)
    elif (other := owner.read_text(encoding="utf-8", errors="replace").strip()) != project:
        raise InputError(
            link,
            f"is a link to {folder}, whose results are those of the project in {other}",
            f"Link to a folder of this project's own; if the project was moved, delete {owner}",
        )


def _write(owner: Path, project: str, link: Path) -> None:
    try:
        with atomic(owner) as partial:
            partial.write_text(project + "\n", encoding="utf-8")
    except OSError as error:
        problem = f"is a link to {owner.parent}, where nothing can be written ({error.strerror})"
        raise InputError(link, problem, "Link to a folder that you may write in") from None
