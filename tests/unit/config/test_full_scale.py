"""The preset `paper` is what papers 3 to 5 state; pinned here so that no edit of a file loses it."""

import pytest

from raymark.config.presets import merged
from raymark.config.project import project_of
from raymark.core.yaml_files import read_yaml
from raymark.correspondence.config import correspondence_of
from raymark.methods.appearance_context import Config as AppearanceContext
from raymark.methods.landmarknet import Config as LandmarkNet


@pytest.fixture(scope="module")
def project():
    return project_of(merged(read_yaml("config/config.yaml"), read_yaml("config/paper.yaml")), "-")


def test_landmarknet(project):
    """Sections Methods, Dataset and Training, Table 1."""
    training = project.methods["landmarknet"].training
    assert (training.epochs, training.batch, training.learning_rate) == (4000, 18, 1e-4)
    network = LandmarkNet(**project.methods["landmarknet"].network)
    assert (network.sigma_px, network.stride, network.blocks) == (3, 1, (3, 4, 6, 3))
    assert (network.width, network.pyramid, network.detection) == (64, 256, 128)
    assert tuple(project.config.evaluation.pck_px) == (4, 6, 8, 10, 12)
    for name, beam in (("chest_kv", "kv"), ("chest_mv", "mv")):
        dataset = project.datasets[name]
        assert (dataset.detector.height_px, dataset.detector.width_px) == (384, 384)
        assert dataset.physics.spectrum == beam
        (experiment,) = (
            e for e in project.config.experiments if (e.dataset, e.method) == (name, "landmarknet")
        )
        seen = [dataset.view_sets[v] for v in experiment.evaluate if "subject" in v]
        assert [sum(v.sampling.primary_deg) / 2 for v in seen] == [0, 90]
        assert {v.of for v in seen} == {"test"}


def test_what_landmarknet_is_compared_with(project):
    """Table 3: on the tracheal bifurcation in MV images of unseen patients."""
    compared = {e.method: e.evaluate for e in project.config.experiments if e.dataset == "chest_mv"}
    assert set(compared) == {"landmarknet", "dsnt", "deeplabv3", "prm"}
    assert all("novel_subject_0" in view_sets for view_sets in compared.values())


def test_appearance_context(project):
    """Sections III and IV: the networks of cephalograms and of spines."""
    cells = {
        "appearance_context": ((32, 32), (32 + 1, 32 + 1), (3, 3)),
        "appearance_context_spine": ((64, 32), (65, 33), (5, 3)),
    }
    for name, (context_map, receptive_field, kernel) in cells.items():
        method = project.methods[name]
        network = AppearanceContext(**method.network)
        assert (network.context_map, network.context_kernel) == (context_map, kernel)
        assert (len(network.dilations), network.context_channels) == (7, 128)
        reach = sum(network.dilations)
        assert tuple(1 + (side - 1) * reach for side in kernel) == receptive_field
        assert (network.sigma_px, network.read_off) == (5, "maximum")
        assert method.training.learning_rate == 1e-4
        augmentation = method.training.augmentation
        assert (augmentation.rotation_deg, augmentation.shift_px) == (2, 10)
        assert augmentation.scale == (0.9, 1.1)
        assert augmentation.flip_probability == 0


def test_images_of_the_appearance_context_paper(project):
    spines, heads = project.imports["spine_ap"], project.imports["cephalometric_2015"]
    assert (spines.height_px, spines.width_px, spines.scale.mm) == (512, 300, 35)
    ends = [{corner.split("_")[0] for corner in group} for group in spines.scale.between]
    assert ends == [{"l4"}, {"l5"}]
    assert (heads.scale.pixel_mm, heads.split.kind) == (0.1, "official-2015")
    assert len(heads.annotations.readers) == 2
    assert heads.registration is not None


def test_correspondences(project):
    """Sections 2.2, 2.4, 2.6 and 3.2."""
    settings = correspondence_of(project)
    training, network = settings.training, settings.network
    assert [network.filters * 2**level for level in range(5)] == [16, 32, 64, 128, 256]
    assert (training.epochs, training.batch, training.landmarks) == (50, 4, 400)
    assert (training.learning_rate, training.weight_decay) == (1e-3, 1e-4)
    margins = training.matching_px, training.positive_margin, training.negative_margin
    assert margins == (2, 0.1, 1)
    assert settings.matching.probability == 0.5
    assert settings.transformations.intensity == 0.2
    assert settings.slices.test_slices is None
    assert training.pairs_per_epoch is None
