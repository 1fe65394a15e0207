"""From Hounsfield units to the X-ray image: materials, attenuation, spectra, detector.

A CT is split into densities of soft tissue, bone and metal; a projector turns these into area
densities; a spectrum and an energy-integrating detector turn those into a log image. Scatter,
heel effect and detector blur are left out.
"""

from dataclasses import dataclass
from functools import cache
from math import factorial
from pathlib import Path

import numpy as np
from numba import njit

from raymark.config.dataset import Physics
from raymark.rendering import _elements

MATERIALS = ("soft tissue", "bone", "metal")

# Mass fractions of the elements. Tissues: ICRU Report 44 (1989), as NIST tabulates them; metal
# stands for titanium implants.
COMPOSITION = {
    "water": {"H": 0.111894, "O": 0.888106},
    "soft tissue": {
        **{"H": 0.102, "C": 0.143, "N": 0.034, "O": 0.708},
        **{"Na": 0.002, "P": 0.003, "S": 0.003, "Cl": 0.002, "K": 0.003},
    },
    "bone": {
        **{"H": 0.034, "C": 0.155, "N": 0.042, "O": 0.435},
        **{"Na": 0.001, "Mg": 0.002, "P": 0.103, "S": 0.003, "Ca": 0.225},
    },
    "metal": {"Ti": 1.0},
    "steel": {"Fe": 0.65, "Cr": 0.18, "Ni": 0.14, "Mo": 0.03},  # ASTM F138, for implants
    "tungsten": {"W": 1.0},
    "aluminium": {"Al": 1.0},
}
CORTICAL_BONE_G_PER_CM3 = 1.92  # ICRU Report 44
TITANIUM_G_PER_CM3 = 4.51
TOOL_METALS = {"steel": ("steel", 7.95), "titanium": ("metal", TITANIUM_G_PER_CM3)}  # g/cm³

CT_EFFECTIVE_KEV = 70.0  # a scanner at 120 kV
SOFT_TISSUE_UP_TO_HU = 100
BONE_UP_TO_HU = 2800
METAL_FROM_HU = 3000

ELECTRON_KEV = 510.99895
TABLES_END_KEV = 800.0  # the tables of Elam et al. are not valid above
TUBE_SPECTRA = Path(__file__).with_name("tube_spectra.csv")
QUADRATURE_ENERGIES = 8
PIXELS_IN_CACHE = 1024
C0, C1, C2, C3, C4, C5, C6, C7 = (np.float32(1 / factorial(n)) for n in range(8))
LEAST_EXPONENT = np.float32(-87 / 128)
FLOAT32_TINY = float(np.finfo(np.float32).tiny)


# ---------------------------------------------------------------------------------- attenuation


def mass_attenuation(material: str, energies_kev: np.ndarray) -> np.ndarray:
    """Return the total mass attenuation coefficient in cm²/g at each energy, up to 10 MeV.

    Up to 800 keV from the tables of Elam, Ravel and Sieber (2002) in xraydb. Above: Klein–Nishina
    scattering and Born-approximation pair production, plus what the tables have beyond these at
    800 keV (photoelectric absorption) falling off as 1/E². Within 1 % of NIST's XCOM for tissue,
    aluminium and titanium up to 6 MeV (pairs in the field of electrons are left out), 6 % for
    tungsten.
    """
    energies_kev = np.asarray(energies_kev, dtype=np.float64)
    parts = (
        part * _element_attenuation(element, energies_kev)
        for element, part in COMPOSITION[material].items()
    )
    return sum(parts, np.zeros_like(energies_kev))


def _element_attenuation(element: str, energies_kev: np.ndarray) -> np.ndarray:
    joint = np.minimum(energies_kev, TABLES_END_KEV)
    tabulated = _elements.attenuation(element, 1e3 * joint)
    remainder = tabulated - _high_energy_attenuation(element, joint)
    extended = _high_energy_attenuation(element, energies_kev)
    extended += remainder * (TABLES_END_KEV / energies_kev) ** 2
    return np.where(energies_kev > TABLES_END_KEV, extended, tabulated)


def _high_energy_attenuation(element: str, energies_kev: np.ndarray) -> np.ndarray:
    """Scattering by free electrons and pair production in the nucleus's field, in cm²/g."""
    number, g_per_mol = _elements.number_and_mass(element)
    atoms_per_g_barn = 0.602214076 / g_per_mol
    k = energies_kev / ELECTRON_KEV
    return atoms_per_g_barn * (number * _klein_nishina_barn(k) + number**2 * _pair_barn(k))


def _klein_nishina_barn(k: np.ndarray) -> np.ndarray:
    """Klein–Nishina's total cross-section per electron; `k` is the energy in electron masses."""
    classical_radius_squared = 0.07940788
    log = np.log(1 + 2 * k)
    forward = (1 + k) / k**2 * (2 * (1 + k) / (1 + 2 * k) - log / k)
    backward = log / (2 * k) - (1 + 3 * k) / (1 + 2 * k) ** 2
    return 2 * np.pi * classical_radius_squared * (forward + backward)


def _pair_barn(k: np.ndarray) -> np.ndarray:
    """Pair production divided by Z², without screening (Bethe–Heitler in Maximon's series, 1968).

    `k` is the energy in electron masses; the threshold is 2.
    """
    fine_structure_times_radius_squared = 0.07940788 / 137.035999
    k = np.maximum(k, 2.0)
    e = (2 * k - 4) / (2 + k + 2 * np.sqrt(2 * k))
    near = 1 + e / 2 + 23 / 40 * e**2 + 11 / 60 * e**3 + 29 / 960 * e**4
    near *= 2 * np.pi / 3 * ((k - 2) / k) ** 3
    log, zeta3 = np.log(2 * k), 1.2020569
    far = 28 / 9 * log - 218 / 27 - (2 / k) ** 4 * (3 / 16 * log + 1 / 8)
    far += (2 / k) ** 2 * (
        (6 - np.pi**2 / 3) * log - 7 / 2 + 2 / 3 * log**3 - log**2 + 2 * zeta3 + np.pi**2 / 6
    )
    far -= (2 / k) ** 6 * (29 / 2304 * log - 77 / 13824)
    return fine_structure_times_radius_squared * np.where(k < 4, near, far)


# ------------------------------------------------------------------------------------ materials


def densities_from_hu(hu_xyz: np.ndarray) -> np.ndarray:
    """Split a CT (x, y, z) in int16 HU into densities (material, x, y, z), float32 g/cm³.

    Materials are those of `MATERIALS`; air is nothing of each. Soft tissue scales with HU up to
    100 HU; from there a voxel is a mixture by volume with cortical bone (ICRU-44), which it is
    alone at its own HU, then denser bone up to 2800 HU. All this attenuates, at the scanner's
    effective energy, exactly as the CT says: μ = μ_water (1 + HU/1000). Many CTs end at 3071 HU,
    far below any metal: from 3000 HU on a voxel is solid titanium, and denser above titanium's own
    HU. In between straight lines keep the attenuation continuous and rising with HU.
    """
    density_mxyz = np.empty((len(MATERIALS), *hu_xyz.shape), dtype=np.float32)
    flat = density_mxyz.reshape(len(MATERIALS), -1)
    _look_up(hu_xyz.reshape(-1), np.iinfo(np.int16).min, _density_table(), flat)
    return density_mxyz


@njit(cache=True)
def _look_up(hu, least_hu, table, density):
    """Fill the densities (material, voxel) from a table (material, HU) that begins at `least_hu`."""
    for material in range(len(table)):
        for voxel in range(len(hu)):
            density[material, voxel] = table[material, hu[voxel] - least_hu]


@cache
def _density_table() -> np.ndarray:
    """Densities (material, HU) of every int16 HU; straight lines between pure materials."""
    ct_kev = np.array([CT_EFFECTIVE_KEV])
    water = mass_attenuation("water", ct_kev)[0]

    def density(material: str, hu: float) -> float:
        return water * (1 + hu / 1000) / mass_attenuation(material, ct_kev)[0]

    def own_hu(material: str, g_per_cm3: float) -> float:
        return 1000 * (g_per_cm3 / density(material, 0) - 1)

    bone, metal = CORTICAL_BONE_G_PER_CM3, TITANIUM_G_PER_CM3
    top_hu = np.iinfo(np.int16).max
    nodes = [  # HU, soft tissue, bone, metal
        (-1000, 0, 0, 0),
        (SOFT_TISSUE_UP_TO_HU, density("soft tissue", SOFT_TISSUE_UP_TO_HU), 0, 0),
        (own_hu("bone", bone), 0, bone, 0),
        (BONE_UP_TO_HU, 0, density("bone", BONE_UP_TO_HU), 0),
        (METAL_FROM_HU, 0, 0, metal),
        (own_hu("metal", metal), 0, 0, metal),
        (top_hu, 0, 0, density("metal", top_hu)),
    ]
    hu, *densities = np.array(nodes).T
    levels = np.arange(np.iinfo(np.int16).min, top_hu + 1)
    return np.stack([np.interp(levels, hu, density) for density in densities]).astype(np.float32)


# -------------------------------------------------------------------------------------- spectra


@dataclass(frozen=True)
class Spectrum:
    """What leaves the source: photon energies (n,) in keV, ascending, and their shares (n,) of 1."""

    energies_kev: np.ndarray
    photons: np.ndarray

    @property
    def mean_kev(self) -> float:
        return float(self.energies_kev @ self.photons)


def spectrum_of(physics: Physics) -> Spectrum:
    """Return the spectrum that a configuration asks for."""
    if physics.spectrum == "mono":
        return Spectrum(np.array([physics.energy_kev]), np.ones(1))
    if physics.spectrum == "kv":
        return tube_spectrum(physics.tube_kvp, physics.filtration_mm_al)
    return linac_spectrum()


def tube_spectrum(tube_kvp: float, filtration_mm_al: float) -> Spectrum:
    """Tungsten anode at 12°, filtered by aluminium (SpekPy: Poludniowski et al. 2021).

    Those of common beams are in `TUBE_SPECTRA`, made once by `calculated_tube_spectrum`.
    """
    kvp, mm_al, energies_kev, photons = np.loadtxt(TUBE_SPECTRA, delimiter=",", skiprows=1).T
    rows = (kvp == tube_kvp) & (mm_al == filtration_mm_al)
    if not rows.any():
        return calculated_tube_spectrum(tube_kvp, filtration_mm_al)
    return Spectrum(energies_kev[rows], photons[rows])


def calculated_tube_spectrum(tube_kvp: float, filtration_mm_al: float) -> Spectrum:
    """Calculate what `tube_spectrum` returns, in seconds."""
    import spekpy  # with it comes matplotlib: as long as a small shard takes

    tube = spekpy.Spek(kvp=tube_kvp, th=12).filter("Al", filtration_mm_al)
    energies_kev, fluence = tube.get_spectrum()
    kept = fluence > 1e-9 * fluence.max()
    return Spectrum(energies_kev[kept], fluence[kept] / fluence[kept].sum())


def linac_spectrum() -> Spectrum:
    """Flattened 6 MV beam of a linear accelerator: Ali and Rogers 2012, equation 12, Varian Clinac.

    A thick-target bremsstrahlung shape attenuated by tungsten and aluminium (doi
    10.1088/0031-9155/57/1/31); it gives the energy fluence.
    """
    tungsten, aluminium, slope, electron_mev = 1.222, 5.147, -1.186, 5.76
    energies_kev = np.arange(50.0, 1e3 * electron_mev - 10, 20)
    mev = energies_kev / 1e3
    thin_target = 1 + slope * mev / electron_mev + (mev / electron_mev) ** 2
    thin_target *= np.log(electron_mev * (electron_mev - mev) / mev + 1.65) - 0.5
    path = tungsten**2 * mass_attenuation("tungsten", energies_kev)
    path += aluminium**2 * mass_attenuation("aluminium", energies_kev)
    photons = np.maximum(thin_target, 0) * np.exp(-path) / energies_kev
    return Spectrum(energies_kev, photons / photons.sum())


# ------------------------------------------------------------------------------------- detector


@dataclass(frozen=True)
class Shadow:
    """What metal before the patient lets through: `pixels` (n,) of the flattened image, and the share
    (energy, n) of the photons at each of the detector's energies that reach them."""

    pixels: np.ndarray
    passed_en: np.ndarray


class EnergyIntegratingDetector:
    """An ideal detector that adds up the energy of all photons, and its log image.

    The integral over the spectrum becomes a Gauss quadrature of 8 energies whose weight is the
    empty pixel's signal: within 0.05 % of the whole spectrum for as much tissue and metal as a
    patient has. With N_i photons of energy E_i the signal is ΣN_i E_i and its variance ΣN_i E_i²
    (compound Poisson); the noise is Gaussian with that variance, which is close above some 30
    photons. What falls below half a photon counts as half a photon.
    """

    def __init__(self, spectrum: Spectrum, photons_per_px: float | None):
        """`photons_per_px` are the photons an empty pixel receives; None switches noise off."""
        energy = spectrum.energies_kev * spectrum.photons
        self.energies_kev, signal = gauss_quadrature(spectrum.energies_kev, energy)
        cm_per_mm = 0.1
        attenuation_me = cm_per_mm * np.stack(
            [mass_attenuation(material, self.energies_kev) for material in MATERIALS]
        )
        # A float64 factor would make NumPy convert every image there and back.
        self.signal = signal.astype(np.float32)
        self.variance = (signal * self.energies_kev / spectrum.mean_kev).astype(np.float32)
        self.attenuation_me = attenuation_me.astype(np.float32)
        self.photons_per_px = photons_per_px
        self.least_signal = 0.5 / photons_per_px if photons_per_px else FLOAT32_TINY

    def metal_attenuation(self, metal: str) -> np.ndarray:
        """Return what a metal of `TOOL_METALS` attenuates at the detector's energies, per mm."""
        material, g_per_cm3 = TOOL_METALS[metal]
        cm_per_mm = 0.1
        return cm_per_mm * g_per_cm3 * mass_attenuation(material, self.energies_kev)

    def transmission(
        self, line_integrals_myx: np.ndarray, shadow: Shadow | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the expected signal over the empty pixel's (y, x) and its variance for one photon.

        `line_integrals_myx` is float32 (material, y, x) in g/cm³ · mm, as a projector returns it.
        """
        shape = line_integrals_myx.shape[1:]
        signal, variance = np.zeros((2, shape[0] * shape[1]), dtype=np.float32)
        integrals = np.ascontiguousarray(line_integrals_myx).reshape(len(MATERIALS), -1)
        _transmit(integrals, self.attenuation_me, self.signal, self.variance, signal, variance)
        if shadow is not None:
            path_en = self.attenuation_me.T @ integrals[:, shadow.pixels]
            passed_en = np.exp(-path_en) * shadow.passed_en
            signal[shadow.pixels] = self.signal @ passed_en
            variance[shadow.pixels] = self.variance @ passed_en
        return signal.reshape(shape), variance.reshape(shape)

    def log_image(
        self,
        line_integrals_myx: np.ndarray,
        rng: np.random.Generator,
        shadow: Shadow | None = None,
    ) -> np.ndarray:
        """Return −ln(signal / empty pixel's signal), float16 (y, x); `rng` draws the noise."""
        signal_yx, variance_yx = self.transmission(line_integrals_myx, shadow)
        if self.photons_per_px is not None:
            variance_yx /= np.float32(self.photons_per_px)
            noise_yx = rng.standard_normal(signal_yx.shape, dtype=np.float32)
            noise_yx *= np.sqrt(variance_yx, out=variance_yx)
            signal_yx += noise_yx
        np.maximum(signal_yx, self.least_signal, out=signal_yx)
        return np.negative(np.log(signal_yx, out=signal_yx), out=signal_yx).astype(np.float16)


@njit(cache=True, nogil=True, fastmath=True)
def _transmit(integrals, attenuation_me, signal_e, variance_e, signal, variance):
    """Add signal and variance (pixel,) of every energy behind `integrals` (material, pixel)."""
    for first in range(0, len(signal), PIXELS_IN_CACHE):
        block = slice(first, min(first + PIXELS_IN_CACHE, len(signal)))
        for energy in range(len(signal_e)):
            _transmit_one(
                *(integrals[0, block], integrals[1, block], integrals[2, block]),
                *(attenuation_me[0, energy], attenuation_me[1, energy], attenuation_me[2, energy]),
                *(signal_e[energy], variance_e[energy], signal[block], variance[block]),
            )


@njit(cache=True, nogil=True, fastmath=True)
def _transmit_one(soft, bone, metal, of_soft, of_bone, of_metal, weight, spread, signal, variance):
    """Add one energy; the plain loop without calls becomes vector instructions.

    The exponential is the 128th power of a series: within 1e-5 of it, down to exp(-87), where
    float32 ends.
    """
    part = np.float32(-1 / 128)
    of_soft, of_bone, of_metal = part * of_soft, part * of_bone, part * of_metal
    for n in range(len(signal)):
        x = of_soft * soft[n] + of_bone * bone[n] + of_metal * metal[n]
        x = LEAST_EXPONENT if x < LEAST_EXPONENT else x
        power = C0 + x * (C1 + x * (C2 + x * (C3 + x * (C4 + x * (C5 + x * (C6 + x * C7))))))
        power *= power
        power *= power
        power *= power
        power *= power
        power *= power
        power *= power
        power *= power
        signal[n] += weight * power
        variance[n] += spread * power


def gauss_quadrature(x: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return at most 8 nodes and weights that replace a weighted sum over `x`; they add up to 1.

    Exact for polynomials of degree 15 (Golub and Welsch 1969, on the recurrence of the discrete
    weight's orthogonal polynomials).
    """
    weights = weights / weights.sum()
    count = min(QUADRATURE_ENERGIES, len(x))
    centre, spread = x.mean(), np.ptp(x) or 1.0
    scaled = (x - centre) / spread
    previous, current, norm = np.zeros_like(scaled), np.ones_like(scaled), 0.0
    diagonal, off_diagonal = [], []
    for _ in range(count):
        diagonal.append(np.sum(weights * scaled * current**2))
        following = (scaled - diagonal[-1]) * current - norm * previous
        norm = np.sqrt(np.sum(weights * following**2))
        off_diagonal.append(norm)
        previous, current = current, following / (norm or 1.0)
    coupling = np.diag(off_diagonal[:-1], 1)
    nodes, vectors = np.linalg.eigh(np.diag(diagonal) + coupling + coupling.T)
    return centre + spread * nodes, vectors[0] ** 2
