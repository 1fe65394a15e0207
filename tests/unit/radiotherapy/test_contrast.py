"""Contrast of bone: Beer and Lambert by hand, published coefficients, slabs through the renderer."""

import numpy as np
import pytest

from raymark.config.dataset import Physics
from raymark.config.project import read_project
from raymark.core.errors import InputError
from raymark.ct import Volume
from raymark.geometry.camera import Detector, carm_camera
from raymark.radiotherapy.contrast import (
    contrast_table,
    effective_kev,
    log_signal,
    phantom_law,
    read_tabulated,
    thin_attenuation,
)
from raymark.radiotherapy.contrast_views import (
    Paired,
    bones_of,
    neighbour_contrast,
    neighbours,
    paired_view,
    phantom_contrast,
    phantom_view,
)
from raymark.rendering.physics import Spectrum, linac_spectrum, tube_spectrum
from raymark.tables.contrast import table as contrast_of

TABULATED = "config/reference/nist_tissues.csv"
BEAMS = {"kv": Physics(spectrum="kv", tube_kvp=110), "mv": Physics(spectrum="mv")}
MONO = [Physics(spectrum="mono", energy_kev=e) for e in (40, 60, 100, 500, 2000, 4000)]


def mono(energy_kev: float) -> Spectrum:
    return Spectrum(np.array([energy_kev]), np.ones(1))


@pytest.fixture(scope="module")
def tabulated():
    return read_tabulated(TABULATED)


@pytest.fixture(scope="module")
def phantom():
    return phantom_view("shearwarp", BEAMS | {str(p.energy_kev): p for p in MONO})


# on paper


def test_published_coefficients_are_read_as_they_stand(tabulated):
    assert tabulated("bone", np.array([60.0])) == pytest.approx(0.3148)
    assert tabulated("soft tissue", np.array([2000.0])) == pytest.approx(0.04895)
    between = tabulated("water", np.array([np.sqrt(1000 * 1500.0)]))
    assert between == pytest.approx(np.sqrt(0.07072 * 0.05754))


def test_a_table_without_a_material_is_refused(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("energy_kev,water\n10,5.3\n")
    with pytest.raises(InputError, match="is no table of attenuation coefficients"):
        read_tabulated(path)


@pytest.mark.parametrize(
    "rows",
    [
        "10,5.3,5.4,28\n9,6,6,30\n",
        "10,five,5.4,28\n",
        "0,5.3,5.4,28\n",
        "10,,5.4,28\n",
        "10,-1,1,1\n",
        "",
    ],
)
def test_a_table_that_cannot_be_interpolated_is_refused(tmp_path, rows):
    path = tmp_path / "table.csv"
    path.write_text(f"energy_kev,water,soft tissue,bone\n{rows}")
    with pytest.raises(InputError, match="is no table of attenuation coefficients"):
        read_tabulated(path)


def test_one_energy_is_beer_and_lamberts_law(tabulated):
    behind = log_signal(mono(60), tabulated, {"bone": 2.0, "water": np.array([0.0, 10.0])})
    np.testing.assert_allclose(behind, 0.3148 * 2 + np.array([0, 0.2059 * 10]))


def test_two_energies_add_up_their_energy_not_their_photons(tabulated):
    both = Spectrum(np.array([50.0, 100.0]), np.array([0.5, 0.5]))
    expected = (50 * np.exp(-0.2269 * 5) + 100 * np.exp(-0.1707 * 5)) / 150
    assert log_signal(both, tabulated, {"water": 5.0})[0] == pytest.approx(-np.log(expected))


def test_a_thin_layer_attenuates_as_the_derivative_of_the_law(tabulated):
    beam, step = tube_spectrum(110, 4.0), 1e-6
    thick, thin = (
        log_signal(beam, tabulated, {"water": 20.0, "bone": bone})[0] for bone in (step, 0.0)
    )
    found = thin_attenuation(beam, tabulated, "bone", water_cm=20.0)
    assert found == pytest.approx((thick - thin) / step, rel=1e-4)


@pytest.mark.parametrize("energy_kev", [45.0, 80.0, 2500.0])
def test_the_effective_energy_of_one_energy_is_itself(energy_kev):
    assert effective_kev(mono(energy_kev), 20.0) == pytest.approx(energy_kev, rel=1e-3)


def test_filtered_beams_are_harder():
    beam = tube_spectrum(110, 4.0)
    assert effective_kev(beam, 30.0) > effective_kev(beam, 5.0)
    assert 50 < effective_kev(beam, 20.0) < 70
    assert 1500 < effective_kev(linac_spectrum(), 20.0) < 2500


# in images


@pytest.mark.parametrize("physics", MONO, ids=lambda p: f"{p.energy_kev:g}")
def test_a_slab_through_the_renderer_is_the_published_law(phantom, tabulated, physics):
    contrast, n = phantom_contrast(phantom)
    energy_kev = np.array([physics.energy_kev])
    water = tabulated("water", np.array([70.0])) / tabulated("soft tissue", np.array([70.0]))
    expected = 1.92 * tabulated("bone", energy_kev) - water * tabulated("soft tissue", energy_kev)
    assert n > 500
    # between the table's energies its lines are up to 2 % high
    assert contrast[str(physics.energy_kev)] == pytest.approx(expected[0], rel=0.03)


def test_contrast_falls_with_energy(phantom):
    contrast, _ = phantom_contrast(phantom)
    values = [contrast[str(p.energy_kev)] for p in MONO]
    assert values == sorted(values, reverse=True)
    assert values[0] > contrast["kv"] > values[3] > contrast["mv"] > values[-1]


def test_the_whole_beams_through_a_phantom_are_the_published_law(phantom, tabulated):
    contrast, _ = phantom_contrast(phantom)
    laws = {"kv": tube_spectrum(110, 4.0), "mv": linac_spectrum()}
    for name, spectrum in laws.items():
        assert contrast[name] == pytest.approx(phantom_law(spectrum, tabulated), rel=0.01)
    assert contrast["kv"] / contrast["mv"] > 8


def scene() -> Paired:
    """A patient of 100, 150 and 200 mm of tissue, in the middle a bar of 20 mm of bone."""
    tissue_mm = np.full((40, 60), 150.0)
    tissue_mm[:, 40:], tissue_mm[:, :8] = 200.0, 100.0
    bone_mm = np.zeros((40, 60))
    bone_mm[15:25, 30:36] = 20.0
    g_per_cm2 = np.stack([1.06 * (tissue_mm - bone_mm), 1.92 * bone_mm, 0 * bone_mm]) / 10
    coefficients = {"kv": (0.2, 0.3, 5.0), "mv": (0.05, 0.048, 0.1)}
    images = {name: np.tensordot(mu, g_per_cm2, 1) for name, mu in coefficients.items()}
    boneless = {name: 0.106 * mu[0] * tissue_mm for name, mu in coefficients.items()}
    return Paired("made up", images, boneless, g_per_cm2, g_per_cm2[1].copy(), mm_per_px=1.0)


def test_bone_is_compared_with_soft_tissue_of_the_same_thickness_beside_it():
    view = scene()
    bone, soft = neighbours(view)
    assert len(bone) == 60
    assert view.tissue_mm_yx.ravel()[soft] == pytest.approx(150.0)
    assert (soft % 60 < 40).all()
    contrast, n = neighbour_contrast(view)
    assert n == 60
    assert contrast["kv"] == pytest.approx(2 * (1.92 * 0.3 - 1.06 * 0.2))
    assert contrast["mv"] == pytest.approx(2 * (1.92 * 0.048 - 1.06 * 0.05))


def test_metal_and_bone_far_from_soft_tissue_take_no_part():
    view = scene()
    view.g_per_cm2_myx[2, 15:25, 30] = 1.0
    assert len(neighbours(view)[0]) == 50
    view.g_per_cm2_myx[1] = view.bones_g_per_cm2_yx[:] = 10.0
    contrast, n = neighbour_contrast(view)
    assert n == 0
    assert np.isnan(contrast["kv"])


def test_vessels_full_of_contrast_agent_are_neither_bone_nor_soft_tissue():
    view = scene()
    agent = 0.192 * 4  # g/cm² of 4 mm
    view.g_per_cm2_myx[1, 15:25, 30:32] += agent  # in front of bone
    view.g_per_cm2_myx[1, 15:25, 24:30] += 4 * agent  # beside it, thick as bone
    bone, soft = neighbours(view)
    assert sorted(set(bone % 60)) == [32, 33, 34, 35]
    assert (view.dense_mm_yx.ravel()[soft] == 0).all()
    assert neighbour_contrast(view)[0]["kv"] == pytest.approx(2 * (1.92 * 0.3 - 1.06 * 0.2))


def water_with_two_bars():
    """100 mm of water, in it 20 mm of bone on the image's left and a vessel as dense on its right."""
    hu_xyz, labels_xyz = np.zeros((80, 50, 40), np.int16), np.zeros((80, 50, 40), np.uint8)
    for label, bar in ((51, np.s_[20:30, 20:30]), (70, np.s_[50:60, 20:30])):
        hu_xyz[bar], labels_xyz[bar] = 1000, label
    affine = np.diag([2.0, 2.0, 2.0, 1.0])
    affine[:3, 3] = [-79, -49, -39]
    camera = carm_camera(
        Detector(20, 100, 2.0), primary_deg=0, secondary_deg=0, isocentre_world_mm=np.zeros(3),
        source_to_isocentre_mm=1e5, source_to_detector_mm=1e5,
    )  # fmt: skip
    bones_xyz = bones_of(labels_xyz, [(25, 50), (69, 78)])
    return paired_view("bars", Volume(hu_xyz, affine), camera, "joseph", BEAMS, 1e5, bones_xyz)


def test_only_what_lies_in_bone_labels_is_bone_and_is_taken_out_of_the_image():
    view = water_with_two_bars()
    assert view.labelled
    row_mm, dense_mm = view.bone_mm_yx[10], view.dense_mm_yx[10]
    solid_mm = dense_mm.max()
    assert 5 < solid_mm < 20
    left, right = (dense_mm > 0.99 * solid_mm)[:50], (dense_mm > 0.99 * solid_mm)[50:]
    assert left.sum() == right.sum() > 5
    np.testing.assert_allclose(row_mm[:50][left], solid_mm, rtol=1e-3)
    np.testing.assert_array_equal(row_mm[50:], 0)
    for beam, image in view.images_yx.items():
        added = (image - view.boneless_yx[beam])[10]
        assert (added[:50][left] > (0.1 if beam == "kv" else 0.01)).all()
        np.testing.assert_allclose(added[50:], 0, atol=1e-6)  # the vessel's contrast is not bone's
    assert set(neighbours(view)[0] % 100) <= set(np.flatnonzero(left))


def test_without_labels_of_bones_all_that_is_dense_is_bone():
    empty = np.zeros((3, 3, 3), np.uint8)
    assert bones_of(empty, [(1, 9)]) is None
    assert bones_of(empty + 7, []) is None
    assert bones_of(empty + 7, [(7, 7)]).all()
    view = scene()
    np.testing.assert_array_equal(view.dense_mm_yx, view.bone_mm_yx)
    rows = contrast_table(BEAMS, read_tabulated(TABULATED), "shearwarp", [view])["quantity"]
    assert "bone, by HU alone, against its neighbourhood" in rows.iloc[-1]


# table and figure


@pytest.fixture(scope="module")
def table(tabulated):
    views = [scene()]
    return contrast_of(
        read_project("config/config.yaml"), contrast_table(BEAMS, tabulated, "shearwarp", views)
    )


def test_the_table_sets_ratios_beside_published_ones(table):
    frame = table.frame.set_index("quantity")
    on_paper = frame.iloc[:5]  # the made-up patient's coefficients are made up
    assert on_paper["deviation"].abs().max() < 0.01
    difference = frame.loc[[q for q in frame.index if "−" in q]].iloc[0]
    assert difference["ratio"] == pytest.approx(difference["kv"] / difference["mv"])
    assert 8 < difference["ratio"] < 12
    assert frame["n"].notna().tolist() == [False] * 4 + [True] * 2
    ratios = frame.loc[[q for q in frame.index if q.startswith("μ bone / μ")]]
    assert (ratios["kv"] > ratios["mv"]).all()
    assert table.cells()[0][-1] == "–"


def test_the_table_is_wrong_if_the_physics_is(tabulated):
    def off(material, energies_kev):
        return tabulated(material, energies_kev) * (1.05 if material == "bone" else 1)

    frame = contrast_table({"kv": BEAMS["kv"], "mv": BEAMS["mv"]}, off, "shearwarp", [])
    assert (frame["kv"] / frame["kv_tabulated"] < 0.97).all()
