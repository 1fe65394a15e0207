"""A trained model's landmarks on rendered or imported views, as one table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import torch
from torch import Tensor

from raymark.core.stored_tables import store_table
from raymark.geometry import decoding
from raymark.geometry.belief_maps import cell_to_px
from raymark.methods.base import LandmarkNetwork, standardised
from raymark.training.batches import NamedSamples, Samples, batches
from raymark.training.model_files import Model, load_model

BATCH = 16
SCHEMA = pa.schema(
    [
        ("dataset", pa.string()),
        ("method", pa.string()),
        ("seed", pa.int64()),
        ("view_set", pa.string()),
        ("view", pa.string()),
        ("subject", pa.string()),
        ("landmark", pa.string()),
        ("instance", pa.int64()),
        ("x_px", pa.float32()),
        ("y_px", pa.float32()),
        ("confidence", pa.float32()),
        ("detected", pa.bool_()),
    ]
)


def predict(
    model_path: str | Path,
    samples: NamedSamples,
    out_path: str | Path,
    dataset: str,
    view_set: str,
    detection_threshold: float | None = None,
) -> None:
    """Write the table of predictions of one view set: a row per view and landmark.

    From `detection_threshold` on a landmark is detected; None: from that in the model's file.

    A landmark type has a row per instance, `instance` counting them from the surest. Rows are sorted
    by view, then in the model's order of landmarks; positions are image px. The
    network's own output does not depend on how views are batched beyond rounding, and batches are
    always cut alike, so equal input gives equal bytes.
    """
    network, model = load_model(model_path)
    if detection_threshold is not None:
        model = model.model_copy(update={"detection_threshold": detection_threshold})
    points, confidence = located(network, model, samples)
    table = _table(model, samples, points, confidence).assign(dataset=dataset, view_set=view_set)
    table = table.sort_values("view", kind="stable")
    store_table(pa.Table.from_pandas(table, SCHEMA, preserve_index=False), out_path)


@torch.inference_mode()
def located(
    network: LandmarkNetwork, model: Model, samples: Samples
) -> tuple[np.ndarray, np.ndarray]:
    """Return what `found` finds on all views: (view, landmark, instance, xy) in px, and confidence."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device)
    everything = np.arange(len(samples))
    groups = np.split(everything, range(BATCH, len(everything), BATCH))
    points, confidence = [], []
    for batch in batches(samples, groups, device):
        of_batch = found(network, model, batch.image)
        points.append(of_batch[0].float().cpu().numpy())
        confidence.append(of_batch[1].float().cpu().numpy())
    return np.concatenate(points), np.concatenate(confidence)


def found(network: LandmarkNetwork, model: Model, image: Tensor) -> tuple[Tensor, Tensor]:
    """Return points (b, landmark, instance, 2) in px on images (b, 1, y, x), and their confidence.

    Confidences are from 0 to 1, as the belief maps are that networks are trained towards; what a network
    puts out beyond that is cut off.

    The first instance is what the method decodes, detected or not. The others, of landmark types
    alone, are the next peaks of at least the detection threshold; NaN where there is none.
    """
    output = network(standardised(image))
    points, confidence = (part[:, :, None] for part in network.decode(output))
    confidence = confidence.clamp(0, 1)
    if not model.types:
        return points, confidence
    maps, by_type = network.maps(output), model.by_type
    # Nothing else is trained on types.
    assert maps is not None
    assert by_type is not None
    spacing = by_type.distance_px / network.stride
    cells, values = decoding.peaks(maps, by_type.at_most, spacing, model.detection_threshold)
    others = cell_to_px(decoding.refined_log_quadratic(maps[:, :, None], cells), network.stride)
    single = torch.tensor([name not in model.types for name in model.landmarks])
    others[:, single] = torch.nan
    points = torch.cat([points, others[:, :, 1:]], dim=2)
    return points, torch.cat([confidence, values[:, :, 1:].clamp(0, 1)], dim=2)


def _table(
    model: Model, samples: NamedSamples, points: np.ndarray, confidence: np.ndarray
) -> pd.DataFrame:
    views, landmarks, instances = confidence.shape
    table = pd.DataFrame(
        {
            "method": model.method,
            "seed": model.seed,
            "view": np.repeat(samples.views, landmarks * instances),
            "subject": np.repeat(samples.subjects, landmarks * instances),
            "landmark": np.tile(np.repeat(model.landmarks, instances), views),
            "instance": np.tile(np.arange(instances), views * landmarks),
            "x_px": points[..., 0].ravel(),
            "y_px": points[..., 1].ravel(),
            "confidence": confidence.ravel(),
            "detected": (confidence >= model.detection_threshold).ravel(),
        }
    )
    return table[(table["instance"] == 0) | table["x_px"].notna()]
