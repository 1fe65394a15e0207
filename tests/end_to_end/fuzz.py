"""Give every reader thousands of broken files, and see that none ends in anything but a clear error.

    python -m tests.end_to_end.fuzz --runs 2000 --out docs/measurements/fuzzing.md

Each reader starts from valid files; libFuzzer (through atheris) mutates them and keeps those that
reach new code of ours. An input may be accepted or refused with one `InputError` that names the file
or field; any other exception, a message of several lines and any file left beside the input are
findings: the script ends with status 1 and keeps the input below `fuzz-findings/`.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
KEPT = Path("fuzz-findings")
MODULES = ["config", "sources", "subjects", "landmarks", "slicer", "recipes", "ct.dicom", "ct.read",
           "images", "shards", "models", "papers"]  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """A reader, the name its files have, and how valid ones are made in a folder."""

    file_name: str
    read: Callable[[Path], object]
    seeds: Callable[[Path], list[Path]]


def _ct(kind: str) -> Reader:
    def read(path: Path):
        from raymark.ct import read_ct

        return read_ct(path)

    def seeds(folder: Path) -> list[Path]:
        from tests.unit import ct_examples

        body = np.ascontiguousarray(ct_examples.phantom_hu()[:6, :6, :4])
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
        from tests.unit import ct_examples

        body = ct_examples.phantom_hu()[:6, :6, :3]
        series = ct_examples.write("folder", folder, body, ct_examples.affine_ras())
        return sorted(series.iterdir())[:1]

    return Reader("03.dcm", read, seeds)  # the first slice's name


def _landmarks(name: str, text: str) -> Reader:
    def read(path: Path):
        from raymark.landmarks import read_landmarks

        return read_landmarks(path, "patient")

    return Reader(name, read, _written(name, text))


def _text(name: str, read: Callable[[Path], object], source: str) -> Reader:
    return Reader(name, read, _written(name, (ROOT / source).read_text(encoding="utf-8")))


def _written(name: str, text: str) -> Callable[[Path], list[Path]]:
    def seeds(folder: Path) -> list[Path]:
        (folder / name).write_text(text, encoding="utf-8")
        return [folder / name]

    return seeds


def _xray(name: str) -> Reader:
    def read(path: Path):
        from raymark.images import read_xray

        return read_xray(path)

    def seeds(folder: Path) -> list[Path]:
        path, pixels = folder / name, np.arange(400, dtype=np.uint16).reshape(20, 20)
        if path.suffix in (".mha", ".nii"):
            import SimpleITK as sitk

            sitk.WriteImage(sitk.GetImageFromArray(pixels), str(path))
        elif path.suffix == ".dcm":
            from tests.unit import ct_examples

            made = ct_examples.write_series(folder / "made", pixels[..., None] + 0, np.eye(4))
            shutil.copy(next(made.iterdir()), path)
        else:
            from skimage.io import imsave

            imsave(path, (pixels // 2).astype(np.uint8), check_contrast=False)
        return [path]

    return Reader(name, read, seeds)


def _shard() -> Reader:
    def read(path: Path):
        from raymark.shards import Shards, check_shard

        check_shard(path)
        return Shards([path]).read(np.array([0]))

    def seeds(folder: Path) -> list[Path]:
        from raymark.shards import write_shard

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
        from raymark.models import load_model

        return load_model(path)

    def seeds(folder: Path) -> list[Path]:
        from raymark.methods.base import build
        from raymark.models import Model, write_model

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
    from raymark.config import read_project

    return read_project(path)


def _recipes(path: Path):
    from raymark.landmarks import read_landmark_set

    return read_landmark_set(path)


def _subjects(path: Path):
    from raymark.subjects import read_subjects

    return read_subjects(path)


def _sources(path: Path):
    from raymark.sources import read_sources

    return read_sources(path)


def _dataset(path: Path):
    from raymark.config import read_dataset

    return read_dataset(path, "demo")


def _method(path: Path):
    from raymark.config import read_method

    return read_method(path, "demo")


def _paper(path: Path):
    from raymark.papers import read_paper

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
READERS = {
    "CT, NIfTI": _ct("nii"),
    "CT, NIfTI compressed": _ct("nii.gz"),
    "CT, NRRD": _ct("nrrd"),
    "CT, MetaImage": _ct("mha"),
    "CT, DICOM series": _dicom(),
    "CT, DICOM zip": _ct("zip"),
    "landmarks, Slicer JSON": _landmarks("points.mrk.json", MARKUPS),
    "landmarks, Slicer FCSV": _landmarks("points.fcsv", FCSV),
    "landmarks, CSV": _landmarks("points.csv", "landmark,x_mm,y_mm,z_mm\ntip,1,2,3\n"),
    "recipes": _text("recipes.yaml", _recipes, "config/recipes/chest.yaml"),
    "X-ray, PNG": _xray("image.png"),
    "X-ray, TIFF": _xray("image.tif"),
    "X-ray, DICOM": _xray("image.dcm"),
    "X-ray, MetaImage": _xray("image.mha"),
    "shard": _shard(),
    "model": _model(),
    "main configuration": _text("config.yaml", _project, "config/config.yaml"),
    "data set": _text("pelvis.yaml", _dataset, "config/datasets/pelvis.yaml"),
    "method": _text("cpm.yaml", _method, "config/methods/cpm.yaml"),
    "paper": _text("pel.yaml", _paper, "config/papers/pel.yaml"),
    "subject sheet": _text("subjects.tsv", _subjects, "config/subjects.tsv"),
    "table of sources": _text("sources.tsv", _sources, "config/sources.tsv"),
}


def fuzz(name: str, runs: int, folder: Path) -> None:
    """Fuzz one reader in this process, which libFuzzer ends; the counts lie in `counts.json`."""
    import atheris

    with atheris.instrument_imports(include=["raymark"], enable_loader_override=False):
        for module in MODULES:
            import_module(f"raymark.{module}")
    from raymark.errors import InputError

    reader = READERS[name]
    made, corpus, place = folder / "made", folder / "corpus", folder / "place"
    for needed in (made, corpus, place):
        needed.mkdir(parents=True)
    for number, seed in enumerate(reader.seeds(made)):
        (corpus / f"seed-{number}").write_bytes(seed.read_bytes())
        for beside in seed.parent.iterdir():  # the other slices of a series
            if beside.is_file():
                shutil.copy(beside, place / beside.name)
    path = place / reader.file_name
    expected = {p.name for p in place.iterdir()} | {path.name}
    counts = {"inputs": 0, "accepted": 0, "refused": 0}

    def one(content: bytes) -> None:
        path.write_bytes(content)
        counts["inputs"] += 1
        try:
            reader.read(path)
            counts["accepted"] += 1
        except InputError as error:
            counts["refused"] += 1
            if not error.source or len(str(error).splitlines()) != 1:
                raise AssertionError(f"not one line that names the file: {error}") from error
        if {p.name for p in place.iterdir()} - expected:
            raise AssertionError("files were left behind")
        if counts["inputs"] % 50 == 0 or counts["inputs"] >= runs:
            (folder / "counts.json").write_text(json.dumps(counts))

    options = [f"-runs={runs}", "-seed=1", "-max_len=200000", "-rss_limit_mb=4000", "-timeout=60"]
    atheris.Setup([sys.argv[0], *options, f"-artifact_prefix={folder}/finding-", str(corpus)], one)
    atheris.Fuzz()


def fuzzed(name: str, runs: int) -> dict:
    """Fuzz one reader in a process of its own and return its row of the table."""
    folder = Path(tempfile.mkdtemp())
    command = [sys.executable, "-m", "tests.end_to_end.fuzz", "--reader", name]
    command += ["--runs", str(runs), "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    covered = [
        line.split("cov: ")[1].split()[0] for line in done.stderr.splitlines() if "cov: " in line
    ]
    counts = (
        json.loads((folder / "counts.json").read_text())
        if (folder / "counts.json").exists()
        else {}
    )
    findings = sorted(folder.glob("finding-*"))
    if findings or done.returncode:
        KEPT.mkdir(exist_ok=True)
        for finding in findings:
            shutil.copy(finding, KEPT / f"{READERS[name].file_name}-{finding.name}")
        print(done.stdout[-1500:] + done.stderr[-1500:], file=sys.stderr)
    shutil.rmtree(folder, ignore_errors=True)
    return {
        "reader": name,
        "inputs": counts.get("inputs", 0),
        "accepted": counts.get("accepted", 0),
        "refused": counts.get("refused", 0),
        "branches reached": covered[-1] if covered else "–",
        "findings": max(len(findings), int(done.returncode != 0)),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--runs", type=int, default=2000, help="inputs per reader")
    parser.add_argument("--reader", help="only this one; with --folder: in this process")
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, help="Markdown file for the table")
    options = parser.parse_args()
    if options.folder:
        fuzz(options.reader, options.runs, options.folder)
    from benchmarks.measurement import report

    rows = []
    for name in [options.reader] if options.reader else READERS:
        rows.append(fuzzed(name, options.runs))
        print(rows[-1], file=sys.stderr, flush=True)
    total = {k: sum(row[k] for row in rows) for k in ("inputs", "accepted", "refused", "findings")}
    rows.append({**rows[-1], "reader": "all", **total, "branches reached": ""})
    about = "\n".join(__doc__.splitlines()[4:]).strip()
    report("Broken input", about, rows, ["atheris", "numpy"], options.out)
    return 1 if total["findings"] else 0


if __name__ == "__main__":
    sys.exit(main())
