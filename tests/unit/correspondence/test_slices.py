import numpy as np
import pytest

from raymark.config.project import Project, read_project
from raymark.config.subjects import Subject
from raymark.core.errors import InputError
from raymark.correspondence.config import (
    Correspondence,
    Slices,
    has_unseen_patients,
    read_correspondence,
    subjects_for,
)
from raymark.correspondence.slices import apart, body_mask, spread, stack_of
from raymark.ct import Volume
from tests.unit.correspondence.examples import textured


def patient(spacing_mm=(2.0, 1.6, 3.0), shape=(100, 90, 5)) -> Volume:
    """A cylinder of water with a bead to the right of and in front of its middle."""
    hu = np.full(shape, -1000, np.int16)
    axes = [s * (np.arange(n) - (n - 1) / 2) for s, n in zip(spacing_mm, shape, strict=True)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    hu[np.hypot(x, y) < 60] = 0
    bead = np.exp(-((x - 30) ** 2 + (y - 20) ** 2) / (2 * 4.0**2)) * (np.abs(z) < 4)
    hu = np.maximum(hu, np.round(1000 * bead - 1000 * (bead < 0.05)).astype(np.int16))
    affine = np.diag([*spacing_mm, 1.0])
    affine[:3, 3] = [axis[0] for axis in axes]
    return Volume(hu, affine)


@pytest.mark.parametrize("spacing_mm", [(2.0, 1.6, 3.0), (0.8, 1.1, 3.0)])
def test_pixels_are_one_mm_as_radiologists_see_them(spacing_mm):
    volume = patient(spacing_mm, (180, 160, 5) if spacing_mm[0] < 1 else (100, 90, 5))
    stack = stack_of(volume, "p", Slices(window_hu=(0, 1000)))
    image = stack.image_zyx[2].astype(float)
    y, x = np.mgrid[: image.shape[0], : image.shape[1]]
    weight = np.where(image > 40, image, 0)
    found = np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()
    # World (30, 20): right is left of the middle, anterior above it; 1 px is 1 mm.
    shape = np.array(volume.hu_xyz.shape[:2])
    middle = (shape - 1) * np.array(spacing_mm[:2]) / 2
    np.testing.assert_allclose(found, middle - [30, 20], atol=0.1)


def test_window_is_stretched_and_clipped():
    stack = stack_of(patient(), "p", Slices(window_hu=(-200, 400)))
    outside, water = stack.image_zyx[0, 0, 0], stack.image_zyx[0, 60, 100]
    assert outside == 0
    assert water == 85  # a third of 255
    assert stack.image_zyx.max() == 255


def test_slice_heights_and_empty_slices():
    volume = patient()
    volume.hu_xyz[:, :, 0] = -1000
    stack = stack_of(volume, "p", Slices())
    np.testing.assert_allclose(stack.z_mm, [3, 6, 9, 12])


def test_body_is_the_trunk_with_its_gas_but_without_table_and_crumbs():
    hu = np.full((200, 200), -1000.0)
    y, x = np.mgrid[:200, :200]
    trunk = np.hypot(x - 100, y - 80) < 70
    hu[trunk] = 40
    hu[70:90, 90:110] = -900  # gas
    hu[150:153, :] = 100  # the table's top, touching the back
    hu[10:15, 10:15] = 40
    mask = body_mask(hu, Slices())
    assert mask[80, 100]
    assert not mask[12, 12]
    assert not mask[151, 5]
    assert (mask & trunk).sum() > 0.99 * trunk.sum()
    assert (mask & ~trunk).sum() < 0.01 * trunk.sum()


def test_slabs_are_apart_by_the_gap():
    stack = textured(41, side=32)  # heights 0 to 200 mm
    settings = Slices(test_share=0.25, gap_mm=20)
    train, test = apart(stack, settings, "train"), apart(stack, settings, "test")
    assert test.z_mm.min() == 150
    assert train.z_mm.max() < 130
    assert test.z_mm.min() - train.z_mm.max() > settings.gap_mm
    assert len(spread(test, 3)) == 3
    assert np.ptp(spread(test, 3).z_mm) > 0.5 * np.ptp(test.z_mm)
    assert spread(test, None) is test


def project(subjects):
    config = read_project("config/config.yaml")
    pelvis = config.datasets["pelvis"].model_copy(update={"subjects": list(subjects)})
    return Project(config.config, {"pelvis": pelvis}, {})


def sheet(**splits):
    return {name: Subject(name, name, "", "", "", split) for name, split in splits.items()}


def test_unseen_patients_are_tested_on_where_there_are_any():
    people = sheet(a="train", b="test", c="validation", d="train")
    args = Correspondence(), project(people), people
    assert subjects_for("train", *args) == [("pelvis", "a"), ("pelvis", "d")]
    assert subjects_for("test", *args) == [("pelvis", "b")]
    assert has_unseen_patients(*args)


def test_without_unseen_patients_training_ones_are_tested_on():
    people = sheet(a="train")
    args = Correspondence(), project(people), people
    assert subjects_for("test", *args) == subjects_for("train", *args) == [("pelvis", "a")]
    assert not has_unseen_patients(*args)


def test_nobody_to_train_on_is_refused():
    people = sheet(a="test")
    with pytest.raises(InputError, match="no subject to train on"):
        subjects_for("train", Correspondence(), project(people), people)


def test_unknown_data_set_is_refused():
    people = sheet(a="train")
    settings = Correspondence.model_validate({"slices": {"datasets": ["nowhere"]}})
    with pytest.raises(InputError, match="'nowhere' is not known"):
        subjects_for("train", settings, project(people), people)


def test_file_holds_the_papers_settings_and_a_demo():
    paper, demo = (
        read_correspondence("config/correspondence.yaml", preset) for preset in ("paper", "demo")
    )
    training = paper.training
    assert (training.landmarks, training.matching_px, training.batch) == (400, 2, 4)
    assert (training.positive_margin, training.negative_margin) == (0.1, 1)
    assert (training.learning_rate, training.weight_decay, training.epochs) == (1e-3, 1e-4, 50)
    assert paper.matching.probability == 0.5
    assert paper.network.filters == 16
    assert demo.network.filters < 16


def test_unknown_key_names_file_and_key(tmp_path):
    path = tmp_path / "correspondence.yaml"
    path.write_text("trainings: {}\n")
    with pytest.raises(InputError, match=r"correspondence.yaml: the key 'trainings' is unknown"):
        read_correspondence(path, "demo")
