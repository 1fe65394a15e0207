"""What columns and axes are called: one meaning, one name, in every table and figure.

A length in mm on an image says in which plane it is measured, in its key and in its heading:

* *at detector*: px times the pixel pitch, not corrected for magnification;
* *at isocentre*: that divided by the view's magnification, about the distance in the patient. Of
  imported X-rays, whose geometry is not known, it is in the image's own mm.

px are the data set's own pixels. *px of the paper* are those that a paper states; ours in them are scaled
to images as wide as the paper's.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from raymark.tables.base import Column

PAPER_PX = "px of the paper"
PX_NOTE = "px are the data set's own pixels; compare them only at an equal pixel pitch."
DETECTOR_NOTE = "At detector: px times the pixel pitch, not corrected for magnification."
ISOCENTRE_NOTE = (
    "At isocentre: px times the pixel pitch, over the view's magnification; of imported images in "
    "each image's own mm."
)


def _text(key: str, title: str, meaning: str) -> Column:
    return Column(key, title, meaning=meaning)


def _count(key: str, title: str, meaning: str) -> Column:
    return Column(key, title, digits=0, meaning=meaning)


def _length(key: str, title: str, unit: str, digits: int, best: str | None, meaning: str) -> Column:
    return Column(key, title, unit, digits, best=best, diverged="diverged", meaning=meaning)


def _share(key: str, title: str, digits: int, best: str | None, meaning: str) -> Column:
    return Column(key, title, "%", digits, 100, best=best, diverged="diverged", meaning=meaning)


_COUNTED = "the landmarks that the row counts, detected or not"
_FOUND = "found landmarks: visible and detected"
_ALL = (
    # which row
    _text("dataset_title", "Data set", "whose images"),
    _text("view_set_title", "View set", "which of its views"),
    _text("evaluated_on", "Evaluated on", "unseen patients, or new views of training patients"),
    _text("method_title", "Method", "which method"),
    _text("landmark_title", "Landmark", "which landmark"),
    _text("source", "Published in", "where the published values stand, and of which patients"),
    # on how many a row stands
    _text("seeds_text", "Seeds", "trainings, pooled; those that diverged are left out"),
    _count("patients", "Patients", "patients shown"),
    _count("subjects", "Subjects", "CTs and deformed copies of them"),
    _count("views", "Views", "views that the row is of"),
    _count("poses", "Poses asked for", "views of all seeds"),
    _count("views_showing", "Views showing it", "views on which the landmark, or one of its type, lies"),
    _count("visible_landmarks", "Visible landmarks", "on the images, in all views and seeds"),
    _count("found_landmarks", "Found landmarks", "visible and detected, in all views and seeds"),
    _count("paired_landmarks", "Paired landmarks", "visible, with a point of method and baseline"),
    _count("all_landmarks", "All landmarks", "in all views and seeds, also those that are cut off"),
    _text("ci_over", "Interval over", "what is resampled whole for the interval"),
    Column("pixel_mm", "Pixel", "mm", 3, meaning="pitch of the detector's or the image's pixels"),
    # how far off, one landmark and many
    _length("mre_px", "MRE", "px", 1, "min", f"mean error of {_COUNTED}"),
    _length("mre_detector_mm", "MRE at detector", "mm", 1, "min", f"mean error of {_COUNTED}"),
    _length("mre_isocentre_mm", "MRE at isocentre", "mm", 1, "min", f"mean error of {_COUNTED}"),
    _length("mre_paper_px", "MRE", PAPER_PX, 2, "min", f"mean error of {_COUNTED}"),
    _length("sd_px", "sd", "px", 1, None, "population standard deviation of the errors of the MRE"),
    _length("sd_detector_mm", "sd at detector", "mm", 1, None, "the same, in mm of that plane"),
    _length("median_px", "Median", "px", 1, "min", f"median error of {_COUNTED}"),
    _length("mre_found_px", "MRE of found", "px", 1, "min", f"mean error of {_FOUND}"),
    _length("mre_found_detector_mm", "MRE of found at detector", "mm", 1, "min",
            f"mean error of {_FOUND}"),
    _length("mre_found_paper_px", "MRE of found", PAPER_PX, 2, None, f"mean error of {_FOUND}"),
    _length("rmse_px", "RMSE", "px", 2, "min", f"root of the mean squared error of {_COUNTED}"),
    _length("difference_isocentre_mm", "Minus baseline at isocentre", "mm", 2, None,
            "mean difference of the errors of the paired landmarks"),
    # which share is right
    _share("sdr_{t}_detector_mm", "SDR {t} mm at detector", 1, "max",
           f"share of {_COUNTED}, with an error ≤ t"),
    _share("sdr_{t}_isocentre_mm", "SDR {t} mm at isocentre", 2, "max",
           f"share of {_COUNTED}, with an error ≤ t"),
    _share("pck_{t}_px", "PCK {t} px", 1, "max",
           "share of visible landmarks found with an error ≤ t"),
    _share("pck_{t}_paper_px", "PCK {t} px of the paper", 1, "max",
           "share of visible landmarks found with an error ≤ t"),
    _share("pck_image_{t}_paper_px", "PCK by image, {t} px of the paper", 1, "max",
           "share of images showing a landmark of the type that have one found with an error ≤ t"),
    _share("accuracy_px", "Accuracy {t} px", 1, "max",
           "share of a view's detections with an error < t, mean over views"),
    _share("accuracy_detector_mm", "Accuracy {t} mm at detector", 1, "max",
           "share of a view's detections with an error < t, mean over views"),
    _share("detection_rate", "Detected", 1, None, "share of visible landmarks that are detected"),
    _share("paired_detection_rate", "Detected of paired", 1, None,
           "share of paired landmarks that are detected"),
    # tests
    Column("p", "p", digits=4, meaning="two-sided paired permutation test"),
    Column("p_holm", "p, Holm", digits=4, meaning="p corrected for all comparisons of the table"),
    # set-up errors and poses
    _length("setup_error_isocentre_mm", "Set-up error at isocentre", "mm", 2, "min",
            "distance of the estimated from the true displacement of the patient"),
    _share("within_{t}_isocentre_mm", "Set-up error ≤ {t} mm at isocentre", 1, "max",
           "share of views"),
    _length("rotation_deg", "Rotation", "°", 2, "min", "angle between estimated and true pose"),
    _length("translation_mm", "Translation", "mm", 1, "min",
            "displacement of the isocentre in the camera's frame, depth included"),
    _length("reprojection_px", "Reprojection", "px", 2, "min",
            "mean distance of the visible landmarks projected at both poses"),
    _length("mtre_mm", "mTRE", "mm", 1, "min",
            "mean displacement of all landmarks in the camera's frame, depth included"),
    _share("captured", "mTRE below {t} mm", 1, "max", "share of views, or of starts"),
)  # fmt: skip
COLUMNS = {column.key: column for column in _ALL}


def column(key: str, t: float | None = None, /, **changed: Any) -> Column:
    """Return the column called `key`, for a threshold `t` where it has one.

    `changed` is what a table shows otherwise, such as an interval or more digits.
    """
    known = COLUMNS[key]
    names = {name: getattr(known, name) for name in ("key", "title")}
    if t is not None:
        names = {name: text.format(t=f"{t:g}") for name, text in names.items()}
    return replace(known, **names | changed)


def published_column(ours: Column, **changed: Any) -> Column:
    """Return the column of what a paper publishes beside `ours`; its px are the paper's own."""
    known: dict[str, Any] = {
        "key": f"published_{ours.key}",
        "title": f"Published {ours.title}",
        "unit": PAPER_PX if ours.unit == "px" else ours.unit,
        "spread": ours.spread and f"published_{ours.spread}",
        "diverged": None,
    }
    return replace(ours, interval=False, best=None, meaning="", **known | changed)


def notes_on_units(columns: Sequence[Column]) -> dict[str, bool]:
    """Return the notes on planes and pixels, each with whether `columns` need it."""
    return {
        DETECTOR_NOTE: any(c.key.endswith("_detector_mm") for c in columns),
        ISOCENTRE_NOTE: any(c.key.endswith("_isocentre_mm") for c in columns),
        PX_NOTE: any(c.unit == "px" for c in columns),
    }
