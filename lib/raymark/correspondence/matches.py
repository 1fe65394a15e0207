"""Tables of matches: what they are of, and how they are read."""

import pandas as pd

from raymark import layout
from raymark.core.stored_tables import stored_table
from raymark.correspondence.pairs import KINDS

FOLLOW_UP = "follow-up"
TRANSFORMATIONS = (*KINDS, FOLLOW_UP)  # in the paper's order
METHODS = {
    "network": "Siamese network",
    "sift_inverse": "SIFT, inverse consistency",
    "sift_ratio": "SIFT, ratio test",
}
FAR_MM = 64  # beyond which the paper speaks of matches of far apart regions
MATCHERS = ("network", "sift")
FILES = [
    *(layout.CORRESPONDENCE_MATCHES.format(matcher=matcher) for matcher in MATCHERS),
    layout.CORRESPONDENCE_FOLLOW_UP,
]


def read_matches(path: str, *measures: str) -> pd.DataFrame:
    """Read a table of matches, with further `measures`; InputError where it is none."""
    numbers = ("z_mm", "x1_px", "y1_px", "x2_px", "y2_px", "error_mm", *measures)
    words, again = ("subject", "transformation", "method"), "Delete it and run the workflow again"
    return stored_table(path, "a table of matches", again, words, numbers)


def read_all_matches() -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the matches of all test pairs, by all methods, and those with follow-ups: `FILES`."""
    *paths, follow_up = FILES
    matches = pd.concat([read_matches(path) for path in paths], ignore_index=True)
    return matches, read_matches(follow_up, "unmatched_mm")
