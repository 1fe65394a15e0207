"""A header may not make a reader open a file of another folder."""

from pathlib import Path

import numpy as np
import pytest

from raymark.core.errors import InputError
from raymark.ct import read_ct
from raymark.ct.detached import check_data_file
from raymark.ct.voxel_files import ITK_SUFFIXES
from raymark.imports.xray_file import read_xray
from tests.unit.ct import examples as examples
from tests.unit.ct.examples import refusal

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


SPELLINGS = {  # what the libraries also take for the line that names the data file
    "mhd": [
        ("ElementDataFile = {}", "ElementDataFile : {}"),
        ("ElementDataFile = {}", "\fElementDataFile = {}"),
        (
            "ElementDataFile = {}",
            "Comment = x" + "\nComment = x" * 90_000 + "\nElementDataFile = {}",
        ),
    ],
    "nhdr": [
        ("data file: {}", "# x" + "\n# x" * 270_000 + "\ndata file: {}"),
        ("\n", "\r"),
    ],
}


@pytest.mark.parametrize(
    ("kind", "which"), [(k, n) for k in SPELLINGS for n in range(len(SPELLINGS[k]))]
)
def test_no_other_spelling_leads_out(tmp_path, kind, which):
    (tmp_path / "inside").mkdir()
    header, data = header_and_data(tmp_path / "inside", kind)
    usual, other = SPELLINGS[kind][which]
    moved = data.rename(tmp_path / data.name)
    say(header, data.name, f"../{moved.name}")
    place = f"../{moved.name}"
    text = header.read_text()
    assert usual.format(place) in text
    header.write_bytes(text.replace(usual.format(place), other.format(place)).encode())
    assert library_reads(header)  # else this test would show nothing
    with pytest.raises(InputError):
        read_ct(header)


def test_a_pattern_of_file_names_may_only_number_them(tmp_path):
    (tmp_path / "inside").mkdir()
    header, data = header_and_data(tmp_path / "inside", "mhd")
    slices = np.split(np.frombuffer(data.read_bytes(), np.uint8), HU.shape[2])
    for number, voxels in enumerate(slices):
        (data.parent / f"slice{number:02d}.raw").write_bytes(voxels.tobytes())
    say(header, data.name, f"slice%02d.raw 0 {len(slices) - 1} 1")
    voxels = np.sort(read_ct(header).hu_xyz, axis=None)
    np.testing.assert_array_equal(voxels, np.sort(HU, axis=None))
    data.rename(tmp_path / data.name)
    say(header, f"slice%02d.raw 0 {len(slices) - 1} 1", f"..%c{data.name} 47 47 1")  # 47 is a slash
    assert library_reads(header)
    refusal(header, "data file in another folder", "beside its header")


def library_reads(header: Path) -> bool:
    import SimpleITK

    reader = SimpleITK.ImageFileReader()
    reader.SetImageIO(ITK_SUFFIXES[header.suffix])
    reader.SetFileName(str(header))
    return reader.Execute().GetNumberOfPixels() == HU.size


def test_a_link_beside_the_header_that_leads_elsewhere_is_refused(pair):
    header, data = pair
    data.symlink_to(data.rename(header.parent.parent / data.name))
    refusal(header, "data file in another folder", "beside its header")
    if header.suffix == ".mhd":
        refusal(header, "data file in another folder", "beside its header", read=read_xray)


def test_links_to_header_and_data_of_one_folder_are_read(pair, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    for file in pair:
        (linked / file.name).symlink_to(file)
    read_ct(linked / pair[0].name)
