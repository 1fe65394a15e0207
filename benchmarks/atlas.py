"""Error of landmarks by atlas, where the truth is known: strongly deformed copies of the demo's CTs.

python benchmarks/atlas.py [--atlas chest pelvis] [--copies 3] [--out docs/measurements/atlas.md]

After `make demo`, whose canonical CTs and landmarks (results/volumes) it reads. Each copy is made as a
virtual patient is, with waves of twice the demo's amplitude, ±12 % of scaling and up to 40° of bend; then
chest or pelvis is laid on it as on any other CT.
"""

import argparse
import time
from pathlib import Path

import numpy as np
import pandas as pd
from measurement import report

from raymark.config.dataset import Cohort
from raymark.ct import Volume, read_volume
from raymark.landmarks.point_files import XYZ
from raymark.landmarks.table import read_landmark_table
from raymark.patients.atlas import LEAST_ALIKE, alike, register_atlas
from raymark.patients.virtual_patients import make_virtual_patient

ATLASES = {"chest": "results/volumes/chest_kv/chest", "pelvis": "results/volumes/pelvis/pelvis"}
COHORT = {
    "count": 1,
    "deformation": {"amplitude_mm": 8.0},
    "scale": (0.88, 1.12),
    "cobb_deg": (-40.0, 40.0),
}


def errors_of(name: str, copies: int) -> pd.DataFrame:
    """Return a row for each copy and landmark: how far off, how far it would be unmoved, how alike."""
    folder = Path(ATLASES[name])
    volume, table = read_volume(folder / "ct.nii.gz"), read_landmark_table(folder / "landmarks.csv")
    points, rows = table[XYZ].to_numpy(), []
    for copy in range(1, copies + 1):
        patient = make_virtual_patient(
            volume.hu_xyz,
            None,
            volume.affine,
            points,
            Cohort.model_validate(COHORT),
            dataset="atlas",
            subject=f"{name}-v{copy:03d}",
            seed=0,
        )
        target, started = Volume(patient.hu_xyz, patient.affine), time.process_time()
        warp = register_atlas(volume, target)
        found, seconds = warp.forward(points), time.process_time() - started
        truth = patient.landmarks_mm
        shift = (truth - points).mean(axis=0)
        rows.append(
            pd.DataFrame(
                {
                    "atlas": name,
                    "copy": copy,
                    "landmark": table["landmark"],
                    "error": np.linalg.norm(found - truth, axis=1),
                    "unmoved": np.linalg.norm(points + shift - truth, axis=1),
                    "alike": alike(warp, volume, target, points),
                    "seconds": seconds,
                }
            )
        )
    return pd.concat(rows, ignore_index=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--atlas", nargs="+", choices=ATLASES, default=list(ATLASES))
    parser.add_argument("--copies", type=int, default=3, help="how many of each")
    parser.add_argument("--out", type=Path, help="write the table here too")
    asked = parser.parse_args()
    found = [errors_of(name, asked.copies) for name in asked.atlas]
    errors = pd.concat(found, ignore_index=True)
    rows = []
    for (name, landmark), each in errors.groupby(["atlas", "landmark"], sort=False):
        rows.append(_row(name, landmark, each))
    whole = [_row(name, "**all**", each) for name, each in errors.groupby("atlas", sort=False)]
    text = (
        f"Deformed copies: {asked.copies} of each CT; waves of 8 mm, scaling 0.88 to 1.12, bends up to 40°. "
        "*Unmoved*: the atlas's points shifted by the copy's mean, no more. *Alike*: least correlation "
        f"about the point; below {LEAST_ALIKE} a point is left out. Seconds are those of one processor "
        "for one registration. A copy has its atlas's grey values and topology: between two bodies "
        "errors are larger."
    )
    report("Landmarks by atlas", text, [*whole, *rows], ["SimpleITK", "numpy", "scipy"], asked.out)


def _row(atlas: str, landmark: str, each: pd.DataFrame) -> dict:
    return {
        "atlas": atlas,
        "landmark": landmark,
        "median, mm": f"{each['error'].median():.1f}",
        "largest, mm": f"{each['error'].max():.1f}",
        "unmoved, median, mm": f"{each['unmoved'].median():.1f}",
        "alike": f"{each['alike'].min():.2f}",
        "seconds": f"{each['seconds'].median():.0f}",
    }


if __name__ == "__main__":
    main()
