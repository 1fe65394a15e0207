"""How much bone stands out of soft tissue, kilovoltage against megavoltage.

The paper (LandmarkNet, Background) says that bone has high contrast in kV images and hardly any in
MV images. Here that is tabulated from attenuation coefficients, the simulation's own and published
ones, beside what images of a phantom and of a patient show (`raymark.radiotherapy.contrast_views`). Contrast is a
difference of the image −ln(signal / empty pixel's signal); lengths are in cm, densities and
coefficients in g and cm.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from raymark.config.dataset import Physics
from raymark.core.errors import InputError
from raymark.radiotherapy.contrast_views import (
    INSERT_CM,
    PHANTOM_CM,
    SOFT_TISSUE_G_PER_CM3,
    Paired,
    neighbour_contrast,
    neighbours,
    phantom_contrast,
    phantom_view,
)
from raymark.rendering.physics import (
    CORTICAL_BONE_G_PER_CM3,
    CT_EFFECTIVE_KEV,
    MATERIALS,
    Spectrum,
    mass_attenuation,
    spectrum_of,
)

Attenuation = Callable[[str, np.ndarray], np.ndarray]  # material, keV (n,) -> cm²/g (n,)
Quantity = Callable[[Spectrum, Attenuation], float]
ByBeam = Mapping[str, float]

TABULATED = ["energy_kev", "water", "soft tissue", "bone"]
WATER_CM = 20.0  # what the beam has passed before it meets the thin object


def read_tabulated(path: str | Path) -> Attenuation:
    """Read published mass attenuation coefficients; between the energies straight in logarithms."""
    try:
        table = pd.read_csv(path, comment="#")[TABULATED].astype(float)
        if not (np.isfinite(table).all(axis=None) and (table > 0).all(axis=None)):
            raise ValueError("not all of its numbers are positive")
        if table.empty or (table["energy_kev"].diff() <= 0).any():
            raise ValueError("its energies do not rise")
    except (OSError, ValueError, KeyError, TypeError) as error:
        problem = f"is no table of attenuation coefficients ({error})"
        remedy = f"Give it the columns {', '.join(TABULATED)}"
        raise InputError(path, problem, remedy) from None
    logs = np.log(table)

    def tabulated(material: str, at_kev: np.ndarray) -> np.ndarray:
        return np.exp(np.interp(np.log(at_kev), logs["energy_kev"], logs[material]))

    return tabulated


# ------------------------------------------------------------------------------ the law, on paper


def log_signal(
    spectrum: Spectrum, attenuation: Attenuation, g_per_cm2: Mapping[str, np.ndarray | float]
) -> np.ndarray:
    """Return −ln of a beam's detected energy (n,) behind area densities (n,), over that of nothing.

    Beer and Lambert's law, energy by energy.
    """
    energy = spectrum.photons * spectrum.energies_kev
    layers = (
        np.multiply.outer(np.atleast_1d(amount), attenuation(material, spectrum.energies_kev))
        for material, amount in g_per_cm2.items()
    )
    return -np.log(np.exp(-sum(layers)) @ energy / energy.sum())


def thin_attenuation(
    spectrum: Spectrum, attenuation: Attenuation, material: str, water_cm: float
) -> float:
    """Return μ/ρ in cm²/g of a thin layer that a beam meets behind water, as the detector sees it.

    The mean over the spectrum, weighted by the detected energy that the water lets through.
    """
    path = attenuation("water", spectrum.energies_kev) * water_cm
    weight = spectrum.photons * spectrum.energies_kev * np.exp(-path)
    return float(weight @ attenuation(material, spectrum.energies_kev) / weight.sum())


def effective_kev(spectrum: Spectrum, water_cm: float) -> float:
    """Return the one energy at which water attenuates as it does this beam over `water_cm`."""
    wanted = log_signal(spectrum, mass_attenuation, {"water": water_cm})[0] / water_cm
    energies_kev = np.geomspace(10, 1e4, 2000)
    falling = mass_attenuation("water", energies_kev)
    return float(np.exp(np.interp(-wanted, -falling, np.log(energies_kev))))


def per_cm(of: Callable[[str], float]) -> tuple[float, float]:
    """Return μ in 1/cm of bone and of soft tissue, from what gives μ/ρ of a material."""
    return CORTICAL_BONE_G_PER_CM3 * of("bone"), SOFT_TISSUE_G_PER_CM3 * of("soft tissue")


def phantom_law(spectrum: Spectrum, attenuation: Attenuation) -> float:
    """Return the contrast of the phantom's insert by Beer and Lambert's law."""
    ct_kev = np.array([CT_EFFECTIVE_KEV])
    # The simulation takes a voxel of 0 HU for soft tissue of water's attenuation in the CT.
    density = (attenuation("water", ct_kev) / attenuation("soft tissue", ct_kev))[0]
    bone_cm = np.array([INSERT_CM, 0.0])
    layers = {
        "soft tissue": density * (PHANTOM_CM - bone_cm),
        "bone": CORTICAL_BONE_G_PER_CM3 * bone_cm,
    }
    behind_bone, beside = log_signal(spectrum, attenuation, layers)
    return float(behind_bone - beside)


def neighbour_law(view: Paired, spectrum: Spectrum, attenuation: Attenuation) -> float:
    """Return the same mean by Beer and Lambert's law, from what the rays pass."""
    pairs = np.concatenate(neighbours(view))
    if not len(pairs):
        return np.nan
    passed = view.g_per_cm2_myx.reshape(len(MATERIALS), -1)[:, pairs]
    layers = {m: passed[MATERIALS.index(m)] for m in ("soft tissue", "bone")}
    bone, soft = np.split(log_signal(spectrum, attenuation, layers), 2)
    return float((bone - soft).mean())


# -------------------------------------------------------------------------------------- the table


def contrast_table(
    beams: Mapping[str, Physics], tabulated: Attenuation, projector: str, views: list[Paired]
) -> pd.DataFrame:
    """Return what the table shows: quantity, <beam> and <beam>_tabulated for every beam, n.

    `views` are of the patient; `n` counts the pixels that an average is over.
    """
    spectra = {name: spectrum_of(physics) for name, physics in beams.items()}
    rows = []

    def add(quantity: str, ours: ByBeam, published: ByBeam, n: int | None = None) -> None:
        tabulated_of = {f"{name}_tabulated": value for name, value in published.items()}
        rows.append({"quantity": quantity, **ours, **tabulated_of, "n": n})

    for quantity, of in _on_paper(spectra).items():
        ours = {name: of(spectrum, mass_attenuation) for name, spectrum in spectra.items()}
        add(quantity, ours, {name: of(spectrum, tabulated) for name, spectrum in spectra.items()})
    contrast, n = phantom_contrast(phantom_view(projector, beams))
    quantity = f"image of {PHANTOM_CM:g} cm of water, {INSERT_CM:g} cm of it replaced by bone"
    law = {name: phantom_law(spectrum, tabulated) for name, spectrum in spectra.items()}
    add(quantity, contrast, law, n)
    for view in views:
        contrast, n = neighbour_contrast(view)
        bone = "bone" if view.labelled else "bone, by HU alone,"
        quantity = f"image of the patient, {view.title}: {bone} against its neighbourhood"
        law = {name: neighbour_law(view, spectrum, tabulated) for name, spectrum in spectra.items()}
        add(quantity, contrast, law, n)
    return pd.DataFrame(rows).astype({"n": "Int64"})


def _on_paper(spectra: Mapping[str, Spectrum]) -> dict[str, Quantity]:
    """Name the quantities that need no image, each a function of spectrum and coefficients."""
    kev = {id(spectrum): effective_kev(spectrum, WATER_CM) for spectrum in spectra.values()}
    energies = " and ".join(
        f"{value:.0f} keV" if value < 1e3 else f"{value / 1e3:.1f} MeV" for value in kev.values()
    )

    def at_effective_energy(spectrum: Spectrum, attenuation: Attenuation) -> float:
        energy_kev = np.array([kev[id(spectrum)]])
        bone, soft = per_cm(lambda m: attenuation(m, energy_kev)[0])
        return bone / soft

    def thin(spectrum: Spectrum, attenuation: Attenuation, water_cm: float) -> tuple[float, float]:
        return per_cm(lambda m: thin_attenuation(spectrum, attenuation, m, water_cm))

    def ratio(water_cm: float) -> Quantity:
        return lambda s, a: np.divide(*thin(s, a, water_cm))

    def difference(spectrum: Spectrum, attenuation: Attenuation) -> float:
        return np.subtract(*thin(spectrum, attenuation, WATER_CM))

    return {
        f"μ bone / μ soft tissue at the effective energies, {energies}": at_effective_energy,
        "μ bone / μ soft tissue, whole beam, thin object": ratio(0.0),
        f"μ bone / μ soft tissue, whole beam behind {WATER_CM:g} cm of water": ratio(WATER_CM),
        f"μ bone − μ soft tissue (1/cm), whole beam behind {WATER_CM:g} cm of water": difference,
    }
