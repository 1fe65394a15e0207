"""Cephalometric measures: a drawn head of known angles, the classes' limits, the challenge's values."""

import csv
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raymark.metrics.cephalometry import (
    LANDMARKS,
    MEASURES,
    UNKNOWN,
    classes,
    classes_by_view,
    mean_class_success_rate,
    measures,
    success_classification_rate,
)

NAMES = list(MEASURES)


def along(start, angle_deg, length):
    """The point `length` from `start`, `angle_deg` below the image's right."""
    angle = np.deg2rad(angle_deg)
    return np.array(start) + length * np.array([np.cos(angle), np.sin(angle)])


def head(sna=82.0, snb=78.0, palate=3.0, mandible=30.0, overjet=3.0) -> np.ndarray:
    """A head (19, 2) in mm looking right: S and N on a level, Frankfort plane level."""
    p = {name: np.zeros(2) for name in LANDMARKS}
    p["sella"], p["nasion"] = np.array([50.0, 50.0]), np.array([120.0, 50.0])
    # Seen from N, S lies at 180 degrees; a point of angle a below it at 180 - a.
    p["subspinale"] = along(p["nasion"], 180 - sna, 55)
    p["supramentale"] = along(p["nasion"], 180 - snb, 95)
    p["pogonion"] = along(p["nasion"], 180 - snb, 110)
    p["porion"], p["orbitale"] = np.array([40.0, 70.0]), np.array([110.0, 70.0])
    p["posterior_nasal_spine"] = np.array([70.0, 95.0])
    p["anterior_nasal_spine"] = along(p["posterior_nasal_spine"], palate, 50)
    p["gonion"] = np.array([55.0, 120.0])
    p["menton"] = along(p["gonion"], mandible, 70)
    p["gnathion"] = along(p["gonion"], mandible, 75)
    p["lower_incisor"] = np.array([115.0, 110.0])
    p["upper_incisor"] = p["lower_incisor"] + [overjet, 0]
    return np.stack([p[name] for name in LANDMARKS])


def measured(**how) -> dict[str, float]:
    return dict(zip(NAMES, measures(head(**how)), strict=True))


def test_angles_at_nasion():
    found = measured(sna=83, snb=77)
    assert found["sna_deg"] == pytest.approx(83)
    assert found["snb_deg"] == pytest.approx(77)
    assert found["anb_deg"] == pytest.approx(6)
    assert measured(sna=75, snb=80)["anb_deg"] == pytest.approx(-5)


def test_angles_of_planes():
    found = measured(mandible=28, palate=0)
    assert found["fma_deg"] == pytest.approx(28)  # S-N is level
    # A palate that sinks forwards raises ODI and APDI by its slope.
    down = measured(mandible=28, palate=4)
    assert down["odi_deg"] - found["odi_deg"] == pytest.approx(4)
    assert down["apdi_deg"] - found["apdi_deg"] == pytest.approx(4)
    # A, B and Pog on one line from N: APDI is the facial angle, ODI that of the line and the jaw.
    straight = measured(sna=80, snb=80, mandible=28, palate=0)
    assert straight["apdi_deg"] == pytest.approx(80)
    assert straight["odi_deg"] == pytest.approx(100 - 28)


def test_apdi_falls_when_b_lies_behind_the_facial_line():
    points = head(sna=80, snb=80, palate=0)
    points[LANDMARKS.index("supramentale"), 0] -= 3
    assert measures(points)[NAMES.index("apdi_deg")] < 80


def test_heights_and_overjet():
    points = head()
    by_hand = np.hypot(50 - 55, 50 - 120) / np.linalg.norm(
        points[LANDMARKS.index("menton")] - [120, 50]
    )
    assert measured()["fhi"] == pytest.approx(by_hand)
    assert measured(overjet=3)["mw_mm"] == pytest.approx(3)
    assert measured(overjet=-2)["mw_mm"] == pytest.approx(-2)


@given(st.floats(0.2, 5), st.floats(-50, 50), st.floats(-50, 50))
def test_only_the_overjet_knows_the_scale(scale, x, y):
    expected = measures(head())
    expected[NAMES.index("mw_mm")] *= scale
    np.testing.assert_allclose(measures(head() * scale + [x, y]), expected, atol=1e-9)


def test_a_missing_point_leaves_unknown_what_needs_it():
    points = head()
    points[LANDMARKS.index("menton")] = np.nan
    found = dict(zip(NAMES, classes(measures(points)), strict=True))
    assert [name for name, kind in found.items() if kind == UNKNOWN] == ["odi_deg", "fhi"]


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("anb_deg", [3.1, 3.2, 5.7, 5.8], [3, 1, 1, 2]),
        ("snb_deg", [74.5, 74.6, 78.7, 78.8], [2, 1, 1, 3]),
        ("sna_deg", [79.3, 79.4, 83.2, 83.3], [3, 1, 1, 2]),
        ("odi_deg", [68.3, 68.4, 80.5, 80.6], [3, 1, 1, 2]),
        ("apdi_deg", [77.5, 77.6, 85.2, 85.3], [2, 1, 1, 3]),
        ("fhi", [0.64, 0.65, 0.75, 0.76], [3, 1, 1, 2]),
        ("fma_deg", [26.7, 26.8, 31.4, 31.5], [3, 1, 1, 2]),
        ("mw_mm", [-1, 0, 1.9, 2, 4.5, 4.6], [3, 2, 3, 1, 1, 4]),
    ],
)
def test_classes_at_their_limits(name, values, expected):
    table = np.zeros((len(values), len(NAMES)))
    table[:, NAMES.index(name)] = values
    assert classes(table)[:, NAMES.index(name)].tolist() == expected


def test_success_classification_rates_by_hand():
    truth = np.array([1, 1, 1, 1, 2, 2])
    predicted = np.array([1, 1, 1, 2, 2, 1])
    assert success_classification_rate(predicted, truth).value == pytest.approx(4 / 6)
    assert mean_class_success_rate(predicted, truth).value == pytest.approx((3 / 4 + 1 / 2) / 2)
    unknown = np.zeros(6, dtype=int)
    assert success_classification_rate(unknown, truth).value == 0


def test_a_table_of_errors_becomes_classes_by_view():
    """Each view's matrix takes its points back to mm: another pitch, a registration's affine."""
    normal, protruding = head(sna=81, snb=77, overjet=3), head(sna=88, snb=77, overjet=3)
    mm_per_px = {"b": np.array([[0.2, 0.0], [0.0, 0.2]]), "a": np.array([[0.1, 0.03], [0, 0.14]])}
    rows = []
    for view, truth in (("b", protruding), ("a", normal)):
        to_px = np.linalg.inv(mm_per_px[view]).T
        for number in np.argsort(LANDMARKS):  # the order of errors tables
            rows.append(
                (view, LANDMARKS[number], 0, *(normal @ to_px)[number], *(truth @ to_px)[number])
            )
    columns = ["view", "landmark", "instance", "x_px", "y_px", "x_true_px", "y_true_px"]
    views, found, true = classes_by_view(pd.DataFrame(rows, columns=columns), mm_per_px)
    assert views.tolist() == ["a", "b"]
    np.testing.assert_array_equal(true, classes(measures(np.stack([normal, protruding]))))
    np.testing.assert_array_equal(found, classes(measures(np.stack([normal, normal]))))
    wrong = {NAMES[index] for index in np.flatnonzero(found[1] != true[1])}
    assert {"anb_deg", "sna_deg"} <= wrong
    assert not wrong & {"snb_deg", "mw_mm", "fma_deg", "fhi"}


@pytest.mark.skipif(
    "RAYMARK_CEPHALOMETRIC" not in os.environ,
    reason="set RAYMARK_CEPHALOMETRIC to the folder of the ISBI 2015 challenge's annotations",
)
def test_the_challenge_s_own_values_and_classes():
    folder = Path(os.environ["RAYMARK_CEPHALOMETRIC"])

    def rows(name, skip):
        with open(folder / name, encoding="utf-8") as file:
            return [row[1:] for row in csv.reader(file)][skip:]

    points = np.array(rows("landmarks_mm_junior.csv", 0), dtype=float).reshape(-1, 19, 2)
    found = measures(points)
    official = np.array([row[:8] for row in rows("raw_values_junior.csv", 1)], dtype=float)
    assert np.abs(found - official).max() <= 1e-6
    kinds = [
        [int(cell.split()[0]) for cell in row[:8]] for row in rows("value_types_junior.csv", 1)
    ]
    np.testing.assert_array_equal(classes(found), kinds)
