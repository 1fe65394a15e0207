"""The eight clinical measures of a lateral cephalogram and the classes they put a patient into.

Definitions, normal ranges and classes of the ISBI 2015 challenge (Wang et al., Medical Image
Analysis 31, 2016, section 2); signs as in the values the challenge ships. Its FMA is the angle
between S–N and Go–Gn, not one with the Frankfort plane.
"""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from raymark.metrics.points import PREDICTED, TRUE, points_by_view
from raymark.metrics.ratio import Ratio

LANDMARKS = (
    *("sella", "nasion", "orbitale", "porion", "subspinale", "supramentale", "pogonion"),
    *("menton", "gnathion", "gonion", "lower_incisor", "upper_incisor", "upper_lip"),
    *("lower_lip", "subnasale", "soft_tissue_pogonion", "posterior_nasal_spine"),
    *("anterior_nasal_spine", "articulare"),
)
# name: (lower and upper limit of class 1, class below, class above)
MEASURES = {
    "anb_deg": (3.2, 5.7, 3, 2),
    "snb_deg": (74.6, 78.7, 2, 3),
    "sna_deg": (79.4, 83.2, 3, 2),
    "odi_deg": (68.4, 80.5, 3, 2),
    "apdi_deg": (77.6, 85.2, 2, 3),
    "fhi": (0.65, 0.75, 3, 2),
    "fma_deg": (26.8, 31.4, 3, 2),
    "mw_mm": (2.0, 4.5, 3, 4),
}
UNKNOWN = 0


def measures(points_mm: np.ndarray) -> np.ndarray:
    """Return the eight measures (..., 8), in the order of `MEASURES`, of points (..., 19, 2).

    Points are (x, y) in mm, y down, in the order of `LANDMARKS`, of a patient who looks to the
    image's right. What depends on a point that is not finite is NaN.
    """
    points = np.moveaxis(np.asarray(points_mm, dtype=float), -2, 0)
    p = dict(zip(LANDMARKS, points, strict=True))
    frankfort = p["orbitale"] - p["porion"]
    palatal = p["anterior_nasal_spine"] - p["posterior_nasal_spine"]
    mandibular = p["menton"] - p["gonion"]
    facial = p["pogonion"] - p["nasion"]
    a_to_b = p["supramentale"] - p["subspinale"]
    to_sella = p["sella"] - p["nasion"]

    sna = _angle(to_sella, p["subspinale"] - p["nasion"])
    snb = _angle(to_sella, p["supramentale"] - p["nasion"])
    palate_down = _turn(frankfort, palatal)
    odi = _angle(a_to_b, mandibular) + palate_down
    apdi = _angle(-frankfort, facial) - _turn(facial, a_to_b) + palate_down
    fhi = _length(p["sella"] - p["gonion"]) / _length(p["nasion"] - p["menton"])
    fma = _angle(-to_sella, p["gnathion"] - p["gonion"])
    overjet = p["upper_incisor"] - p["lower_incisor"]
    mw = np.where(overjet[..., 0] < 0, -1.0, 1.0) * _length(overjet)
    return np.stack([sna - snb, snb, sna, odi, apdi, fhi, fma, mw], axis=-1)


def classes(values: np.ndarray) -> np.ndarray:
    """Return the classes (..., 8), integers from 1, of measures (..., 8); `UNKNOWN` for NaN.

    Class 1 is normal. Of MW, class 2 is an overjet of exactly 0 (edge to edge), and what lies
    between 0 and the normal range belongs to class 3, as in the challenge's files.
    """
    values = np.asarray(values, dtype=float)
    low, high, below, above = (np.array(column) for column in zip(*MEASURES.values(), strict=True))
    result = np.where(values < low, below, np.where(values > high, above, 1))
    edge_to_edge = (np.array(list(MEASURES)) == "mw_mm") & (values == 0)
    return np.where(np.isnan(values), UNKNOWN, np.where(edge_to_edge, 2, result))


def success_classification_rate(predicted: np.ndarray, truth: np.ndarray) -> Ratio:
    """SCR: the share of images (n,) whose class of one measure is right.

    The deep appearance-context paper's own figures in its Table II are such shares of 150 images.
    """
    return Ratio((predicted == truth).astype(float), np.ones(len(truth)))


def mean_class_success_rate(predicted: np.ndarray, truth: np.ndarray) -> Ratio:
    """The mean over the true classes of the share of their images that is classified right.

    That is the mean diagonal of the confusion matrix in per cent of its rows, the challenge's own
    figure: the other methods' cells in Table II of the deep appearance-context paper are no
    multiple of one image, and are to be compared with this one.
    """
    _, group_n = np.unique(truth, return_inverse=True)
    right = (predicted == truth).astype(float)
    return Ratio(right, np.ones(len(truth)), group_n=group_n)


def classes_by_view(
    errors: pd.DataFrame, mm_per_px: Mapping[str, np.ndarray]
) -> tuple[pd.Index, np.ndarray, np.ndarray]:
    """Return the views (sorted) of one method's table of errors, their classes and the true ones.

    `mm_per_px` has each view's matrix (2, 2) from px to the X-ray's own mm
    (`raymark.datasets.imported.mm_per_px`). Classes are (view, 8), in the order of `MEASURES`.
    """
    views, found_px = points_by_view(errors, LANDMARKS, PREDICTED)
    _, true_px = points_by_view(errors, LANDMARKS, TRUE)
    to_mm = np.stack([mm_per_px[view] for view in views])
    found, true = (
        classes(measures(np.einsum("vij,vlj->vli", to_mm, points_px)))
        for points_px in (found_px, true_px)
    )
    return views, found, true


def _length(vector: np.ndarray) -> np.ndarray:
    return np.linalg.norm(vector, axis=-1)


def _turn(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """Return the angle in degrees, −180 to 180, that turns u onto v; positive from x towards y."""
    cross = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    return np.rad2deg(np.arctan2(cross, (u * v).sum(axis=-1)))


def _angle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.abs(_turn(u, v))
