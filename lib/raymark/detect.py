"""One trained model on one X-ray that the workflow never saw."""

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from skimage.transform import resize

from raymark.beliefs import cell_to_px
from raymark.files import atomic
from raymark.images import Xray, read_xray
from raymark.methods.base import standardised
from raymark.models import Model, load_model


def detect(model_path: str, image_path: str, out_path: str, pixel_mm: float | None = None) -> None:
    """Write the landmarks found in an image as CSV, and a picture of them beside it (.png).

    Columns: landmark, x_px, y_px in the image's own pixels, confidence, detected. `pixel_mm`
    overrides the pitch in the file.
    """
    xray = read_xray(image_path)
    if pixel_mm is not None:
        xray = Xray(xray.image_yx, pixel_mm)
    network, model = load_model(model_path)
    table = find_landmarks(network, model, xray)
    with atomic(out_path) as partial:
        table.to_csv(partial, index=False, float_format="%.3f")
    _draw(xray, table, Path(out_path).with_suffix(".png"), model)


def find_landmarks(network: torch.nn.Module, model: Model, xray: Xray) -> pd.DataFrame:
    """Return the landmarks of one X-ray, brought to the pitch the model was trained at."""
    factor = _scale(model, xray)
    shape = tuple(max(round(size * factor), 16) for size in xray.image_yx.shape)
    image = resize(xray.image_yx, shape, order=1, anti_aliasing=factor < 1, preserve_range=True)
    batch = standardised(torch.from_numpy(image.astype(np.float32))[None, None])
    with torch.inference_mode():
        points, confidence = network.decode(network(batch))
    # resize() maps borders onto borders: cells of 1/factor px each, as belief cells do.
    x_px, y_px = (
        cell_to_px(
            points[0, :, axis].double().numpy(), xray.image_yx.shape[1 - axis] / shape[1 - axis]
        )
        for axis in (0, 1)
    )
    confidence = confidence[0].double().numpy()
    return pd.DataFrame(
        {
            "landmark": model.landmarks,
            "x_px": x_px,
            "y_px": y_px,
            "confidence": confidence,
            "detected": confidence >= model.detection_threshold,
        }
    )


def _scale(model: Model, xray: Xray) -> float:
    """Image px to model px: by the pitch where both are known, else so that the heights agree."""
    if model.pixel_mm and xray.pixel_mm:
        return xray.pixel_mm / model.pixel_mm
    return model.image_height_px / xray.image_yx.shape[0]


def _draw(xray: Xray, table: pd.DataFrame, path: Path, model: Model) -> None:
    from matplotlib.figure import Figure

    low, high = np.percentile(xray.image_yx, [1, 99])
    height, width = xray.image_yx.shape
    figure = Figure(figsize=(6, 6 * height / width), dpi=150)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(xray.image_yx, cmap="gray", vmin=low, vmax=high)
    found = table[table.detected]
    axes.scatter(found.x_px, found.y_px, s=14, color="#E69F00", edgecolor="black", linewidth=0.5)
    for row in found.itertuples():
        axes.annotate(
            row.landmark.replace("_", " "),
            (row.x_px, row.y_px),
            xytext=(4, 3),
            textcoords="offset points",
            color="white",
            fontsize=5,
        )
    axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
    axes.axis("off")
    with atomic(path) as partial:
        figure.savefig(partial, metadata={"Software": None})
