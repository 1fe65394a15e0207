"""The configuration as the workflow started with it.

Steps read this copy, so that what is edited while jobs run counts from the next run on, which then
makes anew what the change concerns.
"""

import json
import shutil
from pathlib import Path

from raymark import layout
from raymark.config.project import Project
from raymark.core.digests import text_digest
from raymark.core.files import atomic, sha256_of

NAMED = ("subjects", "sources", "datasets", "methods", "imports", "calibrated", "correspondence")


def freeze(project: Project) -> Path:
    """Copy the main file and the files it names below a folder named by their digest, once.

    Returns the copy of the main file. Landmark files, recipes, papers and data stay where they are.
    """
    config = project.config.model_dump(mode="json")
    named = {key: config[key] for key in NAMED if config[key]}
    files = [file for value in named.values() for file in _listed(value)]
    digest = text_digest(json.dumps([config, [sha256_of(file) for file in files]]))
    main = Path(layout.CONFIG.format(digest=digest))
    if main.exists():
        return main
    for key, value in named.items():
        copies = {file: main.parent / key / Path(file).name for file in _listed(value)}
        for file, copy in copies.items():
            with atomic(copy) as partial:
                shutil.copyfile(file, partial)
        paths = [str(copy) for copy in copies.values()]
        config[key] = paths if isinstance(value, list) else paths[0]
    with atomic(main) as partial:
        partial.write_text(json.dumps(config, indent=1) + "\n")
    return main


def _listed(value: str | list[str]) -> list[str]:
    return value if isinstance(value, list) else [value]
