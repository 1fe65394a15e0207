"""A trained model's landmarks on rendered or imported views, as one table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from raymark.files import atomic
from raymark.loading import Samples, batches
from raymark.methods.base import LandmarkNetwork, standardised
from raymark.models import Model, load_model

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
    model_path: str | Path, samples: Samples, out_path: str | Path, dataset: str, view_set: str
) -> None:
    """Write the table of predictions of one view set: a row per view and landmark.

    Rows are sorted by view, then in the model's order of landmarks; positions are image px. The
    network's own output does not depend on how views are batched beyond rounding, and batches are
    always cut alike, so equal input gives equal bytes.
    """
    network, model = load_model(model_path)
    points, confidence = located(network, samples)
    table = _table(model, samples, points, confidence).assign(dataset=dataset, view_set=view_set)
    table = table.sort_values("view", kind="stable")
    with atomic(out_path) as partial:
        pq.write_table(
            pa.Table.from_pandas(table, SCHEMA, preserve_index=False).replace_schema_metadata(),
            partial,
        )


@torch.inference_mode()
def located(network: LandmarkNetwork, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Return the points (view, landmark, xy) in px and their confidence (view, landmark)."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device)
    everything = np.arange(len(samples))
    groups = np.split(everything, range(BATCH, len(everything), BATCH))
    points, confidence = [], []
    for batch in batches(samples, groups, device):
        found = network.decode(network(standardised(batch.image)))
        points.append(found[0].float().cpu().numpy())
        confidence.append(found[1].float().cpu().numpy())
    return np.concatenate(points), np.concatenate(confidence)


def _table(
    model: Model, samples: Samples, points: np.ndarray, confidence: np.ndarray
) -> pd.DataFrame:
    views, landmarks = confidence.shape
    return pd.DataFrame(
        {
            "method": model.method,
            "seed": model.seed,
            "view": np.repeat(samples.views, landmarks),
            "subject": np.repeat(samples.subjects, landmarks),
            "landmark": np.tile(model.landmarks, views),
            "instance": 0,
            "x_px": points[..., 0].ravel(),
            "y_px": points[..., 1].ravel(),
            "confidence": confidence.ravel(),
            "detected": (confidence >= model.detection_threshold).ravel(),
        }
    )
