"""Files of 3D points, and names of landmarks, as users of other programs have them."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from raymark.core.errors import InputError
from raymark.core.names import flip_pairs, unpaired
from raymark.ct import Volume
from raymark.landmarks.table import check_landmarks, read_landmarks
from tests.foreign.case import Case

# A body of tissue whose bones are short bars, one at each landmark; nothing is symmetric front to back.
POINTS = {
    "left_hip": (-60.0, 20.0, 10.0),
    "right_hip": (62.0, 21.0, 12.0),
    "symphysis": (1.0, 70.0, -20.0),
    "sacrum": (0.0, -45.0, 40.0),
    "coccyx": (2.0, -38.0, -30.0),
}
Points = Mapping[str, tuple]


def body() -> Volume:
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = -110, -90, -80
    hu = np.full((111, 101, 81), -1000, np.int16)
    x, y, z = (np.moveaxis(np.indices(hu.shape), 0, -1) * 2 + affine[:3, 3]).transpose(3, 0, 1, 2)
    hu[(x / 90) ** 2 + ((y - 15) / 75) ** 2 < 1] = 40
    for point in POINTS.values():
        hu[np.max([abs(c - p) for c, p in zip((x, y, z), point, strict=True)], axis=0) < 4] = 700
    return Volume(hu, affine, "RAS")


def described(path: Path, names=None, alias=None) -> str:
    """Read and check a file of points as `raymark landmarks` does; say where the first lies."""
    try:
        volume = body()
        table, doubts = read_landmarks(path, "s", alias, lambda: volume)
        expected = (
            [n for n in (names or POINTS) if n in set(table["landmark"])]
            if names is None
            else names
        )
        pairs = flip_pairs(expected)
        extra = [n for n in table["landmark"] if n not in expected]
        table, more = check_landmarks(
            table, [*expected, *extra], volume, flip_pairs([*expected, *extra]), path
        )
    except InputError as error:
        return f"refused: {error}"
    first = table.iloc[0]
    place = f"{first.landmark} at {first.x_mm:g}, {first.y_mm:g}, {first.z_mm:g} of {len(table)}"
    return f"{place}; {len(pairs)} pairs; doubts: {'; '.join([*doubts, *more]) or 'none'}"


def moved(change: Callable) -> Points:
    return {name: tuple(change(np.array(point))) for name, point in POINTS.items()}


def fcsv(points: Points = POINTS, tail: Mapping[str, str] | None = None, system: str = "RAS"):
    """Slicer 5's list: each row ends in the status of its point, 2 for a placed one."""

    def make(folder: Path) -> str:
        head = f"# Markups fiducial file version = 5.2\n# CoordinateSystem = {system}\n"
        head += "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
        rows = [
            f"{n},{x},{y},{z},0,0,0,1,1,1,0,{name},,{(tail or {}).get(name, ',2,0')}"
            for n, (name, (x, y, z)) in enumerate(points.items())
        ]
        (folder / "p.fcsv").write_text(head + "\n".join(rows) + "\n")
        return described(folder / "p.fcsv")

    return make


def markups(points: Points = POINTS, status: Mapping[str, str] | None = None, **more):
    def make(folder: Path) -> str:
        controls = [
            {"label": n, "position": list(p), "positionStatus": (status or {}).get(n, "defined")}
            for n, p in points.items()
        ]
        markup = {"type": "Fiducial", "coordinateSystem": "RAS", "controlPoints": controls, **more}
        (folder / "p.mrk.json").write_text(json.dumps({"markups": [markup]}))
        return described(folder / "p.mrk.json")

    return make


def text(
    points: Points = POINTS,
    head="landmark,x_mm,y_mm,z_mm",
    join=",",
    row=None,
    alias=None,
    bom=False,
):
    def make(folder: Path) -> str:
        lines = [head] + [(row or (lambda n, p: [n, *p]))(n, p) for n, p in points.items()]
        lines = [line if isinstance(line, str) else join.join(map(str, line)) for line in lines]
        (folder / "p.csv").write_text("\n".join(lines), encoding="utf-8-sig" if bom else "utf-8")
        return described(folder / "p.csv", alias=alias)

    return make


def verse(direction: str):
    """VerSe's centroids: voxels along named axes."""

    def make(folder: Path) -> str:
        volume = body()
        rows: list[dict] = [{"direction": list(direction)}]
        for label, point in ((20, POINTS["sacrum"]), (21, POINTS["coccyx"])):
            index = (np.array(point) - volume.affine[:3, 3]) / 2
            values = {}
            for name, side in zip("XYZ", direction, strict=True):
                axis = next(a for a, pair in enumerate(("RL", "AP", "SI")) if side in pair)
                size = volume.hu_xyz.shape[axis]
                values[name] = index[axis] if side in "RAS" else size - 1 - index[axis]
            rows.append({"label": label, **values})
        rows.append({"label": 22, "X": float("nan"), "Y": float("nan"), "Z": float("nan")})
        (folder / "a_ctd.json").write_text(json.dumps(rows))
        return described(folder / "a_ctd.json", names=["L1", "L2"])

    return make


def paired(*names: str):
    return lambda _: f"pairs {flip_pairs(names)}; alone {unpaired(names, flip_pairs(names))}"


def side(left: str, right: str, expected=True) -> Case:
    right_out = f"pairs [('{left}', '{right}')]; alone []" if expected else "pairs []; alone []"
    what = "a pair" if expected else "no pair"
    return Case(
        "Sides in names", f"{left}, {right}", what, paired(right, "tip", left), right_out.__eq__
    )


RIGHT = "left_hip at -60, 20, 10 of 5; 1 pairs; doubts: none"


def same(out: str) -> bool:
    return out == RIGHT


def says(*words: str) -> Callable[[str], bool]:
    return lambda out: not out.startswith("refused") and all(word in out for word in words)


def refused(*words: str) -> Callable[[str], bool]:
    return lambda out: out.startswith("refused") and all(word in out for word in words)


def case(given: str, expected: str, make, right=same) -> Case:
    return Case("3D points", given, expected, make, right)


MIDLINE = {n: p for n, p in POINTS.items() if "hip" not in n}
LPS = moved(lambda p: p * [-1, -1, 1])
SLICER = "label,l,p,s,defined,selected,visible,locked,description"

CASES = (
    side("left_asis", "right_asis"),
    side("L_ASIS", "R_ASIS"),
    side("l_hip", "r_hip"),
    side("Left_ASIS", "Right_ASIS"),
    side("asis_l", "asis_r"),
    side("leftASIS", "rightASIS"),
    side("Left ASIS", "Right ASIS"),
    side("LEFT_ASIS", "RIGHT_ASIS"),
    side("FH-l", "FH-r"),
    side("ASIS.L", "ASIS.R"),
    side("hipL", "hipR"),
    side("LHip", "RHip"),
    side("LASIS", "RASIS"),
    side("lhip", "rhip"),
    side("asis_sin", "asis_dex"),
    side("L5_left", "L5_right"),
    side("L_4", "R_4"),
    side("L5", "R5", expected=False),
    side("upper_lip", "uppel_lip", expected=False),
    Case("Sides in names", "l_hip without its other side", "told to be alone", paired("l_hip", "tip"), "pairs []; alone ['l_hip']".__eq__),
    Case("Sides in names", "vertebrae L4, L5, L_5, bright, cleft", "neither", paired("L4", "L5", "L_5", "bright", "cleft"), "pairs []; alone []".__eq__),
    case(".fcsv of Slicer 5", "read", fcsv()),
    case(".fcsv of Slicer 5 in LPS", "read", fcsv(LPS, system="LPS")),
    case(".fcsv with an unplaced point (status 0)", "left out, said", fcsv(tail={"coccyx": ",0,0"}), says("of 4", "coccyx without a position")),
    case(".fcsv with a point marked missing (status 3)", "left out, said", fcsv(tail={"coccyx": ",3,0"}), says("of 4", "coccyx without a position")),
    case(".mrk.json, a point undefined", "left out, said", markups(status={"coccyx": "undefined"}), says("of 4", "coccyx")),
    case(".mrk.json, a point missing", "left out, said", markups(status={"coccyx": "missing"}), says("of 4", "coccyx")),
    case(".mrk.json in metres, said so", "read", markups(moved(lambda p: p / 1000), coordinateUnits="m")),
    case(".mrk.json that says LPS", "read", markups(LPS, coordinateSystem="LPS")),
    case("Slicer's table, l, p, s", "read", text(LPS, SLICER, row=lambda n, p: [n, *p, 1, 1, 1, 0, ""])),
    case("Slicer's table, r, a, s", "read", text(POINTS, SLICER.replace("l,p,s", "r,a,s"), row=lambda n, p: [n, *p, 1, 1, 1, 0, ""])),
    case("Slicer's table, a point not defined", "left out, said", text(LPS, SLICER, row=lambda n, p: [n, *p, int(n != "coccyx"), 1, 1, 0, ""]), says("of 4", "coccyx")),
    case("a table with semicolons and decimal commas", "read", text(head="landmark;x_mm;y_mm;z_mm", join=";", row=lambda n, p: ";".join([n, *(f"{v}".replace(".", ",") for v in p)]))),
    case("a table with tabs under .csv", "read", text(head="landmark\tx_mm\ty_mm\tz_mm", join="\t")),
    case("a table with spaces behind commas", "read", text(head="landmark, x_mm, y_mm, z_mm", join=", ")),
    case("a byte order mark", "read", text(bom=True)),
    case("the subject S for s", "refused, both named", text(head="subject,landmark,x_mm,y_mm,z_mm", row=lambda n, p: ["S", n, *p]), refused("'s'", "'S'")),
    case("a table of another subject", "refused, said", text(head="subject,landmark,x_mm,y_mm,z_mm", row=lambda n, p: ["other", n, *p]), refused("'s'", "other")),
    case("a missing point at 0, 0, 0", "left out, said", text({**POINTS, "coccyx": (0, 0, 0)}), says("of 4", "coccyx at 0, 0, 0")),
    case("a missing point at −1, −1, −1", "left out, said", text({**POINTS, "coccyx": (-1, -1, -1)}), says("of 4", "coccyx at 0, 0, 0 or -1")),
    case("empty cells", "left out, said", text({**POINTS, "coccyx": ("", "", "")}), says("of 4", "coccyx")),
    case("a name by another scheme (F_1-1), an alias given", "ours", text({("F_1-1" if n == "left_hip" else n): p for n, p in POINTS.items()}, alias={"F_1-1": "left_hip"})),
    case("an alias that makes two points one", "refused", text({**POINTS, "F-1": (1, 2, 3)}, alias={"F-1": "coccyx"}), refused("F-1", "coccyx")),
    case("LPS in a table that is RAS", "refused, LPS named", text(LPS), refused("LPS")),
    case("midline points in LPS", "refused or told, LPS named", text(moved(lambda p: p * [-1, -1, 1]) and {n: LPS[n] for n in MIDLINE}), lambda out: "LPS" in out),
    case("landmarks in metres", "refused, the unit named", text(moved(lambda p: p / 1000)), refused("metres")),
    case("landmarks in centimetres", "told, the unit named", text(moved(lambda p: p / 10)), lambda out: "centimetres" in out),
    case("voxels for millimetres", "told", text(moved(lambda p: (p - [-110, -90, -80]) / 2)), lambda out: "voxels" in out),
    case("x and y exchanged", "told", text({n: (y, x, z) for n, (x, y, z) in MIDLINE.items()}), lambda out: "x and y exchanged" in out),
    case("left and right exchanged in one pair", "refused", text({**POINTS, "left_hip": POINTS["right_hip"], "right_hip": POINTS["left_hip"]}), refused("swapped", "'left_hip'")),
    case("points of another body", "refused", text(moved(lambda p: p + 900)), refused("outside the CT")),
    case("VerSe centroids, axes P I R, one missing", "read, one missing", verse("PIR"), says("L1 at 0, -45, 40 of 2", "L3 without a position")),
    case("VerSe centroids, axes L P S", "read, one missing", verse("LPS"), says("L1 at 0, -45, 40 of 2")),
)  # fmt: skip
