"""Tables of matches: what their columns hold, and how they are read.

One row per match: subject, z_mm (the slice's height), transformation, method, x1_px, y1_px, x2_px,
y2_px, error_mm. A pair without a match has one row of missing numbers.
"""

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pyarrow as pa

from raymark import layout
from raymark.core.stored_tables import store_table, stored_table
from raymark.correspondence.config import KINDS

if TYPE_CHECKING:
    from raymark.correspondence.slices import Stack

METHODS = {
    "network": "Siamese network",
    "sift_inverse": "SIFT, inverse consistency",
    "sift_ratio": "SIFT, ratio test",
}
FOLLOW_UP = "follow-up"  # a transformation that no formula knows
TRANSFORMATIONS = (*KINDS, FOLLOW_UP)  # in the paper's order
FAR_MM = 64  # beyond it the paper speaks of matches of far apart regions
MATCHERS = ("network", "sift")
FILES = [
    *(layout.CORRESPONDENCE_MATCHES.format(matcher=matcher) for matcher in MATCHERS),
    layout.CORRESPONDENCE_FOLLOW_UP,
]
AGAIN = "Delete it and run the workflow again"
IMAGE = pa.list_(pa.list_(pa.uint8()))
SLICES = pa.schema({"subject": pa.string(), "z_mm": pa.float64(), "image1": IMAGE, "image2": IMAGE})


def read_matches(path: str, *measures: str) -> pd.DataFrame:
    """Read a table of matches, with further `measures`; InputError where it is none."""
    numbers = ("z_mm", "x1_px", "y1_px", "x2_px", "y2_px", "error_mm", *measures)
    words = ("subject", "transformation", "method")
    return stored_table(path, "a table of matches", AGAIN, words, numbers)


def read_all_matches() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the matches of all test pairs, by all methods, and those with follow-ups: `FILES`."""
    *paths, follow_up = FILES
    matches = pd.concat([read_matches(path) for path in paths], ignore_index=True)
    return matches, read_matches(follow_up, "unmatched_mm")


def store_slices(first: "Stack", second: "Stack", path: str) -> None:
    """Write the images of slices of a CT and of its follow-up, which lie at the same heights."""
    columns = {"subject": [first.subject] * len(first), "z_mm": first.z_mm}
    images = {"image1": first.image_zyx.tolist(), "image2": second.image_zyx.tolist()}
    store_table(pa.table(columns | images, SLICES), path)


def read_slices(path: str) -> pd.DataFrame:
    """Read what `store_slices` wrote, one row per slice; images are uint8 (y, x)."""
    table = stored_table(path, "a table of slices", AGAIN, schema=SLICES)
    return table.assign(
        image1=table["image1"].map(np.stack),
        image2=table["image2"].map(np.stack),
    )
