"""Physics against NIST's tables, the whole spectrum, and counted photons."""

import numpy as np
import pytest
import xraydb
from hypothesis import given
from hypothesis import strategies as st

from raymark.config.dataset import Physics
from raymark.core.seeds import generator
from raymark.rendering import _elements
from raymark.rendering.physics import (
    COMPOSITION,
    MATERIALS,
    TUBE_SPECTRA,
    EnergyIntegratingDetector,
    Spectrum,
    calculated_tube_spectrum,
    densities_from_hu,
    gauss_quadrature,
    linac_spectrum,
    mass_attenuation,
    spectrum_of,
    tube_spectrum,
)

# Hubbell and Seltzer, NISTIR 5632: mass attenuation coefficients in cm²/g.
NIST_KEV = [20, 30, 40, 50, 60, 80, 100, 150, 400, 800, 1000, 1500, 2000, 3000, 4000, 5000, 6000]
NIST = {
    "water": "0.8096 0.3756 0.2683 0.2269 0.2059 0.1837 0.1707 0.1505 0.1061 0.07865 0.07072"
    " 0.05754 0.04942 0.03969 0.03403 0.03031 0.02770",
    "soft tissue": "0.8230 0.3790 0.2688 0.2264 0.2048 0.1823 0.1693 0.1492 0.1051 0.07793 0.07006"
    " 0.05701 0.04895 0.03931 0.03370 0.03001 0.02743",
    "bone": "4.001 1.331 0.6655 0.4242 0.3148 0.2229 0.1855 0.1480 0.09908 0.07308 0.06566"
    " 0.05346 0.04607 0.03745 0.03257 0.02946 0.02734",
}


def nist(material: str, energies_kev: np.ndarray) -> np.ndarray:
    """Interpolate NIST's table, straight in logarithms."""
    table = np.array(NIST[material].split(), dtype=float)
    return np.exp(np.interp(np.log(energies_kev), np.log(NIST_KEV), np.log(table)))


@pytest.mark.parametrize("material", NIST)
def test_attenuation_of_tissues_is_nists(material):
    expected = np.array(NIST[material].split(), dtype=float)
    np.testing.assert_allclose(mass_attenuation(material, NIST_KEV), expected, rtol=0.015)


@pytest.mark.parametrize(
    ("material", "at_1_2_4_6_mev", "tolerance"),
    [
        ("metal", [0.05891, 0.04180, 0.03173, 0.02868], 0.01),
        ("aluminium", [0.06146, 0.04324, 0.03106, 0.02655], 0.01),
        ("tungsten", [0.06618, 0.04433, 0.04037, 0.04210], 0.06),
    ],
)
def test_attenuation_of_metals_in_the_megavoltage_range(material, at_1_2_4_6_mev, tolerance):
    found = mass_attenuation(material, np.array([1e3, 2e3, 4e3, 6e3]))
    np.testing.assert_allclose(found, at_1_2_4_6_mev, rtol=tolerance)


@pytest.mark.parametrize("material", MATERIALS)
def test_attenuation_is_continuous_where_the_tables_end(material):
    below, above = mass_attenuation(material, np.array([799.99, 800.01]))
    assert below == pytest.approx(above, rel=1e-4)


@pytest.mark.parametrize("element", sorted({e for m in COMPOSITION.values() for e in m}))
def test_elements_are_xraydbs_to_the_bit(element):
    energies_ev = np.geomspace(100, 800e3, 500)
    found = _elements.attenuation(element, energies_ev)
    np.testing.assert_array_equal(found, xraydb.mu_elam(element, energies_ev))
    expected = xraydb.atomic_number(element), xraydb.atomic_mass(element)
    assert _elements.number_and_mass(element) == expected


def test_tabulated_tube_spectra_are_calculated_ones():
    table = np.loadtxt(TUBE_SPECTRA, delimiter=",", skiprows=1)
    for beam in np.unique(table[:, :2], axis=0):
        found, expected = tube_spectrum(*beam), calculated_tube_spectrum(*beam)
        np.testing.assert_array_equal(found.energies_kev, expected.energies_kev)
        # SpekPy interpolates with SciPy, whose last digits are the processor's.
        np.testing.assert_allclose(found.photons, expected.photons, rtol=1e-9)


def test_a_beam_that_is_not_tabulated_is_calculated():
    found, expected = tube_spectrum(95.0, 2.5), calculated_tube_spectrum(95.0, 2.5)
    np.testing.assert_array_equal(found.photons, expected.photons)
    assert found.energies_kev.max() == pytest.approx(95, abs=1)


def attenuation_of(hu: np.ndarray, energy_kev: float) -> np.ndarray:
    """The linear attenuation, 1/cm, of what the CT's HU are taken for."""
    density = densities_from_hu(hu.astype(np.int16)[:, None, None])[:, :, 0, 0]
    return sum(
        mass_attenuation(material, np.array([energy_kev])) * density[m]
        for m, material in enumerate(MATERIALS)
    )


def test_the_ct_is_reproduced_at_its_effective_energy():
    hu = np.arange(-1000, 2801)
    water = xraydb.material_mu("H2O", 70e3, density=1.0)
    np.testing.assert_allclose(
        attenuation_of(hu, 70), water * (1 + hu / 1000), rtol=0.01, atol=1e-6
    )


@pytest.mark.parametrize(
    ("material", "g_per_cm3"), [("water", 1.0), ("soft tissue", 1.06), ("bone", 1.92)]
)
@pytest.mark.parametrize("energy_kev", [40, 60, 100, 1000, 6000])
def test_tissue_seen_in_a_ct_attenuates_as_that_tissue_at_any_energy(
    material, g_per_cm3, energy_kev
):
    ct_kev = np.array([70.0])
    hu = 1000 * (g_per_cm3 * nist(material, ct_kev) / nist("water", ct_kev) - 1)
    expected = g_per_cm3 * nist(material, np.array([energy_kev]))
    np.testing.assert_allclose(attenuation_of(np.round(hu), energy_kev), expected, rtol=0.02)


@pytest.mark.parametrize("energy_kev", [30, 70, 150, 2000])
def test_attenuation_rises_with_hu_without_jumps(energy_kev):
    mu = attenuation_of(np.arange(-1000, 32767), energy_kev)
    steps = np.diff(mu)
    assert (steps > -1e-6 * mu.max()).all()
    assert steps.max() < 0.01 * mu.max()


def test_padding_and_air_are_nothing_and_metal_is_solid_where_the_ct_is_clipped():
    density = densities_from_hu(np.array([-32768, -2048, -1000, 3071], np.int16)[:, None, None])
    assert not density[:, :3].any()
    np.testing.assert_allclose(density[:, 3, 0, 0], [0, 0, 4.51], atol=1e-6)
    assert density.dtype == np.float32


def test_spectra_have_the_energies_they_should():
    tube, linac = tube_spectrum(90, 4.0), linac_spectrum()
    assert tube.energies_kev.max() <= 90
    assert 45 < tube.mean_kev < 55
    assert tube_spectrum(90, 8.0).mean_kev > tube.mean_kev
    assert 1500 < linac.mean_kev < 2000
    for spectrum in (tube, linac):
        assert spectrum.photons.sum() == pytest.approx(1)


@given(
    st.lists(st.floats(1, 100), min_size=9, max_size=40, unique=True),
    st.integers(0, 15),
    st.integers(0, 2**32 - 1),
)
def test_quadrature_is_exact_for_polynomials(x, degree, seed):
    x = np.sort(np.array(x)) / 100
    weights = np.random.default_rng(seed).random(len(x)) + 0.01
    nodes, shares = gauss_quadrature(x, weights)
    expected = (weights * x**degree).sum() / weights.sum()
    assert (shares * nodes**degree).sum() == pytest.approx(expected, rel=1e-6, abs=1e-9)


SPECTRA = [
    Physics(spectrum="kv", tube_kvp=60),
    Physics(spectrum="kv", tube_kvp=90),
    Physics(spectrum="kv", tube_kvp=120),
    Physics(spectrum="mv"),
    Physics(spectrum="mono"),
]


@pytest.mark.parametrize("physics", SPECTRA, ids=lambda p: f"{p.spectrum}{p.tube_kvp:g}")
def test_eight_energies_do_the_work_of_the_whole_spectrum(physics):
    spectrum = spectrum_of(physics)
    detector = EnergyIntegratingDetector(spectrum, None)
    g_per_cm2 = np.random.default_rng(0).uniform(0, [[50], [12], [6]], (3, 2000))
    g_per_cm2[2, ::2] = 0
    signal, variance = detector.transmission((10 * g_per_cm2[:, None]).astype(np.float32))

    mu = np.stack([mass_attenuation(material, spectrum.energies_kev) for material in MATERIALS])
    passed = spectrum.photons[:, None] * np.exp(-mu.T @ g_per_cm2)
    energy = spectrum.energies_kev[:, None]
    expected = (passed * energy).sum(0) / spectrum.mean_kev
    expected_variance = (passed * energy**2).sum(0) / spectrum.mean_kev**2
    seen = expected > 1e-5
    assert seen.sum() > 500
    np.testing.assert_allclose(signal[0, seen], expected[seen], rtol=1e-3)
    np.testing.assert_allclose(variance[0, seen], expected_variance[seen], rtol=1e-3)


def thin_contrast(physics: Physics) -> float:
    """Attenuation of 0.1 mm of cortical bone over that of 0.1 mm of soft tissue."""
    detector = EnergyIntegratingDetector(spectrum_of(physics), None)
    sheets = np.zeros((3, 1, 2), np.float32)
    sheets[0, 0, 0], sheets[1, 0, 1] = 0.1 * 1.06, 0.1 * 1.92
    signal, _ = detector.transmission(sheets)
    soft, bone = -np.log(signal[0].astype(float))
    return bone / soft


@pytest.mark.parametrize("spectrum", ["mono", "kv", "mv"])
def test_contrast_of_bone_is_the_tabulated_one(spectrum):
    physics = Physics(spectrum=spectrum)
    source = spectrum_of(physics)
    energy = source.photons * source.energies_kev
    bone, soft = ((energy * nist(m, source.energies_kev)).sum() for m in ("bone", "soft tissue"))
    assert thin_contrast(physics) == pytest.approx(1.92 * bone / (1.06 * soft), rel=0.03)


def test_megavoltage_flattens_bone():
    assert thin_contrast(Physics(spectrum="kv")) > 3.5
    assert thin_contrast(Physics(spectrum="mv")) == pytest.approx(1.92 * 0.94 / 1.06, rel=0.02)


def test_a_mono_image_is_beer_and_lamberts():
    detector = EnergyIntegratingDetector(Spectrum(np.array([60.0]), np.ones(1)), None)
    sheets = np.array([200.0 * 1.06, 10.0 * 1.92, 0.0], np.float32)[:, None, None]
    expected = 0.1 * (0.2048 * sheets[0] + 0.3148 * sheets[1])
    image = detector.log_image(sheets, generator("unused"))
    assert image.dtype == np.float16
    np.testing.assert_allclose(image, expected, rtol=0.005)


def test_noise_is_that_of_counted_photons():
    spectrum = tube_spectrum(90, 4.0)
    photons = 5e3
    sheets = np.zeros((3, 200, 200), np.float32)
    sheets[0], sheets[1] = 100.0, 20.0
    image = EnergyIntegratingDetector(spectrum, photons).log_image(sheets, generator("noise", 1))
    signal = np.exp(-image.astype(float))

    mu = np.stack([mass_attenuation(material, spectrum.energies_kev) for material in MATERIALS])
    expected_photons = photons * spectrum.photons * np.exp(-0.1 * mu.T @ sheets[:, 0, 0])
    counted = np.random.default_rng(2).poisson(expected_photons, (40000, len(expected_photons)))
    truth = counted @ spectrum.energies_kev / (photons * spectrum.mean_kev)
    assert signal.mean() == pytest.approx(truth.mean(), rel=0.003)
    assert signal.std() == pytest.approx(truth.std(), rel=0.03)


def test_noise_comes_from_the_generator_alone():
    detector = EnergyIntegratingDetector(tube_spectrum(90, 4.0), 2e4)
    sheets = np.full((3, 20, 30), 30.0, np.float32)
    first, again, other = (detector.log_image(sheets, generator("view", n)) for n in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).mean() > 0.9


@pytest.mark.parametrize("photons", [2e4, None])
def test_the_image_is_finite_behind_a_metre_of_metal(photons):
    detector = EnergyIntegratingDetector(tube_spectrum(60, 4.0), photons)
    sheets = np.full((3, 8, 8), 4.5e3, np.float32)
    image = detector.log_image(sheets, generator("view"))
    assert np.isfinite(image).all()
    assert (image > 9).all()
