"""Files that ask for far more memory than they are long, or hold far more than they say."""

import gzip
import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from PIL import Image

from raymark.core.errors import InputError
from raymark.ct import read_ct
from raymark.imports.xray_file import read_xray
from tests.unit.ct import examples as examples

HU = examples.phantom_hu()
AFFINE = examples.affine_ras()
BEHIND = 300_000_000
LIMIT_BYTES = 200_000_000  # more than the libraries take for themselves while such a file is read


def declare_nifti(path, shape):
    header = nib.Nifti1Image(HU, AFFINE).header
    header.set_data_shape(shape)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    content = header.binaryblock + bytes(1000)
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)


def add_behind_nifti(path, _):
    content = examples.write_nifti(path.with_name("good.nii"), HU, AFFINE).read_bytes()
    path.write_bytes(gzip.compress(content + bytes(BEHIND), 1))


def declare_itk(path, shape):
    good = examples.write_itk(path, HU, AFFINE, compress=False).read_bytes()
    old, new = (" ".join(map(str, s)).encode() for s in (HU.shape, shape))
    assert good.count(old) == 1
    path.write_bytes(good.replace(old, new))


def add_behind_nrrd(path, _):
    header = examples.write_itk(path, HU, AFFINE).read_bytes().partition(b"\n\n")[0]
    assert b"encoding: gzip" in header
    voxels = HU.tobytes("F") + bytes(BEHIND)
    path.write_bytes(header + b"\n\n" + gzip.compress(voxels, 1))


SHAPE = (700, 600, 500)  # 420 MB of 16 bits
FILES = {
    "declared.nii": (declare_nifti, "truncated"),
    "declared.nii.gz": (declare_nifti, "truncated"),
    "declared.nrrd": (declare_itk, "truncated"),
    "declared.mha": (declare_itk, "truncated"),
    "behind.nii.gz": (add_behind_nifti, "far more data than its header"),
    "behind.nrrd": (add_behind_nrrd, "far more data than its header"),
}
READ = """
import resource, sys
from pathlib import Path
import SimpleITK
from raymark.ct import read_ct
from raymark.core.errors import InputError
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
try:
    read_ct(Path(sys.argv[1]))
except InputError as error:
    print(error)
print(1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before))
"""


@pytest.mark.parametrize("name", FILES)
def test_a_ct_is_refused_before_memory_is_taken(tmp_path, name):
    make, problem = FILES[name]
    make(tmp_path / name, SHAPE)
    command = [sys.executable, "-c", READ, tmp_path / name]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    told, taken_bytes = done.stdout.splitlines()
    assert problem in told
    assert int(taken_bytes) < LIMIT_BYTES


def huge_png(path):
    Image.new("1", (8000, 8000)).save(path)


def huge_itk(path):
    SimpleITK.WriteImage(SimpleITK.Image([8000, 8000], SimpleITK.sitkUInt8), path, True)


def huge_nifti(path):
    header = nib.Nifti1Header()
    header.set_data_shape((8000, 8000))
    header.set_data_dtype(np.uint8)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    path.write_bytes(gzip.compress(header.binaryblock + bytes(4 + 8000 * 8000)))


@pytest.mark.parametrize(
    ("name", "make"), [("a.png", huge_png), ("a.mha", huge_itk), ("a.nii.gz", huge_nifti)]
)
def test_an_image_beyond_any_xray_is_refused(tmp_path, name, make):
    make(tmp_path / name)
    with pytest.raises(InputError, match="8000 × 8000 pixels, more than 50 million"):
        read_xray(tmp_path / name)


def test_compressed_air_is_no_bomb(tmp_path):
    voxels = np.full((128, 128, 64), -1000, np.int16)
    voxels[:2] = 500
    for name in ("ct.nii.gz", "ct.nrrd", "ct.mha"):
        path = tmp_path / name
        write = examples.write_nifti if name == "ct.nii.gz" else examples.write_itk
        write(path, voxels, AFFINE)
        assert path.stat().st_size < voxels.nbytes / 50
        assert read_ct(path).hu_xyz.shape == voxels.shape
