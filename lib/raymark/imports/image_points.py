"""Points in an X-ray, as a table and for 3D Slicer, in the pixels of the image's file."""

import numpy as np
import pandas as pd

from raymark.imports.stored_image import Placement, Xray

MARKUPS_SCHEMA = (
    "https://raw.githubusercontent.com/slicer/slicer/master/Modules/Loadable/Markups/"
    "Resources/Schema/markups-schema-v1.0.3.json#"
)


def in_file_px(table: pd.DataFrame, xray: Xray) -> pd.DataFrame:
    """Return a table of `find_landmarks` with the positions in the pixels of the image's file."""
    points_px = xray.placement.to_file(table[["x_px", "y_px"]].to_numpy())
    points_mm = points_px * xray.placement.file_px_mm(xray.pixel_mm or np.nan)
    columns = dict(zip(("x_px", "y_px", "x_mm", "y_mm"), [*points_px.T, *points_mm.T], strict=True))
    return table.assign(**columns)


def markups(table: pd.DataFrame, placement: Placement = Placement()) -> dict:  # noqa: B008
    """Return a Slicer point list of a table of `in_file_px`.

    The points lie where the file says that its pixels do, LPS; where it says nothing, in the plane
    z = 0 with x right and y down as Slicer places such an image. Where the pitch is unknown 1 px is
    1 mm, as for Slicer too. What was not detected is there unplaced.
    """
    to_lps_mm = placement.file_to_lps_mm
    in_mm = table.x_mm.notna().all() or to_lps_mm is not None
    unit = "mm from the first pixel's centre" if in_mm else "pixel size unknown: 1 px is 1 mm here"
    if to_lps_mm is not None:
        unit = "mm in the frame of the image's file"
        positions = np.column_stack([table.x_px, table.y_px, np.ones(len(table))]) @ to_lps_mm.T
    else:
        x, y = (table.x_mm, table.y_mm) if in_mm else (table.x_px, table.y_px)
        positions = np.column_stack([x, y, np.zeros(len(table))])
    points = [
        {
            "id": str(index + 1),
            "label": row.landmark,
            "description": f"confidence {row.confidence:.3f}; {unit}",
            "position": [round(float(mm), 4) for mm in positions[index]],
            "positionStatus": "defined" if row.detected else "undefined",
        }
        for index, row in enumerate(table.itertuples())
    ]
    markup = {
        "type": "Fiducial",
        "coordinateSystem": "LPS",
        "coordinateUnits": "mm",
        "controlPoints": points,
    }
    return {"@schema": MARKUPS_SCHEMA, "markups": [markup]}
