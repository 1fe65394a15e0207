"""One scan under two patients is found however it is stored."""

import numpy as np
import pandas as pd
import pytest

from raymark.config.subjects import Subject
from raymark.core.errors import InputError
from raymark.ct import read_ct
from raymark.ct.quality import quality
from raymark.patients.same_ct import check_patients
from tests.unit.ct import examples

HU = examples.phantom_hu()
AFFINE = examples.affine_ras(oblique=False)


def rows(tmp_path, **files):
    """Write each CT's quality row; return their paths and a sheet of as many patients."""
    paths, sheet = {}, {}
    for subject, path in files.items():
        volume = read_ct(path)
        paths[subject] = tmp_path / f"{subject}.csv"
        pd.DataFrame([quality(volume, volume)]).to_csv(paths[subject], index=False)
        sheet[subject] = Subject(subject, f"p_{subject}", str(path), "-", "", "train")
    return paths, sheet


@pytest.mark.parametrize("kind", ["nii.gz", "nrrd", "mha"])
def test_a_copy_in_another_format_and_order_of_axes_is_refused(tmp_path, kind):
    first = examples.write_nifti(tmp_path / "a.nii.gz", HU, AFFINE)
    copy = examples.write(kind, tmp_path, *examples.stored_as("LPS", HU, AFFINE))
    paths, sheet = rows(tmp_path, a=first, b=copy)
    with pytest.raises(
        InputError, match=r"is the same CT as .*a\.nii\.gz, under .*'p_a' and 'p_b'"
    ):
        check_patients(paths, sheet)


def test_two_scans_of_two_patients_and_one_of_one_pass(tmp_path):
    first = examples.write_nifti(tmp_path / "a.nii.gz", HU, AFFINE)
    other = examples.write_nifti(tmp_path / "b.nii.gz", np.where(HU.max() == HU, 500, HU), AFFINE)
    check_patients(*rows(tmp_path, a=first, b=other))
    paths, sheet = rows(tmp_path, a=first, b=first)
    check_patients(paths, dict.fromkeys(sheet, sheet["a"]))
