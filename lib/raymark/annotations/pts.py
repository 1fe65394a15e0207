"""Point files (.pts) of BoneFinder and of ibug: one for each image, points in a fixed order."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from pydantic import Field

from raymark.annotations._json import ABSENT
from raymark.annotations.base import Annotation, AnnotationLayout, number
from raymark.core.errors import InputError

MISSING = ((0.0, 0.0), (-1.0, -1.0))


class Pts(AnnotationLayout):
    """Files of points (.pts): one for each image, named alike; `landmarks` names them in order."""

    layout: Literal["pts"]
    folder: str = Field(description="the folder of the .pts files")
    first_pixel: Literal[0, 1] = Field(
        description="the position of the first pixel's centre: 0, or 1 as where MATLAB wrote them (ibug)"
    )

    @property
    def files(self) -> list[str]:
        return [self.folder]

    def annotated_images(self, names: list[str]) -> Iterator[Annotation]:
        for path in sorted(Path(self.folder).glob("*.pts")):
            points = [
                ABSENT if (x, y) in MISSING else (x - self.first_pixel, y - self.first_pixel)
                for x, y in _points_of(path)
            ]
            labels = names or [f"p{n}" for n in range(1, len(points) + 1)]
            if len(points) != len(labels):
                problem = f"has {len(points)} points instead of {len(labels)}"
                raise InputError(path, problem, "`landmarks` names all of them in order")
            yield Annotation(path.stem, str(path), dict(zip(labels, points, strict=True)))


def _points_of(path: Path) -> list[tuple[float, float]]:
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(path, f"cannot be read ({error})", "Export it again") from None
    lines = [line for line in lines if line and not line.startswith(("//", "#"))]
    head = {key.strip(): value.strip() for key, _, value in (x.partition(":") for x in lines)}
    if "{" not in lines or "}" not in lines or not head.get("n_points", "").isdecimal():
        raise InputError(
            path, "is no file of points", "It has n_points: N, then { and } around them"
        )
    inside = lines[lines.index("{") + 1 : lines.index("}")]
    if len(inside) != int(head["n_points"]):
        problem = f"has {len(inside)} points, its n_points says {head['n_points']}"
        raise InputError(path, problem, "Export it again")
    points = []
    for line in inside:
        cells = line.split()
        if len(cells) != 2:
            raise InputError(path, f"has the line {line[:40]!r}", "Every point is x y")
        points.append((number(cells[0], str(path)), number(cells[1], str(path))))
    return points


Layout = Pts
