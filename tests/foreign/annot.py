"""2D annotations of other tools, and mistakes of people who annotate."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path

import numpy as np
import SimpleITK as sitk
from PIL import Image

from raymark.config.imports import Import2d
from raymark.core.errors import InputError
from raymark.core.names import flip_pairs
from raymark.imports.planned_image import Planned
from raymark.imports.point_checks import doubted
from raymark.imports.write import plan
from raymark.landmarks.types import chain_of
from tests.foreign.case import Case

SIZE = (200, 180)  # height, width
SHAPE = {
    "left_hip": (84.0, 70.0),
    "right_hip": (36.0, 71.0),
    "left_knee": (80.0, 130.0),
    "right_knee": (41.0, 131.0),
    "tip": (60.0, 20.0),
}
Points = dict[str, tuple[float, float]]


def people(count: int = 6) -> dict[str, Points]:
    """Points of some people, by the names of their images: one anatomy with small differences."""
    rng = np.random.default_rng(5)
    return {
        f"x{n}.png": {
            k: tuple((np.array(p) + rng.normal(0, 1.5, 2)).round(2)) for k, p in SHAPE.items()
        }
        for n in range(count)
    }


def write_images(folder: Path, names, size_yx=SIZE) -> None:
    (folder / "images").mkdir(exist_ok=True)
    picture = np.add.outer(np.arange(size_yx[0]), np.arange(size_yx[1])).astype(np.uint8)
    for name in names:
        Image.fromarray(picture).save(folder / "images" / name)


def write_csv(path: Path, points: dict[str, Points], delimiter=",", change=str, **more) -> None:
    with open(path, "w", newline="", encoding="utf-8-sig") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(["image", "landmark", "x_px", "y_px", *more])
        for image, marked in points.items():
            for name, (x, y) in marked.items():
                writer.writerow(
                    [image, name, change(x), change(y), *(m[image] for m in more.values())]
                )


def imported(
    folder: Path, annotations: dict, **changes
) -> tuple[list[str], list[Planned], list[str]]:
    """Read and check an import as `raymark import-2d` does; names, images and doubts about all."""
    settings = Import2d.model_validate(
        {
            "name": "own",
            "title": "Own",
            "images": str(folder / "images"),
            "annotations": annotations,
            "scale": {"kind": "pixel", "pixel_mm": 0.2},
            "split": {"kind": "whole"},
            **changes,
        }
    )
    names, planned = plan(settings, "own.yaml")
    chain = chain_of(names, settings.known_types)
    about_all, planned = doubted(planned, names, flip_pairs(names), chain, settings.primary_deg)
    return names, planned, about_all


def told(names: list[str], planned: list[Planned], about_all: list[str]) -> str:
    """Say where the first image's first landmark is, how many are missing, and what is doubted."""
    first = planned[0].points_px[0]
    missing = sum(int(np.isnan(image.points_px[:, 0]).sum()) for image in planned)
    doubts = [*about_all, *(f"{i.path.name} {d}" for i in planned for d in i.doubts)]
    place = f"{names[0]} at {first[0]:.2f}, {first[1]:.2f} px"
    return f"{place}; {missing} missing; doubts: {'; '.join(doubts) or 'none'}"


def run(make: Callable[[Path], tuple[dict, dict]]) -> Callable[[Path], str]:
    """Return a case's `run`: make the files and settings, read them, say what came out."""

    def result(folder: Path) -> str:
        annotations, changes = make(folder)
        try:
            return told(*imported(folder, annotations, **changes))
        except InputError as error:
            return f"refused: {error}"

    return result


def table(change: Callable[[dict[str, Points]], object] | None = None, **how):
    """Return what writes the spreadsheet of some people, changed, and their images."""

    def make(folder: Path) -> tuple[dict, dict]:
        points = people()
        write_images(folder, points)
        if change is not None:
            change(points)
        write_csv(folder / "points.csv", points, **how)
        return {"layout": "csv", "file": str(folder / "points.csv")}, {}

    return make


def exchange_axes(points, images=None):
    for image in images or points:
        points[image] = {name: (y, x) for name, (x, y) in points[image].items()}


def exchange_sides(points, image="x3.png"):
    old = points[image]
    points[image] = {
        n: old[n.replace("left", "?").replace("right", "left").replace("?", "right")] for n in old
    }


def setting(image, name, value):
    return lambda points: points[image].__setitem__(name, value)


def scaled(factor_xy):
    def change(points):
        for image in points:
            points[image] = {n: tuple(np.array(p) * factor_xy) for n, p in points[image].items()}

    return change


def misspelt(points):
    points["x2.png"]["tipp"] = points["x2.png"].pop("tip")


def pitches(folder: Path) -> tuple[dict, dict]:
    points = people()
    write_images(folder, points)
    own = dict(zip(points, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6], strict=True))
    write_csv(folder / "points.csv", points, pixel_mm=own)
    return {"layout": "csv", "file": str(folder / "points.csv")}, {}


def pitch_of_each(folder: Path) -> str:
    _, planned, _ = imported(folder, *[pitches(folder)[0]])
    return (
        ", ".join(f"{image.file_pixel_mm:g}" for image in planned)
        + " mm; "
        + "; ".join(planned[0].doubts)
    )


def coco(from_corner: bool, width: int = SIZE[1]):
    def make(folder: Path) -> tuple[dict, dict]:
        points = people()
        write_images(folder, points)
        shift = 0.5 if from_corner else 0.0
        images, annotations = [], []
        for number, (image, marked) in enumerate(points.items(), 1):
            images.append({"id": number, "file_name": image, "width": width, "height": SIZE[0]})
            flat = [v for x, y in marked.values() for v in (x + shift, y + shift, 2)]
            if number == 2:
                flat[12:15] = [0, 0, 0]
            annotations.append(
                {"id": number, "image_id": number, "category_id": 1, "keypoints": flat}
            )
        categories = [{"id": 1, "name": "legs", "keypoints": list(SHAPE)}]
        content = {"images": images, "annotations": annotations, "categories": categories}
        (folder / "k.json").write_text(json.dumps(content))
        return {"layout": "coco", "file": str(folder / "k.json"), "from_corner": from_corner}, {}

    return make


def label_studio(folder: Path) -> tuple[dict, dict]:
    points = people()
    write_images(folder, points)
    tasks = []
    for number, (image, marked) in enumerate(points.items(), 1):
        result = [
            {
                "type": "keypointlabels",
                "original_width": SIZE[1],
                "original_height": SIZE[0],
                "image_rotation": 0,
                "value": {
                    "x": (x + 0.5) / SIZE[1] * 100,
                    "y": (y + 0.5) / SIZE[0] * 100,
                    "width": 0.5,
                    "keypointlabels": [name],
                },
            }
            for name, (x, y) in marked.items()
        ]
        data = {"image": f"/data/upload/1/0a1b2c3d-{image}"}
        tasks.append({"id": number, "data": data, "annotations": [{"result": result}]})
    tasks.append(
        {
            "id": 99,
            "data": {"image": "skipped.png"},
            "annotations": [{"was_cancelled": True, "result": []}],
        }
    )
    (folder / "ls.json").write_text(json.dumps(tasks))
    return {"layout": "label-studio", "file": str(folder / "ls.json")}, {}


def labelme(folder: Path) -> tuple[dict, dict]:
    points = people()
    write_images(folder, points)
    (folder / "lm").mkdir()
    for image, marked in points.items():
        shapes = [
            {"label": n, "points": [[x + 0.5, y + 0.5]], "shape_type": "point"}
            for n, (x, y) in marked.items()
        ]
        content = {
            "imagePath": f"..\\images\\{image}",
            "shapes": shapes,
            "imageWidth": SIZE[1],
            "imageHeight": SIZE[0],
        }
        (folder / "lm" / f"{Path(image).stem}.json").write_text(json.dumps(content))
    return {"layout": "labelme", "folder": str(folder / "lm")}, {}


def turned_by_exif(folder: Path) -> tuple[dict, dict]:
    """LabelMe's window turned a camera's picture; its points are the turned picture's."""
    annotations, changes = labelme(folder)
    for path in (folder / "images").iterdir():
        picture = Image.open(path).convert("L").transpose(Image.Transpose.ROTATE_90)
        exif = Image.Exif()
        exif[274] = 6
        picture.save(path, exif=exif)
    return annotations, changes


def pts(first_pixel: int):
    def make(folder: Path) -> tuple[dict, dict]:
        points = people()
        write_images(folder, points)
        (folder / "pts").mkdir()
        for image, marked in points.items():
            lines = [f"{x + first_pixel} {y + first_pixel}" for x, y in marked.values()]
            text = ["version: 1", f"n_points: {len(lines)}", "{", *lines, "}"]
            (folder / "pts" / f"{Path(image).stem}.pts").write_text("\n".join(text))
        annotations = {"layout": "pts", "folder": str(folder / "pts"), "first_pixel": first_pixel}
        return annotations, {"landmarks": list(SHAPE)}

    return make


def cl_detection_2023(folder: Path) -> tuple[dict, dict]:
    """Two grey images as colour in one stack, padded right and below with zeros."""
    (folder / "images").mkdir()
    stack = np.zeros((2, 60, 70, 3), np.uint8)
    stack[0, :50, :70] = np.add.outer(np.arange(50), np.arange(70))[..., None] + 1
    stack[1, :60, :40] = np.add.outer(np.arange(60), np.arange(40))[..., None] + 1
    sitk.WriteImage(
        sitk.GetImageFromArray(stack, isVector=True), str(folder / "images/train_stack.mha")
    )
    points = [
        {"name": str(n), "point": [n + 0.25, 40.0 - n / 2, frame], "scale": f"{frame / 10}"}
        for frame in (1, 2)
        for n in range(1, 39)
    ]
    (folder / "train-gt.json").write_text(json.dumps({"name": "x", "points": points}))
    return {"layout": "cl-detection-2023", "file": str(folder / "train-gt.json")}, {
        "scale": {"kind": "pixel"}
    }


def of_stack(folder: Path) -> str:
    _, planned, _ = imported(folder, *cl_detection_2023(folder)[:1], scale={"kind": "pixel"})
    return "; ".join(
        f"{p.patient}: {p.shape_yx[1]} × {p.shape_yx[0]} px of {p.file_pixel_mm:g} mm, p2 at {p.points_px[1].tolist()}"
        for p in planned
    )


def cl_detection_2024(folder: Path) -> tuple[dict, dict]:
    write_images(folder, ["001.png", "002.png"])
    header = ["image file", "spacing(mm)", *(f"p{n}{axis}" for n in range(1, 54) for axis in "xy")]
    rows = [
        [f"00{i}.png", 0.1 * i, *(v for n in range(1, 54) for v in (n + i, 2 * n))] for i in (1, 2)
    ]
    with open(folder / "labels.csv", "w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    return {"layout": "cl-detection-2024", "file": str(folder / "labels.csv")}, {
        "scale": {"kind": "pixel"}
    }


def aariz(folder: Path) -> tuple[dict, dict]:
    write_images(folder, ["a.png", "b.png"])
    for reader, shift in (("Senior Orthodontists", 0), ("Junior Orthodontists", 1)):
        (folder / reader).mkdir()
        for image in "ab":
            marks = [
                {"symbol": s, "value": {"x": 10 * n + shift, "y": 20 * n}}
                for n, s in enumerate(["A", "N", "S"], 1)
            ]
            (folder / reader / f"{image}.json").write_text(
                json.dumps({"ceph_id": image, "landmarks": marks})
            )
    (folder / "m.csv").write_text(
        "cephalogram_id,mode,machine,pixel_size\na,train,X,0.1\nb,train,Y,0.15\n"
    )
    readers = [str(folder / f"{r} Orthodontists") for r in ("Senior", "Junior")]
    annotations = {"layout": "aariz", "readers": readers, "machines": str(folder / "m.csv")}
    return annotations, {"scale": {"kind": "pixel"}}


def buu_lspine(folder: Path) -> tuple[dict, dict]:
    write_images(folder, ["0001.png", "0002.png"])
    (folder / "csv").mkdir()
    for number, levels in (("0001", ["L1", "L2"]), ("0002", ["L1", "L2", "L3"])):
        rows = [
            f"{30},{20 * n + h},{60},{20 * n + h},{v}"
            for n, v in enumerate(levels, 1)
            for h in (0, 9)
        ]
        (folder / "csv" / f"{number}.csv").write_text("\n".join(rows))
    return {"layout": "buu-lspine", "folder": str(folder / "csv")}, {}


def hand_atlas(folder: Path) -> tuple[dict, dict]:
    write_images(folder, ["3142.png", "3143.png"])
    rows = [[i, *(v for n in range(37) for v in (20 + 2 * n, 30 + n))] for i in (3142, 3143)]
    with open(folder / "all.csv", "w", newline="") as file:
        csv.writer(file).writerows(rows)
    scale = {"kind": "distance", "mm": 50, "between": [["p1"], ["p5"]]}
    return {"layout": "hand-atlas", "file": str(folder / "all.csv")}, {"scale": scale}


def aliases(folder: Path) -> tuple[dict, dict]:
    annotations, _ = table(
        lambda points: [p.__setitem__("FH-l", p.pop("left_hip")) for p in points.values()]
    )(folder)
    return annotations, {"names": {"FH-l": "left_hip"}, "landmarks": list(SHAPE)}


AT = "left_hip at {:.2f}, {:.2f} px; {} missing; doubts: {}"
FIRST = people()["x0.png"]["left_hip"]
RIGHT = AT.format(*FIRST, 0, "none")
ONE_MISSING = AT.format(
    *FIRST, 1, "of 6 images, landmarks are not marked: tip in 1; they count in no error"
)


def same(out: str) -> bool:
    return out == RIGHT


def says(*words: str) -> Callable[[str], bool]:
    return lambda out: all(word in out for word in words)


def refused(*words: str) -> Callable[[str], bool]:
    return lambda out: out.startswith("refused") and all(word in out for word in words)


def comma(value: float) -> str:
    return str(value).replace(".", ",")


def case(given: str, expected: str, make, right) -> Case:
    return Case("2D annotations", given, expected, run(make), right)


CASES = (
    case("a spreadsheet as documented", "read, no doubt", table(), same),
    case("semicolons and decimal commas (Excel)", "read", table(delimiter=";", change=comma), same),
    case("tabs", "read", table(delimiter="\t"), same),
    case("a byte order mark, spaces behind commas", "read", table(change=lambda v: f" {v}"), same),
    case("one empty cell pair", "one landmark missing", table(setting("x1.png", "tip", ("", ""))), says("1 missing")),
    case("one cell of two empty", "refused, line named", table(setting("x1.png", "tip", ("", 3))), refused("line", "x_px")),
    case("NaN in both cells", "one landmark missing", table(setting("x1.png", "tip", (math.nan, math.nan))), says("1 missing")),
    case("a missing point marked 0, 0", "missing, said", table(setting("x1.png", "tip", (0, 0))), says("1 missing", "x1.png tip at 0, 0")),
    case("a missing point marked −1, −1", "missing, said", table(setting("x1.png", "tip", (-1, -1))), says("1 missing", "x1.png tip at 0, 0")),
    case("a name misspelt in one image", "refused, image and name named", table(misspelt), refused("x2.png", "tipp")),
    case("a point outside the image", "refused", table(setting("x4.png", "tip", (500, 3))), refused("x4.png", "outside")),
    case("x and y exchanged in one image of six", "told, image named", table(lambda p: exchange_axes(p, ["x4.png"])), says("x4.png points lie", "x and y")),
    case("x and y exchanged in all images", "told", table(exchange_axes), says("above each other", "x and y")),
    case("left and right exchanged in one image of six", "told, image named", table(exchange_sides), says("x3.png points lie", "left and right")),
    case("left and right exchanged in all images", "told", table(lambda p: [exchange_sides(p, i) for i in p]), says("left landmarks lie on the images' left")),
    case("points in percent", "told", table(scaled((40 / 180, 40 / 200))), says("upper left corner", "percent")),
    case("points as shares of the size", "told", table(scaled((1 / 180, 1 / 200))), says("shares")),
    case("names by another scheme (FH-l), an alias given", "read under our name", aliases, same),
    Case("2D annotations", "a pixel size for each image, and scale.pixel_mm", "the column counts, said", pitch_of_each, says("0.1, 0.2, 0.3, 0.4, 0.5, 0.6 mm", "counts, not 0.2")),
    case("COCO keypoints, one absent", "read, one missing", coco(False), lambda out: out == ONE_MISSING),
    case("COCO keypoints counted from the corner (CVAT)", "read, half a pixel less", coco(True), lambda out: out == ONE_MISSING),
    case("COCO keypoints of an image of another size", "refused", coco(False, 240), refused("another size")),
    case("Label Studio, with a skipped task", "read", label_studio, same),
    case("LabelMe", "read, from the corner", labelme, same),
    case("LabelMe on pictures turned by EXIF", "read in the turned picture", turned_by_exif, lambda out: out.startswith(RIGHT[:-4]) and "orientation tag" in out),
    case(".pts of ibug, counted from 1", "read", pts(1), same),
    case(".pts of BoneFinder, counted from 0", "read", pts(0), same),
    Case("2D annotations", "CL-Detection 2023: a colour stack padded with zeros", "each image alone, with its size", of_stack, says("001: 70 × 50 px of 0.1 mm, p2 at [2.25, 39.0]", "002: 40 × 60 px of 0.2 mm")),
    case("CL-Detection 2024", "read", cl_detection_2024, says("p1 at 2.00, 2.00 px; 0 missing")),
    case("Aariz, two readers", "their mean", aariz, says("A at 10.50, 20.00 px; 0 missing")),
    case("BUU-LSPINE, two and three vertebrae", "those of the third missing", buu_lspine, says("l1_superior_1 at 30.00, 20.00 px; 4 missing")),
    case("hand atlas", "read", hand_atlas, says("p1 at 20.00, 30.00 px; 0 missing")),
)  # fmt: skip
