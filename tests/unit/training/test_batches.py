"""Reduced images: landmarks and geometry stay on what they mark, to a fraction of a pixel."""

import numpy as np
import pytest
import torch

from raymark.landmarks.types import channels_of
from raymark.methods.base import LandmarkNetwork, standardised
from raymark.methods.base import Reduced as ReducedNetwork
from raymark.training.batches import ByType, Reduced, whole_of
from tests.unit.training.examples import Blobs


class OneBead(Blobs):
    """A single wide bead per image, at its first landmark."""

    def __init__(self, count, shape_yx):
        super().__init__(count, shape_yx)
        y, x = np.mgrid[: shape_yx[0], : shape_yx[1]]
        self.arrays["landmarks"][:, 0] = self.arrays["landmarks"][:, 0].clip(30, None)
        to_x, to_y = np.moveaxis(self.arrays["landmarks"][:, 0, :, None, None], 1, 0)
        self.arrays["image"] = np.exp(-((x - to_x) ** 2 + (y - to_y) ** 2) / 50)


@pytest.mark.parametrize(("shape_yx", "by"), [((96, 120), 2), ((97, 122), 4), ((101, 113), 3)])
def test_a_bead_and_its_landmark_go_to_the_same_place(shape_yx, by):
    samples = OneBead(4, (shape_yx[0] + 40, shape_yx[1] + 40))
    arrays = Reduced(samples, by).read(np.arange(4))
    image = arrays["image"]
    assert image.shape[1:] == tuple((size + 40) // by for size in shape_yx)
    y, x = np.mgrid[: image.shape[1], : image.shape[2]]
    mass = image.sum((1, 2))
    centre = np.stack([(image * x).sum((1, 2)) / mass, (image * y).sum((1, 2)) / mass], axis=-1)
    inside = (arrays["landmarks"][:, 0] < np.array(image.shape[:0:-1]) - 30 / by).all(-1)
    assert inside.any()
    np.testing.assert_allclose(centre[inside], arrays["landmarks"][inside, 0], atol=0.02)


def test_the_camera_still_projects_the_landmarks():
    samples = Blobs(3, (52, 60))
    arrays, whole = Reduced(samples, 4).read(np.arange(3)), samples.read(np.arange(3))
    world = np.concatenate([arrays["landmarks_world"], np.ones((3, 3, 1))], axis=-1)
    for view in range(3):
        seen = arrays["K"][view] @ (world[view] @ arrays["world_to_camera"][view].T)[:, :3].T
        np.testing.assert_allclose((seen[:2] / seen[2]).T, arrays["landmarks"][view], atol=1e-3)
    assert np.array_equal(whole["landmarks"], samples.arrays["landmarks"])  # left as they were
    assert Reduced(samples, 4).pixel_mm == 8.0


def test_what_lies_in_a_strip_that_is_cut_off_is_not_visible():
    samples = Blobs(1, (52, 62))
    samples.arrays["landmarks"][0] = [[59.4, 20], [59.6, 20], [10, 51.4]]
    assert Reduced(samples, 4).read(np.array([0]))["visible"].tolist() == [[True, False, True]]


def test_wrappers_come_off_one_by_one():
    samples = Blobs(2)
    types = {"left_blob": ["left_blob"]}
    assert channels_of(samples.landmarks, {})
    wrapped = ByType(Reduced(samples, 2), types)
    assert whole_of(wrapped) is samples


class Brightest(LandmarkNetwork):
    """Its only landmark is the brightest pixel; its maps are the image."""

    stride = 1

    def forward(self, image):
        return image

    def decode(self, output):
        best, width = output.flatten(1).argmax(1), output.shape[-1]
        points = torch.stack([best % width, best // width], dim=-1)[:, None].float()
        return points, torch.ones(len(output), 1)

    def maps(self, output):
        return output


def test_a_reduced_network_answers_in_px_of_the_full_image():
    image = torch.zeros(1, 1, 42, 31)
    image[0, 0, 8:12, 20:24] = 5.0
    network = ReducedNetwork(Brightest(), 4)
    points, _ = network.decode(network(standardised(image)))
    assert points.tolist() == [[[21.5, 9.5]]]
    assert network.stride == 4
    assert network.maps(network(image)).shape == (1, 1, 10, 7)
