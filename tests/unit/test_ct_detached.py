"""A header may not make a reader open a file of another folder."""

from pathlib import Path

import numpy as np
import pytest

from raymark.ct import read_ct
from raymark.ct.detached import check_data_file
from raymark.images import read_xray
from tests.unit import ct_examples as examples
from tests.unit.ct_examples import refusal

HU = examples.phantom_hu()
AFFINE = examples.affine_ras()


def header_and_data(folder: Path, kind: str) -> tuple[Path, Path]:
    header = examples.write_itk(folder / f"ct.{kind}", HU, AFFINE, compress=False)
    (data,) = (file for file in folder.iterdir() if file != header)
    return header, data


def say(header: Path, old: str, new: str) -> None:
    text = header.read_text()
    assert old in text
    header.write_text(text.replace(old, new))


@pytest.fixture(params=["mhd", "nhdr"])
def pair(request, tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    return header_and_data(inside, request.param)


def test_data_beside_its_header_are_read(pair):
    voxels = np.sort(read_ct(pair[0]).hu_xyz, axis=None)
    np.testing.assert_array_equal(voxels, np.sort(HU, axis=None))


@pytest.mark.parametrize("absolute", [False, True])
def test_data_elsewhere_are_refused(pair, absolute):
    header, data = pair
    moved = data.rename(header.parent.parent / data.name)  # there it could be read
    say(header, data.name, str(moved) if absolute else f"../{data.name}")
    refusal(header, "data file in another folder", "beside its header")
    if header.suffix == ".mhd":
        refusal(header, "data file in another folder", "beside its header", read=read_xray)


def test_lists_of_files_are_looked_through(pair):
    header, data = pair
    moved = data.rename(header.parent.parent / data.name)
    say(header, data.name, f"LIST\n{moved}\n")
    refusal(header, "data file in another folder", "beside its header")


def test_voxels_that_spell_a_header_line_do_no_harm(tmp_path):
    words = b"\ndata file: ../else\n".ljust(1000)
    voxels = np.frombuffer(words, np.uint8).reshape(10, 10, 10, order="F")
    path = examples.write_itk(tmp_path / "ct.nrrd", voxels, AFFINE, compress=False)
    assert b"data file: ../else" in path.read_bytes()
    check_data_file(path)
