"""The images of an import, found by the names that annotations give them."""

import os
from pathlib import Path, PurePath

from raymark.core.errors import InputError
from raymark.imports.xray_file import stem_of


class ImageFolder:
    """The image files anywhere below a folder, found by path, by file name or by stem."""

    def __init__(self, folder: str | Path):
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(folder, "is not a folder", "Give the folder of the images")
        self._paths: dict[str, set[Path]] = {}
        for path in sorted(self.folder.rglob("*")):
            for key in {path.relative_to(self.folder).as_posix(), path.name, stem_of(path)}:
                if path.is_file():
                    self._paths.setdefault(key, set()).add(path)

    def find(self, image: str, place: str) -> Path:
        """Return the one file of that name; InputError names `place` where there is none, or two.

        Annotations come from elsewhere: a name that leads out of the folder is refused.
        """
        exact = self.folder / image
        if PurePath(image).is_absolute() or ".." in PurePath(image).parts:
            problem = f"the image {image!r} lies outside {self.folder}"
            raise InputError(place, problem, "Give its path below the folder")
        # Of a name longer than any file's, Path.is_file would raise.
        paths = {exact} if os.path.isfile(exact) else self._paths.get(image, set())
        if len(paths) == 1:
            return next(iter(paths))
        listed = ", ".join(str(path) for path in sorted(paths))
        problem = f"could be any of {listed}" if paths else f"is not in {self.folder}"
        remedy = "Give its path below the folder" if paths else "Add the file, or drop its line"
        raise InputError(place, f"the image {image!r} {problem}", remedy)
