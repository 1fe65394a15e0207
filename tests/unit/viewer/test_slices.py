"""Slices stand upright, and landmarks lie where their voxels are shown."""

import io

import numpy as np
import pytest
from PIL import Image

from raymark.ct import LabelMap
from raymark.viewer.slices import AXES, grid_of, slice_picture, upright
from tests.unit.viewer.examples import SHAPE, VOXELS, affine, shown

ACROSS = {
    "axial": (0, 1),
    "coronal": (0, 2),
    "sagittal": (1, 2),
}  # the voxel axes of column and row


@pytest.mark.parametrize("kind", AXES)
def test_a_bead_is_the_brightest_where_the_page_draws_its_landmark(kind):
    of = shown()
    for name, voxel in VOXELS.items():
        place = grid_of(of)["landmarks"][list(VOXELS).index(name)]
        np.testing.assert_allclose(place, voxel, atol=0.01)
        picture = np.array(Image.open(io.BytesIO(slice_picture(of, kind, voxel[AXES[kind]]))))
        picture[-8:] = 0  # the rod
        row, column = np.unravel_index(picture.argmax(), picture.shape)
        column_axis, row_axis = ACROSS[kind]
        expected = (
            SHAPE[row_axis] - 1 - voxel[row_axis],
            SHAPE[column_axis] - 1 - voxel[column_axis],
        )
        assert np.hypot(row - expected[0], column - expected[1]) <= 1.5  # JPEG rings a little


def test_radiologists_see_the_patients_right_on_the_left_and_head_or_front_above():
    x, y, z = np.indices((3, 4, 5))  # canonical: to the right, the front, the head
    assert upright(x, "axial", 0)[0].tolist() == [2, 1, 0]
    assert upright(y, "axial", 0)[:, 0].tolist() == [3, 2, 1, 0]
    assert upright(z, "coronal", 0)[:, 0].tolist() == [4, 3, 2, 1, 0]
    assert upright(y, "sagittal", 0)[0].tolist() == [3, 2, 1, 0]


def test_labels_are_coloured_and_others_are_not():
    ids = np.zeros(SHAPE, np.uint8)
    ids[20:30, 20:30, 22] = 7
    picture = slice_picture(shown(labels=LabelMap(ids, affine())), "axial", 22)
    colours = np.array(Image.open(io.BytesIO(picture))).astype(int)
    tinted = np.ptp(colours, axis=-1) > 20
    where = upright(ids > 0, "axial", 22)
    assert tinted[where].mean() > 0.9
    assert tinted[~where].mean() < 0.02
