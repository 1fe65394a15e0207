"""One small synthetic CT and how to write it in every format, for the tests of ingestion."""

import itertools
import zipfile
from pathlib import Path

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from raymark.core.errors import InputError
from raymark.ct import read_ct

SPACING_MM = (1.5, 1.25, 2.5)
SECRETS = ("Mustermann", "PID4711", "19630229", "1.2.826.0.1.3680043.8.498.4711", "StMungo")
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
ORIENTATIONS = ["RAS", "LAS", "LPS", "RPI", "ASR", "PIL", "SLA"]


def affine_ras(oblique: bool = False) -> np.ndarray:
    """An affine whose axes point to R, A, S, exactly or (oblique) turned by up to 20°."""
    affine = np.diag([*SPACING_MM, 1.0])
    affine[:3, 3] = -31.5, 12.25, -900.5
    if oblique:
        a, b = np.deg2rad([12.0, -20.0])
        turn_z = [[np.cos(a), -np.sin(a), 0], [np.sin(a), np.cos(a), 0], [0, 0, 1]]
        turn_x = [[1, 0, 0], [0, np.cos(b), -np.sin(b)], [0, np.sin(b), np.cos(b)]]
        affine[:3, :3] = np.array(turn_z) @ turn_x @ affine[:3, :3]
    return affine


def phantom_hu() -> np.ndarray:
    """An asymmetric body (x, y, z): even int16 HU, air around it, a bone, no two corners alike."""
    x, y, z = np.indices((14, 12, 10))
    hu = np.full(x.shape, -1000)
    hu[((x - 6) / 6) ** 2 + ((y - 5) / 5) ** 2 < 1] = 40
    hu[(x > 7) & (x < 11) & (y > 3) & (y < 6) & (z > 1) & (z < 8)] = 800
    hu += 2 * (x + 2 * y + 3 * z)
    return hu.astype(np.int16)


def stored_as(codes: str, voxels: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return RAS voxels and affine as a file with the axis codes `codes` would store them."""
    axes = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(codes)
    )
    stored = nib.orientations.apply_orientation(voxels, axes)
    return stored, affine @ nib.orientations.inv_ornt_aff(axes, voxels.shape)


def write_nifti(path: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    image = nib.Nifti1Image(voxels, affine)
    image.header["descrip"] = " ".join(SECRETS)[:79]
    image.header["aux_file"] = SECRETS[0]
    image.header["intent_name"] = SECRETS[1]
    image.header["db_name"] = SECRETS[0]
    comment = " ".join(SECRETS).encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", comment))
    image.to_filename(path)
    return path


def write_itk(path: Path, voxels: np.ndarray, affine: np.ndarray, compress: bool = True) -> Path:
    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(voxels.T))
    image.SetSpacing(spacing.tolist())
    image.SetDirection((lps[:3, :3] / spacing).ravel().tolist())
    image.SetOrigin(lps[:3, 3].tolist())
    for number, secret in enumerate(SECRETS):
        image.SetMetaData(f"Patient{number}", secret)
    SimpleITK.WriteImage(image, str(path), useCompression=compress)
    return path


def write_series(folder: Path, voxels: np.ndarray, affine: np.ndarray, **tags) -> Path:
    """Write a DICOM CT series; file names and instance numbers tell nothing about the order.

    Rescale slope and intercept change from slice to slice. `tags` replace values of every slice;
    None removes the tag.
    """
    folder.mkdir(parents=True, exist_ok=True)
    lps = LPS_TO_RAS @ affine
    spacing = np.linalg.norm(lps[:3, :3], axis=0)
    for index in range(voxels.shape[2]):
        dataset = _secret_dataset(index)
        dataset.InstanceNumber = (7 * index) % voxels.shape[2]
        dataset.ImageOrientationPatient = [f"{v:.12g}" for v in (lps[:3, :2] / spacing[:2]).T.flat]
        position = lps[:3, 3] + index * lps[:3, 2]
        dataset.ImagePositionPatient = [f"{v:.10g}" for v in position]
        dataset.PixelSpacing = [spacing[1], spacing[0]]
        dataset.RescaleSlope, dataset.RescaleIntercept = 1 + index % 2, -1024 + 2 * (index % 3)
        stored = (voxels[..., index].T - dataset.RescaleIntercept) // dataset.RescaleSlope
        set_pixels(dataset, stored.astype(np.uint16))
        for tag, value in tags.items():
            if value is None:
                del dataset[tag]
            else:
                setattr(dataset, tag, value)
        name = f"{(37 * index + 3) % 97:02d}.dcm"
        dataset.save_as(folder / name)
    return folder


def set_pixels(dataset: pydicom.Dataset, stored_yx: np.ndarray) -> None:
    dataset.Rows, dataset.Columns = stored_yx.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation = 15, 0
    dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
    dataset.PixelData = stored_yx.tobytes()


def _secret_dataset(number: int) -> pydicom.Dataset:
    name, patient, date, uid, hospital = SECRETS
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"{uid}.{number}"
    dataset = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = name, patient, date
    dataset.StudyDate, dataset.InstitutionName, dataset.SeriesDescription = date, hospital, name
    dataset.SeriesInstanceUID = dataset.StudyInstanceUID = dataset.FrameOfReferenceUID = uid
    dataset.Modality, dataset.RescaleType = "CT", "HU"
    return dataset


def change_slice(folder: Path, number: int, **tags) -> Path:
    """Change tags of the file that is `number`-th by name; returns that file."""
    file = sorted(folder.iterdir())[number]
    dataset = pydicom.dcmread(file)
    for tag, value in tags.items():
        setattr(dataset, tag, value)
    dataset.save_as(file)
    return file


def zip_folder(folder: Path, path: Path, prefix: str = "series/") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for file in sorted(folder.iterdir()):
            archive.write(file, prefix + file.name)
    return path


def write(kind: str, folder: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    """Write in any accepted format; `kind` is the suffix, ``folder`` or ``zip``."""
    if kind in ("folder", "zip"):
        series = write_series(folder / "series", voxels, affine)
        return series if kind == "folder" else zip_folder(series, folder / "series.zip")
    write_file = write_nifti if kind.startswith("nii") else write_itk
    return write_file(folder / f"ct.{kind}", voxels, affine)


KINDS = ["nii", "nii.gz", "nrrd", "nhdr", "mha", "mhd", "folder", "zip"]
KINDS_AND_ORIENTATIONS = list(itertools.product(KINDS, ORIENTATIONS))


def refusal(path, *words, read=read_ct) -> str:
    """The InputError that reading raises: it names the file, holds all `words` and no secret."""
    with pytest.raises(InputError) as caught:
        read(path)
    message = str(caught.value)
    for word in (path.name, *words):
        assert word in message
    assert len(caught.value.remedy) > 15
    assert not any(secret in message for secret in SECRETS)
    return message
