"""What tests.end_to_end.fuzz breaks first: a user's images, landmarks and settings, shards and models."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Reader:
    """A reader, the name its files have, and how valid ones are made in a folder."""

    file_name: str
    read: Callable[[Path], object]
    seeds: Callable[[Path], list[Path]]
    modules: tuple[str, ...] = ()  # of raymark, watched besides `MODULES`


def _body(slices: int) -> np.ndarray:
    """A small part of the phantom, with a voxel of bone: what has none is taken for no CT."""
    from tests.unit.ct import examples as ct_examples

    body = np.ascontiguousarray(ct_examples.phantom_hu()[:6, :6, :slices])
    body[0, 0, 0] = 300
    return body


def _ct(kind: str) -> Reader:
    def read(path: Path):
        from raymark.ct import read_ct

        return read_ct(path)

    def seeds(folder: Path) -> list[Path]:
        from tests.unit.ct import examples as ct_examples

        body = _body(4)
        if kind == "zip":
            return [ct_examples.write("zip", folder, body, ct_examples.affine_ras())]
        write = ct_examples.write_nifti if kind.startswith("nii") else ct_examples.write_itk
        extra = {} if kind.startswith("nii") else {"compress": False}
        return [write(folder / f"ct.{kind}", body, ct_examples.affine_ras(), **extra)]

    return Reader(f"ct.{kind}", read, seeds)


def _dicom() -> Reader:
    """One slice of a series is mutated, the others stay whole."""

    def read(path: Path):
        from raymark.ct import read_ct

        return read_ct(path.parent)

    def seeds(folder: Path) -> list[Path]:
        from tests.unit.ct import examples as ct_examples

        series = ct_examples.write("folder", folder, _body(3), ct_examples.affine_ras())
        return sorted(series.iterdir())[:1]

    return Reader("03.dcm", read, seeds)  # the first slice's name


def _landmarks(name: str, text: str) -> Reader:
    def read(path: Path):
        from raymark.landmarks.table import read_landmarks

        return read_landmarks(path, "patient")

    return Reader(name, read, written(name, text))


def text(name: str, read: Callable[[Path], object], source: str, *modules: str) -> Reader:
    content = (ROOT / source).read_text(encoding="utf-8")
    return Reader(name, read, written(name, content), modules)


def written(name: str, text: str) -> Callable[[Path], list[Path]]:
    def seeds(folder: Path) -> list[Path]:
        (folder / name).write_text(text, encoding="utf-8")
        return [folder / name]

    return seeds


def _xray(name: str) -> Reader:
    def read(path: Path):
        from raymark.imports.xray_file import read_xray

        return read_xray(path)

    def seeds(folder: Path) -> list[Path]:
        path, pixels = folder / name, np.arange(400, dtype=np.uint16).reshape(20, 20)
        if path.suffix in (".mha", ".nii"):
            import SimpleITK as sitk

            sitk.WriteImage(sitk.GetImageFromArray(pixels), str(path))
        elif path.suffix == ".dcm":
            from tests.unit.ct import examples as ct_examples

            made = ct_examples.write_series(folder / "made", pixels[..., None] + 0, np.eye(4))
            shutil.copy(next(made.iterdir()), path)
        else:
            from skimage.io import imsave

            imsave(path, (pixels // 2).astype(np.uint8), check_contrast=False)
        return [path]

    return Reader(name, read, seeds)


def _shard() -> Reader:
    def read(path: Path):
        from raymark.datasets.shards import Shards, check_shard

        check_shard(path)
        return Shards([path]).read(np.array([0]))

    def seeds(folder: Path) -> list[Path]:
        from raymark.datasets.shards import write_shard

        view = {
            "image": np.ones((4, 4)), "landmarks": np.ones((1, 2)), "visible": np.ones(1),
            "beliefs": np.ones((1, 1, 1)), "landmarks_world": np.ones((1, 3)),
            "K": np.eye(3), "world_to_camera": np.eye(4),
        }  # fmt: skip
        attributes = {"view": ["a"], "subject": ["s"], "landmarks": ["tip"], "flip_pairs": [],
                      "pixel_mm": 1.0, "stride": 4, "digest": "d"}  # fmt: skip
        write_shard(folder / "00000.zarr.zip", [view], 1, attributes)
        return [folder / "00000.zarr.zip"]

    return Reader("00000.zarr.zip", read, seeds)


def _model() -> Reader:
    def read(path: Path):
        from raymark.training.model_files import load_model

        return load_model(path)

    def seeds(folder: Path) -> list[Path]:
        from raymark.methods.base import build
        from raymark.training.model_files import Model, write_model

        network = build("unet", {"depth": 1, "channels": 1}, 1, 0, "fuzz")
        model = Model(
            method="unet", module="unet", network={"depth": 1, "channels": 1}, landmarks=["tip"],
            flip_pairs=[], image_height_px=8, image_width_px=8, pixel_mm=1.0,
            detection_threshold=0.4, seed=0, epochs=1, best_epoch=1, diverged=False, provenance="",
        )  # fmt: skip
        write_model(folder / "model.safetensors", model, network.state_dict())
        return [folder / "model.safetensors"]

    return Reader("model.safetensors", read, seeds)


def _project(path: Path):
    from raymark.config.project import read_project

    return read_project(path)


def _recipes(path: Path):
    from raymark.landmarks.table import read_landmark_set

    return read_landmark_set(path)


def _subjects(path: Path):
    from raymark.config.subjects import read_subjects

    return read_subjects(path)


def _sources(path: Path):
    from raymark.config.sources import read_sources

    return read_sources(path)


def _dataset(path: Path):
    from raymark.config.project import read_dataset

    return read_dataset(path, "demo")


def _method(path: Path):
    from raymark.config.project import read_method

    return read_method(path, "demo")


def _paper(path: Path):
    from raymark.config.papers import read_paper

    return read_paper(path.stem, path.parent)


MARKUPS = json.dumps(
    {
        "@schema": "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/"
        "Markups/Resources/Schema/markups-schema-v1.0.3.json#",
        "markups": [
            {
                "type": "Fiducial",
                "coordinateSystem": "LPS",
                "controlPoints": [
                    {"id": "1", "label": "tip", "position": [1.0, 2.0, 3.0],
                     "positionStatus": "defined"}
                ],
            }
        ],
    }
)  # fmt: skip
FCSV = (
    "# Markups fiducial file version = 4.11\n# CoordinateSystem = RAS\n"
    "# columns = id,x,y,z,ow,ox,oy,oz,vis,sel,lock,label,desc,associatedNodeID\n"
    "vtk_1,1.0,2.0,3.0,0,0,0,1,1,1,0,tip,,\n"
)
INPUTS = {
    "CT, NIfTI": _ct("nii"),
    "CT, NIfTI compressed": _ct("nii.gz"),
    "CT, NRRD": _ct("nrrd"),
    "CT, MetaImage": _ct("mha"),
    "CT, NRRD header": _ct("nhdr"),
    "CT, MetaImage header": _ct("mhd"),
    "CT, DICOM series": _dicom(),
    "CT, DICOM zip": _ct("zip"),
    "landmarks, Slicer JSON": _landmarks("points.mrk.json", MARKUPS),
    "landmarks, Slicer FCSV": _landmarks("points.fcsv", FCSV),
    "landmarks, CSV": _landmarks("points.csv", "landmark,x_mm,y_mm,z_mm\ntip,1,2,3\n"),
    "recipes": text("recipes.yaml", _recipes, "config/recipes/chest.yaml"),
    "X-ray, PNG": _xray("image.png"),
    "X-ray, TIFF": _xray("image.tif"),
    "X-ray, DICOM": _xray("image.dcm"),
    "X-ray, MetaImage": _xray("image.mha"),
    "shard": _shard(),
    "model": _model(),
    "main configuration": text("config.yaml", _project, "config/config.yaml"),
    "data set": text("pelvis.yaml", _dataset, "config/datasets/pelvis.yaml"),
    "method": text("cpm.yaml", _method, "config/methods/cpm.yaml"),
    "paper": text("pel.yaml", _paper, "config/papers/pel.yaml"),
    "paper, landmarks and test sets": text(
        "appearance_context.yaml", _paper, "config/papers/appearance_context.yaml"
    ),
    "subject sheet": text("subjects.tsv", _subjects, "config/subjects.tsv"),
    "table of sources": text("sources.tsv", _sources, "config/sources.tsv"),
}
