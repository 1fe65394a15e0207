import numpy as np
import pandas as pd

from raymark.figures.training_curves import training_curves


def losses(epochs=5, diverged=False):
    epoch = np.arange(1, epochs + 1)
    table = pd.DataFrame({"epoch": epoch, "train_loss": 1 / epoch, "validation_loss": 1.2 / epoch})
    table = table.assign(validation_rmse_px=9.0 / epoch, diverged=False)
    if diverged:
        table.loc[epochs - 1, ["train_loss", "validation_loss", "validation_rmse_px"]] = np.nan
        table.loc[epochs - 1, "diverged"] = True
    return table


def test_the_best_epoch_is_ringed_and_divergence_is_marked(pages):
    training_curves({"A": losses(), "B": losses(3, diverged=True), "C": losses(1)}, "stem")
    for axes, best in zip(pages[0].axes[:3], (5, 2, 1), strict=True):
        rings = [
            line
            for line in axes.lines
            if line.get_marker() == "o" and line.get_linestyle() == "None"
        ]
        assert [list(ring.get_xdata()) for ring in rings] == [[best]]
    words = [text.get_text() for axes in pages[0].axes for text in axes.texts]
    assert words == ["diverged "]
    (legend,) = pages[0].legends
    assert legend.get_texts()[-1].get_text() == "divergence"
