"""How far each decoder is off on belief maps whose true peak is known, per output stride."""

import numpy as np
import pandas as pd

from raymark.tables.base import Column, Table, TableRecord

STRIDES = (1, 2, 4, 8)
SIGMA_PX = 8.0
SIZE_PX = 192
PLACES = 16  # along each axis, evenly over one cell


def table() -> Table:
    """Mean and worst distance (px) of each decoder from the peaks of Gaussians, per stride."""
    errors = {stride: _errors_px(stride) for stride in STRIDES}
    rows = [
        {"decoder": name}
        | {f"mean_{stride}_px": errors[stride][name].mean() for stride in STRIDES}
        | {f"worst_{stride}_px": errors[stride][name].max() for stride in STRIDES}
        for name in errors[1]
    ]
    columns = [Column("decoder", "Decoder")]
    for stride in STRIDES:
        columns += [
            Column(f"mean_{stride}_px", f"Stride {stride}, mean", "px", 3, best="min"),
            Column(f"worst_{stride}_px", f"Stride {stride}, worst", "px", 3, best="min"),
        ]
    notes = [
        f"Belief maps without noise, standard deviation {SIGMA_PX:g} px, at {PLACES} × {PLACES} places "
        "spread evenly over one cell in the middle of the image.",
        "Quarter offset: Newell 2016. Log-quadratic: exact for Gaussians (DARK). Local centroid: "
        "5 × 5 cells. Soft-argmax: expected position under the map scaled to sum 1.",
        "The soft-argmax weighs the whole map: a border or a second peak, absent here, draws it away.",
    ]
    return Table("Bias of the decoders", pd.DataFrame(rows), columns, "", notes)


def _errors_px(stride: int) -> dict[str, np.ndarray]:
    """Return each decoder's distances from the truth, (place)."""
    import torch  # whoever lists the tables does without

    from raymark.geometry.belief_maps import belief_maps, cell_to_px
    from raymark.geometry.decoding import DECODERS

    across = (torch.arange(PLACES, dtype=torch.float64) + 0.5) / PLACES * stride - 0.5
    points_px = torch.cartesian_prod(across, across) + SIZE_PX // 2
    visible = torch.ones(len(points_px), dtype=torch.bool)
    maps = belief_maps(points_px, visible, (SIZE_PX, SIZE_PX), stride, SIGMA_PX)
    return {
        name: torch.linalg.vector_norm(
            cell_to_px(decode(maps)[0], stride) - points_px, dim=-1
        ).numpy()
        for name, decode in DECODERS.items()
    }


TABLE = TableRecord(
    about="each decoder's error on Gaussians at known places, per output stride",
    caption="How far each decoder is off on Gaussians at known places, per output stride.",
    needs=lambda project: [],
    make=lambda project: table(),
    asked=lambda project: project.evaluates(),
)
