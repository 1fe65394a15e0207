"""X-ray files whose grey values, directions, sizes or names mislead: what the reader makes of them."""

import gzip
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import SimpleITK as sitk
import tifffile
from PIL import Image
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence

from raymark.core.errors import InputError
from raymark.imports.xray_file import read_xray
from tests.foreign.case import Case

# Bone is a bright block, up and to the viewer's right of the middle; air is dark, tissue between.
SHAPE = (60, 80)
BONE_XY = (60, 14)


def anatomy(levels=(100, 1500, 3000)) -> np.ndarray:
    """An X-ray, bone bright: a body that gets thicker downwards, with one bone."""
    air, tissue, bone = levels
    image = np.full(SHAPE, air, float)
    image[5:55, 8:72] = tissue + np.linspace(0, (bone - tissue) / 4, 50)[:, None]
    x, y = BONE_XY
    image[y - 4 : y + 5, x - 4 : x + 5] = bone
    return image.astype(np.uint16)


def write_dicom(
    path: Path, pixels=None, syntax=pydicom.uid.ExplicitVRLittleEndian, **tags
) -> FileDataset:
    pixels = anatomy() if pixels is None else pixels
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = syntax
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.1"
    meta.MediaStorageSOPInstanceUID = "1.2.3"
    ds = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    ds.SOPClassUID, ds.SOPInstanceUID, ds.Modality = meta.MediaStorageSOPClassUID, "1.2.3", "DX"
    ds.Rows, ds.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        ds.NumberOfFrames = len(pixels)
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.itemsize
    ds.HighBit, ds.PixelRepresentation = ds.BitsStored - 1, int(pixels.dtype.kind == "i")
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.ImagerPixelSpacing = [0.25, 0.25]
    ds.PixelData = pixels.tobytes()
    for tag, value in tags.items():
        setattr(ds, tag, value)
    if path.name:
        ds.save_as(path, enforce_file_format=False)
    return ds


def dicom(pixels=None, name="a.dcm", frame=None, **tags):
    def make(folder: Path) -> str:
        write_dicom(folder / name, pixels, **tags)
        return described(folder / name, frame)

    return make


def described(path: Path, frame=None) -> str:
    """Read an image and say where its bone is, how its levels lie, its pitch and the doubts."""
    try:
        xray = read_xray(path, frame)
    except InputError as error:
        return f"refused: {error}"
    image, valid = xray.image_yx, xray.valid_yx
    shown = image if valid is None else np.where(valid, image, image.min())
    top = shown >= shown.min() + 0.9 * (shown.max() - shown.min())
    y, x = np.argwhere(top).mean(axis=0)
    in_file = xray.placement.to_file([x, y])
    levels = f"tissue at {(np.median(shown) - shown.min()) / np.ptp(shown):.2f}"
    pitch = "unknown pitch" if xray.pixel_mm is None else f"{xray.pixel_mm:g} mm"
    padding = "" if valid is None else f"; {1 - valid.mean():.0%} padding"
    return (
        f"bone at {x:.1f}, {y:.1f}, in the file at {in_file[0]:.1f}, {in_file[1]:.1f}; {levels}; {pitch}"
        f"{padding}; doubts: {'; '.join(xray.doubts) or 'none'}"
    )


HERE = "bone at {:.1f}, {:.1f}, in the file at".format(*BONE_XY)
PLAIN = f"{HERE} {BONE_XY[0]:.1f}, {BONE_XY[1]:.1f}; tissue at 0."


def plain(*words: str, no_doubt: bool = False) -> Callable[[str], bool]:
    return lambda out: (
        out.startswith(PLAIN)
        and all(w in out for w in words)
        and (not no_doubt or out.endswith("doubts: none"))
    )


def refused(*words: str) -> Callable[[str], bool]:
    return lambda out: out.startswith("refused") and all(word in out for word in words)


def with_border(value: int, levels=(100, 1500, 3000), dtype=np.uint16) -> np.ndarray:
    pixels = anatomy(levels).astype(dtype)
    pixels[:, :6] = value
    return pixels


def picture(name: str, pixels: np.ndarray, **how):
    def make(folder: Path) -> str:
        Image.fromarray(pixels).save(folder / name, **how)
        return described(folder / name)

    return make


def tiff(pixels: np.ndarray, **how):
    def make(folder: Path) -> str:
        tifffile.imwrite(folder / "a.tif", pixels, **how)
        return described(folder / "a.tif")

    return make


def deep_png(channels: np.ndarray):
    def make(folder: Path) -> str:
        sitk.WriteImage(sitk.GetImageFromArray(channels, isVector=True), str(folder / "a.png"))
        return described(folder / "a.png")

    return make


def oriented(tag: int, name="a.png"):
    """A picture stored turned, with the tag that has viewers turn it back."""
    back = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.T,
        6: lambda a: np.rot90(a),
        7: lambda a: a[::-1, ::-1].T,
        8: lambda a: np.rot90(a, -1),
    }

    def make(folder: Path) -> str:
        stored = np.ascontiguousarray(back[tag](anatomy() // 16)).astype(np.uint8)
        exif = Image.Exif()
        exif[274] = tag
        how = {"tiffinfo": {274: tag}} if name.endswith("tif") else {"exif": exif}
        how |= {"quality": 100} if name.endswith("jpg") else {}
        Image.fromarray(stored).save(folder / name, **how)
        return described(folder / name)

    return make


def turned(change: Callable, in_file: tuple[float, float], **tags):
    def make(folder: Path) -> str:
        write_dicom(folder / "a.dcm", np.ascontiguousarray(change(anatomy())), **tags)
        return described(folder / "a.dcm")

    place = f"{HERE} {in_file[0]:.1f}, {in_file[1]:.1f};"
    return make, lambda out: out.startswith(place)


def voxels(name: str, axis: int, directions=None, spacing=(0.3, 0.4, 5.0)):
    """One slice of a volume file, thin along one of its axes."""

    def make(folder: Path) -> str:
        image = sitk.GetImageFromArray(np.expand_dims(anatomy(), axis))
        image.SetSpacing(spacing)
        if directions is not None:
            image.SetDirection(np.ravel(directions).tolist())
        sitk.WriteImage(image, str(folder / name))
        return described(folder / name)

    return make


def raw(name: str, change: Callable[[bytes], bytes], source="a.dcm", write=write_dicom):
    def make(folder: Path) -> str:
        write(folder / source)
        (folder / name).write_bytes(change((folder / source).read_bytes()))
        return described(folder / name)

    return make


def changed(change: Callable[[FileDataset], object], name="a.dcm"):
    def make(folder: Path) -> str:
        ds = write_dicom(folder / "whole.dcm")
        change(ds)
        ds.save_as(folder / name, enforce_file_format=False)
        return described(folder / name)

    return make


def icon_only(ds):
    icon = Dataset()
    icon.Rows = icon.Columns = 16
    ds.IconImageSequence = Sequence([icon])
    del ds.PixelData


def compressed(syntax):
    def make(folder: Path) -> str:
        ds = write_dicom(folder / "a.dcm")
        ds.compress(syntax)
        ds.save_as(folder / "a.dcm")
        return described(folder / "a.dcm")

    return make


def encapsulated(ds):
    ds.PixelData = pydicom.encaps.encapsulate([b"\xff\xd8\xff\xd9"])
    ds["PixelData"].VR = "OB"
    ds.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1


def nifti(path: Path) -> None:
    sitk.WriteImage(sitk.GetImageFromArray(anatomy()), str(path))


def hot_pixel(folder: Path) -> str:
    pixels = anatomy().astype(np.float32) / 4000
    pixels[50, 70] = 1e6
    tifffile.imwrite(folder / "a.tif", pixels)
    return described(folder / "a.tif")


def overlay_bits() -> np.ndarray:
    pixels = anatomy((50, 700, 1500))
    pixels[40:44, 20:60] |= 1 << 15
    return pixels


BRIGHT = anatomy()
DARK = 3100 - anatomy()
GREY8 = (BRIGHT // 16).astype(np.uint8)
SIGNED = BRIGHT.astype(np.int16) - 1500


def grey(given: str, expected: str, run, right=None) -> Case:
    return Case("X-ray grey values", given, expected, run, right or plain(no_doubt=True))


def geometry(given: str, expected: str, run, right) -> Case:
    return Case("X-ray geometry", given, expected, run, right)


def named(given: str, expected: str, run, right) -> Case:
    return Case("X-ray files and their names", given, expected, run, right)


MIRRORED = turned(
    lambda a: a[:, ::-1], (79 - BONE_XY[0], BONE_XY[1]), PatientOrientation=["R", "F"]
)
HEAD_DOWN = turned(lambda a: a[::-1], (BONE_XY[0], 59 - BONE_XY[1]), PatientOrientation=["L", "H"])
LYING = turned(lambda a: a.T, BONE_XY[::-1], PatientOrientation=["F", "L"])
LYING_HEAD_RIGHT = turned(
    lambda a: np.rot90(a), (BONE_XY[1], 79 - BONE_XY[0]), PatientOrientation=["F", "R"]
)
BY_AXES = turned(
    lambda a: a[:, ::-1],
    (79 - BONE_XY[0], BONE_XY[1]),
    ImageOrientationPatient=[-1, 0, 0, 0, 0, -1],
)

CASES = (
    grey("MONOCHROME2, as most are", "as stored", dicom()),
    grey("MONOCHROME1 of the same shot", "the same image", dicom(DARK, PhotometricInterpretation="MONOCHROME1")),
    grey("MONOCHROME1 with PresentationLUTShape INVERSE, as DX has it", "inverted once", dicom(DARK, PhotometricInterpretation="MONOCHROME1", PresentationLUTShape="INVERSE")),
    grey("MONOCHROME2 with PresentationLUTShape INVERSE", "bone bright", dicom(DARK, PresentationLUTShape="INVERSE")),
    grey("RescaleSlope −1", "bone bright", dicom(DARK, RescaleSlope=-1, RescaleIntercept=3100)),
    grey("PixelIntensityRelationshipSign +1, MONOCHROME2 (raw detector values)", "bone bright, the contradiction told", dicom(DARK, PixelIntensityRelationship="LIN", PixelIntensityRelationshipSign=1), plain("bone is made bright")),
    grey("PixelIntensityRelationshipSign +1, MONOCHROME1", "bone bright", dicom(DARK, PhotometricInterpretation="MONOCHROME1", PixelIntensityRelationshipSign=1)),
    grey("PixelIntensityRelationshipSign −1", "as stored", dicom(PixelIntensityRelationship="LOG", PixelIntensityRelationshipSign=-1)),
    grey("fluoroscopy LIN without a sign", "bone bright, told", dicom(DARK, Modality="XA", PixelIntensityRelationship="LIN"), plain("bone is made bright")),
    grey("fluoroscopy that does not tell its polarity", "as shown, doubted", dicom(Modality="XA"), plain("--invert")),
    grey("PixelPaddingValue 65535 around the image", "no brightest border", dicom(with_border(65535), PixelPaddingValue=65535), plain("7% padding")),
    grey("PixelPaddingValue 0 in MONOCHROME1", "no brightest border", dicom(with_border(0, (3000, 1500, 100)), PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0), plain("7% padding")),
    grey("PixelPaddingValue −2000 beside values around 0", "contrast kept", dicom(with_border(-32000, dtype=np.int16), PixelPaddingValue=-32000), plain("7% padding")),
    grey("PixelPaddingRangeLimit", "the whole range is padding", dicom(with_border(64010), PixelPaddingValue=64000, PixelPaddingRangeLimit=65000), plain("7% padding")),
    grey("signed pixels", "as stored", dicom(SIGNED)),
    grey("12 bits stored, an overlay in the bits above", "the overlay left out", dicom(overlay_bits(), BitsStored=12, HighBit=11)),
    grey("16-bit grey PNG", "all 16 bits", picture("a.png", BRIGHT)),
    grey("16-bit RGB PNG", "all 16 bits", deep_png(np.repeat(BRIGHT[..., None], 3, -1))),
    grey("16-bit grey and alpha PNG", "refused rather than cut to 8 bits", deep_png(np.stack([BRIGHT, np.full(SHAPE, 65535, np.uint16)], -1)), refused("16-bit grey with transparency")),
    grey("16-bit RGB TIFF", "all 16 bits", tiff(np.repeat(BRIGHT[..., None], 3, -1), photometric="rgb")),
    grey("16-bit RGB TIFF, channel by channel", "all 16 bits", tiff(np.repeat(BRIGHT[None], 3, 0), photometric="rgb", planarconfig="separate")),
    grey("uint32 TIFF above 2³¹", "no wrap", tiff(BRIGHT.astype(np.uint32) * 1_400_000)),
    grey("float64 TIFF", "read", tiff(BRIGHT.astype(np.float64) / 7)),
    grey("float32 TIFF", "read", tiff(BRIGHT.astype(np.float32))),
    grey("TIFF, WhiteIsZero, 16 bits", "inverted", tiff(3100 - BRIGHT, photometric="miniswhite")),
    grey("TIFF, WhiteIsZero, 8 bits", "inverted", tiff(255 - GREY8, photometric="miniswhite")),
    grey("palette PNG of greys", "read", lambda f: (Image.fromarray(GREY8).convert("P").save(f / "a.png"), described(f / "a.png"))[1]),
    grey("one hot pixel in a float image", "contrast kept, told", hot_pixel, lambda out: out.startswith("bone at 60.1, 14.4") and "far beyond" in out),
    *(geometry(f"{kind} with orientation {tag}", "turned as viewers turn it; points in the turned picture", oriented(tag, name), plain()) for tag in range(1, 9) for kind, name in (("JPEG", "a.jpg"), ("TIFF", "a.tif"), ("PNG", "a.png"))),
    geometry("PatientOrientation R\\F: a mirrored chest", "looked at unmirrored; points in the file's pixels", *MIRRORED),
    geometry("PatientOrientation L\\H: head down", "looked at upright", *HEAD_DOWN),
    geometry("PatientOrientation F\\L: lying", "looked at upright", *LYING),
    geometry("PatientOrientation F\\R: lying, mirrored", "looked at upright", *LYING_HEAD_RIGHT),
    geometry("ImageOrientationPatient to the right", "looked at unmirrored", *BY_AXES),
    geometry("PatientOrientation L\\F, as usual", "as stored", dicom(PatientOrientation=["L", "F"]), plain(no_doubt=True)),
    geometry("PatientOrientation P\\F, lateral", "as stored", dicom(PatientOrientation=["P", "F"]), plain(no_doubt=True)),
    geometry("PatientOrientation without meaning", "as stored", dicom(PatientOrientation=["", ""]), plain(no_doubt=True)),
    geometry("PixelAspectRatio 2:1 without a spacing", "square pixels; points in the file's", dicom(ImagerPixelSpacing=None, PixelAspectRatio=[2, 1]), lambda out: out.startswith("bone at 60.0, 28.5, in the file at 60.0, 14.0") and "unknown pitch" in out),
    geometry("pixels of 0.5 × 0.25 mm", "square pixels; points in the file's", dicom(ImagerPixelSpacing=[0.5, 0.25]), lambda out: out.startswith("bone at 60.0, 28.5, in the file at 60.0, 14.0") and "0.25 mm" in out),
    geometry("ImagerPixelSpacing 0\\0 beside a valid PixelSpacing", "0.2 mm, told", dicom(ImagerPixelSpacing=[0, 0], PixelSpacing=[0.2, 0.2]), plain("0.2 mm", "no usable ImagerPixelSpacing")),
    geometry("imager 0.143, pixel 0.125 mm", "the imager's counts, told", dicom(ImagerPixelSpacing=[0.143, 0.143], PixelSpacing=[0.125, 0.125]), plain("0.143 mm", "two pixel sizes")),
    geometry("RT image with ImagePlanePixelSpacing", "0.4 mm", dicom(Modality="RTIMAGE", ImagerPixelSpacing=None, ImagePlanePixelSpacing=[0.4, 0.4]), plain("0.4 mm")),
    geometry("a film's NominalScannedPixelSpacing", "0.175 mm", dicom(ImagerPixelSpacing=None, NominalScannedPixelSpacing=[0.175, 0.175]), plain("0.175 mm")),
    geometry("a JPEG at 96 dpi", "no mm", picture("a.jpg", GREY8, dpi=(96, 96), quality=95), plain("unknown pitch")),
    geometry("coronal slice in a volume file, head up", "in-plane spacing, upright", voxels("a.nii.gz", 1, [[1, 0, 0], [0, 1, 0], [0, 0, 1]], (0.3, 5.0, 0.3)), lambda out: "0.3 mm" in out and "in the file at 60.0, 14.0" in out and out.startswith("bone at 60.0, 45.0")),
    geometry("axial-like slice of 0.3 × 0.3 × 5 mm", "0.3 mm", voxels("a.mha", 0, None, (0.3, 0.3, 5.0)), plain("0.3 mm", no_doubt=True)),
    geometry("sagittal slice, thickness 5 mm", "in-plane spacing", voxels("a.nrrd", 2, None, (5.0, 0.3, 0.3)), lambda out: "0.3 mm" in out and "bone" in out),
    named("a DICOM named .png", "read, told", dicom(name="a.png"), plain("is a DICOM file, against its name")),
    named("a PNG named .dcm", "read, told", raw("b.dcm", bytes, "a.png", lambda p: Image.fromarray(BRIGHT).save(p)), plain("is a PNG file")),
    named("a JPEG named .png", "read, told", raw("b.png", bytes, "a.jpg", lambda p: Image.fromarray(GREY8).save(p, quality=95)), plain("is a JPEG file")),
    named("gzip named .nii", "read, told", raw("b.nii", gzip.compress, "a.nii", nifti), plain("compressed, against its name")),
    named("NIfTI named .nii.gz", "read, told", raw("b.nii.gz", bytes, "a.nii", nifti), plain("not compressed")),
    named("DICOM without preamble", "read", raw("b.dcm", lambda b: b[132:]), plain()),
    named("DICOM without preamble or meta header", "read", changed(lambda ds: (delattr(ds, "file_meta"), delattr(ds, "preamble"))), lambda out: out.startswith((PLAIN, "refused"))),
    named("DICOM without TransferSyntaxUID", "read", changed(lambda ds: ds.file_meta.__delattr__("TransferSyntaxUID")), lambda out: out.startswith(PLAIN)),
    named("DICOM without Rows", "refused, the tag named", changed(lambda ds: ds.__delattr__("Rows")), refused("Rows")),
    named("DICOM with an icon only", "refused, said", changed(icon_only), refused("icon")),
    named("DICOM without pixels", "refused, said", changed(lambda ds: ds.__delattr__("PixelData")), refused("no pixels")),
    named("a broken JPEG lossless stream", "refused, the compression named", changed(encapsulated), refused("JPEG Lossless", "decoded")),
    named("pixels cut off", "refused, bytes named", raw("b.dcm", lambda b: b[:-2000]), refused("cut off")),
    named("JPEG-LS", "read", compressed(pydicom.uid.JPEGLSLossless), plain(no_doubt=True)),
    named("RLE", "read", compressed(pydicom.uid.RLELossless), plain(no_doubt=True)),
    named("a series without a frame", "refused, the option named", dicom(np.stack([BRIGHT] * 3)), refused("3 frames", "--frame")),
    named("frame 2 of a series", "that frame", dicom(np.stack([DARK, BRIGHT, DARK]), frame=2), plain(no_doubt=True)),
    named("frame 9 of 3", "refused", dicom(np.stack([BRIGHT] * 3), frame=9), refused("3 frames, no frame 9")),
    named("a colour photograph", "refused", picture("a.jpg", np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)), refused("colour")),
    named("a text file named .dcm", "refused", raw("b.dcm", lambda b: b"some words " * 99), refused("b.dcm")),
    named("an ELF program named .png", "refused", raw("b.png", lambda b: struct.pack("<4sB", b"\x7fELF", 2) * 99), refused("b.png")),
)  # fmt: skip
