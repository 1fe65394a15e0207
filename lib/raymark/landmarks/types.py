"""Landmarks that look alike: which share a channel of a network, and which instance is which of them.

A landmark type (key `types` of a landmark file) names landmarks that one looks like the other, such
as the spinous processes. A network that predicts types has one channel for each; what it finds
there are instances, which have no names until they are compared with the truth.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

Types = Mapping[str, Sequence[str]]
XY = ["x_px", "y_px"]
XY_TRUE = ["x_true_px", "y_true_px"]


def types_among(names: Sequence[str], types: Types) -> dict[str, list[str]]:
    """Return the types of which any landmark is among `names`, with those that are."""
    shown = {kind: [name for name in names if name in members] for kind, members in types.items()}
    return {kind: members for kind, members in shown.items() if members}


def channels_of(names: Sequence[str], types: Types) -> dict[str, list[str]]:
    """Return the channels for landmarks `names`, in order: each name's own, or that of its type."""
    kind_of = {name: kind for kind, members in types.items() for name in members}
    channels: dict[str, list[str]] = {}
    for name in names:
        channels.setdefault(kind_of.get(name, name), []).append(name)
    return channels


def chain_of(names: Sequence[str], types: Types) -> list[list[int | None]]:
    """Return the members of a chain of repeated parts: the numbers in `names` of each one's landmarks.

    The n-th landmarks of all types belong to member n; types of different length make no chain. None where
    a landmark is not among `names`; members without any are left out.
    """
    number = {name: index for index, name in enumerate(names)}
    shown = [members for members in types.values() if any(name in number for name in members)]
    if len({len(members) for members in shown}) > 1:
        return []
    chain = [[number.get(name) for name in member] for member in zip(*shown, strict=True)]
    return [member for member in chain if any(n is not None for n in member)]


def assigned(found_px: np.ndarray, true_px: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pair found points (f, 2) with true ones (t, 2) so that their distances add up to the least.

    Returns the numbers of the paired found points and of their true ones, each (min(f, t),).
    """
    from scipy.optimize import linear_sum_assignment  # a third of a second, for few of the steps

    away_px = np.linalg.norm(found_px[:, None] - true_px[None], axis=-1)
    return linear_sum_assignment(away_px)


def named_instances(
    predictions: pd.DataFrame, truth: pd.DataFrame, types: Types
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Give predicted instances of types the names of the true landmarks they are paired with.

    In each view the detected instances of a type and its visible landmarks are paired (`assigned`).
    A paired instance becomes the landmark's prediction; a landmark without one has a prediction
    without a point, undetected. An instance that is left keeps the type's name, and in the returned
    truth that name is a landmark that is not there: a false detection, or no detection at all.
    `predictions` and `truth` have the columns of `raymark.evaluation.errors`; what is not of a type is
    returned as it is.
    """
    types = types_among(truth["landmark"].unique(), types)
    of_types = predictions["landmark"].isin(types) & predictions["view"].isin(truth["view"])
    if not of_types.any():
        return predictions, truth
    by_view = dict(list(truth[truth["visible"]].groupby("view", sort=False)))
    nothing = truth.iloc[:0]
    named, left = [predictions[~of_types]], []
    for (view, kind), instances in predictions[of_types].groupby(["view", "landmark"], sort=True):
        seen = by_view.get(view, nothing)
        seen = seen[seen["landmark"].isin(types[kind])]
        paired, rest = _paired(instances, seen)
        named += [paired, _missed(instances, set(types[kind]) - set(paired["landmark"])), rest]
        if len(rest):
            left.append({"view": view, "landmark": kind, "visible": False})
    absent = pd.DataFrame(left, columns=["view", "landmark", "visible"]).astype({"visible": bool})
    absent = absent.assign(**dict.fromkeys(XY_TRUE, np.nan))
    return pd.concat(named, ignore_index=True), pd.concat([truth, absent], ignore_index=True)


def _paired(instances: pd.DataFrame, seen: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the instances of one view that are paired, under their landmarks' names, and the rest."""
    detected = instances[instances["detected"]]
    found, true = assigned(detected[XY].to_numpy(float), seen[XY_TRUE].to_numpy(float))
    names = seen["landmark"].to_numpy()[true]
    paired = detected.iloc[found].assign(landmark=names, instance=0)
    return paired, instances.drop(index=detected.index[found])


def _missed(instances: pd.DataFrame, names: set[str]) -> pd.DataFrame:
    """Return a row without a point for each landmark that no instance is paired with."""
    empty = {"instance": 0, "x_px": np.nan, "y_px": np.nan, "confidence": 0.0, "detected": False}
    first = instances.drop_duplicates("view")
    return first.merge(pd.DataFrame({"name": sorted(names)}), how="cross").assign(
        landmark=lambda rows: rows["name"], **empty
    )[list(instances.columns)]
