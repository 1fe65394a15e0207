"""How errors are distributed, method by method."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from raymark.core.drawing import COLOURS, DOUBLE_IN, figure, line_of

WHISKERS = (5, 95)


def error_distribution(errors_px: Mapping[str, np.ndarray], stem: str | Path) -> None:
    """Draw the cumulative distribution of each method's errors and a box for each.

    `errors_px` has the radial errors (n,) of visible landmarks by the method's title. The axis is
    logarithmic because methods differ by factors.
    """
    known = {title: np.maximum(e[np.isfinite(e)], 0.1) for title, e in errors_px.items()}
    known = {title: e for title, e in known.items() if e.size}
    height = max(2.6, 1.1 + 0.32 * len(known))
    everything = np.concatenate(list(known.values()))
    limits = np.quantile(everything, 0.005) / 1.2, np.quantile(everything, 0.999) * 1.1
    with figure(DOUBLE_IN, height, stem) as page:
        curves, boxes = page.subplots(1, 2, width_ratios=[1, 1])
        for index, (title, values) in enumerate(known.items()):
            share = 100 * np.arange(1, len(values) + 1) / len(values)
            curves.step(np.sort(values), share, where="post", label=title, **line_of(index))
            box = boxes.boxplot(
                values, positions=[index], orientation="horizontal", widths=0.55, whis=WHISKERS,
                showfliers=False, patch_artist=True, medianprops={"color": "black", "lw": 1.4},
            )  # fmt: skip
            box["boxes"][0].set(facecolor=COLOURS[index % len(COLOURS)], alpha=0.45)
        curves.set(xlabel="error (px)", ylabel="landmarks with at most this error (%)")
        curves.set(xscale="log", xlim=limits, ylim=(0, 100))
        curves.grid(True)
        boxes.set(xlabel="error (px): median, quartiles, 5 to 95 %", xscale="log", xlim=limits)
        boxes.set_yticks(range(len(known)), list(known))
        boxes.set_ylim(len(known) - 0.4, -0.6)
        boxes.grid(True, axis="x")
        for axes in (curves, boxes):
            axes.set_axisbelow(True)
            axes.xaxis.set_major_formatter("{x:g}")
        page.legend(loc="outside lower center", ncols=3, handlelength=3.2)
