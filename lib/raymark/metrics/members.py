"""Chains of members that look alike, such as vertebrae: is a member found where it is, or on a neighbour?"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from raymark.metrics.points import PREDICTED, TRUE

KEYS = ["seed", "view"]


def members_by_view(errors: pd.DataFrame, chain: Sequence[Sequence[str]]) -> pd.DataFrame:
    """Return a row per seed, view and member that the image shows, and which member it was taken for.

    `errors` are rows of `raymark.evaluation.errors`; `chain` lists each member's landmarks, in order. A
    member is at the mean of its visible landmarks, and found at the mean of their points; `off` is how many
    members away the nearest true one is, 0 where it is the member itself, NaN where no point is given.
    """
    of = {name: number for number, names in enumerate(chain) for name in names}
    seen = errors[errors["visible"] & errors["landmark"].isin(of)]
    seen = seen.assign(member=seen["landmark"].map(of))
    own = seen.groupby([*KEYS, "member"], sort=True)
    centres = own[[*PREDICTED, *TRUE]].mean().reset_index()
    rows = [_off(image) for _, image in centres.groupby(KEYS, sort=True)]
    columns = [*KEYS, "member", "off"]
    return pd.concat(rows, ignore_index=True) if rows else pd.DataFrame(columns=columns)


def _off(image: pd.DataFrame) -> pd.DataFrame:
    """Compare the members of one image."""
    found, true = image[[*PREDICTED]].to_numpy(), image[[*TRUE]].to_numpy()
    away = np.linalg.norm(found[:, None] - true[None], axis=-1)
    members = image["member"].to_numpy()
    nearest = members[np.nan_to_num(away, nan=np.inf).argmin(axis=1)]
    off = np.where(np.isfinite(away).any(axis=1), nearest - members, np.nan)
    return image[[*KEYS, "member"]].assign(off=off)
