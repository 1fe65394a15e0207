"""What tests.end_to_end.fuzz breaks of other tools: label maps, annotations, tables of images, poses."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from tests.end_to_end.fuzz_readers import Reader, written

SIZE = (8, 8, 6)
LABEL_MODULES = tuple(
    f"ct.labels.{name}"
    for name in ("read", "names", "segments", "folder", "dicom_objects", "place")
)


def _volume():
    from raymark.ct import Volume

    return Volume(np.zeros(SIZE, np.int16), np.diag([2.0, 2.0, 3.0, 1.0]))


def _boxes() -> np.ndarray:
    labels = np.zeros(SIZE, np.uint8)
    labels[1:4, 1:4, 1:4], labels[5:7, 4:7, 2:5] = 1, 2
    return labels


def _labels(name: str, make: Callable[[Path], None], of: Callable[[Path], Path] = Path) -> Reader:
    def read(path: Path):
        from raymark.ct import read_labels

        return read_labels(of(path), _volume())

    def seeds(folder: Path) -> list[Path]:
        make(folder / name)
        return [folder / name]

    return Reader(name, read, seeds, LABEL_MODULES)


def _nifti(path: Path) -> None:
    from tests.foreign.labels import saved

    saved(_boxes(), _volume(), path, {1: "hip_left", 2: "hip_right"})


def _structure(path: Path) -> None:
    from tests.foreign.labels import saved

    saved((_boxes() == 1).astype(np.uint8), _volume(), path)
    saved((_boxes() == 2).astype(np.uint8), _volume(), path.with_name("hip_right.nii"))


def _seg_nrrd(path: Path) -> None:
    from tests.foreign.labels import write_nrrd

    fields = {"Segment0_Name": "hip_left", "Segment0_LabelValue": "1", "Segment0_Layer": "0",
              "Segment1_Name": "hip_right", "Segment1_LabelValue": "2", "Segment1_Layer": "0"}  # fmt: skip
    write_nrrd(path, _boxes(), np.diag([-1.0, -1.0, 1.0, 1.0]) @ _volume().affine, fields)


def _seg(path: Path) -> None:
    from tests.foreign.dicom_labels import write_seg

    write_seg(path, _volume(), {"hip_left": _boxes() == 1, "hip_right": _boxes() == 2}, True)


def _rtstruct(path: Path) -> None:
    from tests.foreign.dicom_labels import write_rtstruct

    write_rtstruct(path, _volume(), {"hip_left": _boxes() == 1}, 1, ["hip_right"], False)


def _scheme(path: Path):
    from raymark.ct.labels.names import read_scheme

    return read_scheme(str(path))


def _annotations(name: str, text: str, layout: str, **keys: str | int) -> Reader:
    """Fuzz one file of a layout; of its `keys`, FILE and FOLDER stand for that file and its folder."""

    def read(path: Path):
        from raymark.config.imports import Import2d

        places = {"FILE": str(path), "FOLDER": str(path.parent)}
        settings: dict = {key: places.get(str(value), value) for key, value in keys.items()}
        if "readers" in settings:
            settings["readers"] = [settings["readers"]]
        values = {"name": "made", "title": "Made", "images": "."}
        annotations = {"layout": layout} | settings
        return Import2d.model_validate(values | {"annotations": annotations}).annotations.read(None)

    modules = ("annotations.base", "annotations._json", f"annotations.{layout.replace('-', '_')}")
    return Reader(name, read, written(name, text), modules)


def _pose(path: Path):
    from raymark.pose.pose_file import read_pose

    return read_pose(path)


def _image_points(path: Path):
    from raymark.pose.starts import image_points

    return image_points(path)


def _pose_text() -> str:
    view = {
        "image": "a.png", "height_px": 8, "width_px": 8, "source_to_detector_mm": 1000.0,
        "K": [[-100.0, 0.0, 4.0], [0.0, 100.0, 4.0], [0.0, 0.0, 1.0]],
        "world_to_camera": [[1.0, 0, 0, 0], [0, 0, -1.0, 0], [0, 1.0, 0, 700.0], [0, 0, 0, 1.0]],
    }  # fmt: skip
    return json.dumps({"views": [view]})


def _points(count: int) -> list[tuple[float, float]]:
    return [(3.0 + n, 5.0 + 2 * n) for n in range(count)]


COCO = json.dumps({
    "images": [{"id": 1, "file_name": "a.png", "width": 90, "height": 80}],
    "categories": [{"id": 1, "name": "body", "keypoints": ["tip", "end"]}],
    "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "keypoints": [3, 4, 2, 5, 6, 2]}],
})  # fmt: skip
LABEL_STUDIO = json.dumps([{
    "id": 1, "data": {"img": "/data/upload/1/a.png"},
    "annotations": [{"id": 1, "result": [{
        "type": "keypointlabels", "original_width": 90, "original_height": 80, "image_rotation": 0,
        "value": {"x": 50.0, "y": 25.0, "width": 0.2, "keypointlabels": ["tip"]},
    }]}],
}])  # fmt: skip
LABELME = json.dumps({
    "version": "5.0.1", "imagePath": "a.png", "imageHeight": 80, "imageWidth": 90, "imageData": None,
    "shapes": [{"label": "tip", "points": [[4.0, 5.0]], "shape_type": "point"}],
})  # fmt: skip
PTS = "version: 1\nn_points: 2\n{\n3.5 4.5\n5.5 6.5\n}\n"
CL_2023 = json.dumps({
    "points": [{"name": str(n + 1), "point": [x, y, 1], "scale": 0.1} for n, (x, y) in enumerate(_points(38))],
    "type": "Multiple points",
})  # fmt: skip
CL_2024 = (
    ",".join(["image file", "spacing(mm)", *(f"p{n}{a}" for n in range(1, 54) for a in "xy")])
    + "\n"
    + ",".join(["a.bmp", "0.1", *(f"{v}" for p in _points(53) for v in p)])
    + "\n"
)
AARIZ = json.dumps({
    "ceph_id": "a",
    "landmarks": [
        {"title": f"T{n}", "symbol": f"S{n}", "value": {"x": x, "y": y}}
        for n, (x, y) in enumerate(_points(29))
    ],
})  # fmt: skip
BUU = "\n".join(f"{x},{y},{x + 9},{y},L{n // 2 + 1}" for n, (x, y) in enumerate(_points(10))) + "\n"
HANDS = ",".join(["1", *(f"{v:.0f}" for p in _points(37) for v in p)]) + "\n"

FOREIGN: Mapping[str, Reader] = {
    "labels, NIfTI with names": _labels("labels.nii", _nifti),
    "labels, folder of structures": _labels("hip_left.nii", _structure, of=lambda p: p.parent),
    "labels, 3D Slicer": _labels("labels.seg.nrrd", _seg_nrrd),
    "labels, DICOM SEG": _labels("seg.dcm", _seg),
    "labels, RTSTRUCT": _labels("rs.dcm", _rtstruct),
    "table of ids": Reader("ids.csv", _scheme, written("ids.csv", "id,name\n1,L1\n2,L2\n"), LABEL_MODULES),
    "annotations, COCO": _annotations("points.json", COCO, "coco", file="FILE"),
    "annotations, Label Studio": _annotations("points.json", LABEL_STUDIO, "label-studio", file="FILE"),
    "annotations, LabelMe": _annotations("a.json", LABELME, "labelme", folder="FOLDER"),
    "annotations, .pts": _annotations("a.pts", PTS, "pts", folder="FOLDER", first_pixel=0),
    "annotations, CL-Detection 2023": _annotations("train-gt.json", CL_2023, "cl-detection-2023", file="FILE"),
    "annotations, CL-Detection 2024": _annotations("labels.csv", CL_2024, "cl-detection-2024", file="FILE"),
    "annotations, Aariz": _annotations("a.json", AARIZ, "aariz", readers="FOLDER"),
    "annotations, BUU-LSPINE": _annotations("a.csv", BUU, "buu-lspine", folder="FOLDER"),
    "annotations, hand atlas": _annotations("all.csv", HANDS, "hand-atlas", file="FILE"),
    "pose": Reader("pose.json", _pose, written("pose.json", _pose_text()), ("pose.pose_file",)),
    "points in an image": Reader("points.csv", _image_points, written("points.csv", "landmark,x_px,y_px\ntip,1,2\n"), ("pose.starts",)),
}  # fmt: skip
