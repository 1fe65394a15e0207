"""PNG, TIFF, JPEG and BMP: every depth and kind of grey, turned as cameras and scanners say."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from raymark.core.errors import InputError
from raymark.imports.stored_image import Stored, coloured, turned_array

if TYPE_CHECKING:
    from PIL import Image

COLOURED = 0.1  # channels further apart than this share of the brightest: a coloured pixel
WHITE_IS_ZERO, PALETTE = 0, 3  # TIFF's PhotometricInterpretation
GREY_AND_OPACITY = 4  # PNG's kind of colours
PLAIN = (0, 1, 2)  # grey either way, RGB: samples that need no conversion
ORIENTATION = 274
# How to transpose and mirror an image with an orientation tag (TIFF 6.0, EXIF 2.3): the tag tells
# where the first row and the first column lie.
TURNS = {
    2: (False, True, False),
    3: (False, True, True),
    4: (False, False, True),
    5: (True, False, False),
    6: (True, True, False),
    7: (True, True, True),
    8: (True, False, True),
}
Samples = tuple[
    np.ndarray, bool, int
]  # (row, column[, channel]), the last is opacity?, orientation
CheckPixels = Callable[[Path, tuple[int, ...]], None]


def read_picture(path: Path, kind: str, frame: int | None, check_pixels: CheckPixels) -> Stored:
    """Read a picture as its viewers show it: turned as its orientation tag says, transparency cut out."""
    read = _tiff if kind == "TIFF" else _picture
    pixels, has_opacity, orientation = read(path, kind, frame, check_pixels)
    pixels, valid_yx = grey_of(path, pixels, has_opacity)
    doubts = []
    if orientation in TURNS:
        pixels = turned_array(pixels, *TURNS[orientation])
        valid_yx = None if valid_yx is None else turned_array(valid_yx, *TURNS[orientation])
        doubts = ["is turned as its orientation tag says; points are in the turned image's pixels"]
    return Stored(pixels, valid_yx=valid_yx, doubts=tuple(doubts))


def _picture(path: Path, kind: str, frame: int | None, check_pixels: CheckPixels) -> Samples:
    from PIL import Image

    with Image.open(path, formats=[kind]) as picture:
        check_pixels(path, picture.size)
        _check_page(path, getattr(picture, "n_frames", 1), frame)
        picture.verify()  # a PNG's checksums, to its last byte
    with Image.open(path, formats=[kind]) as picture:
        orientation = int(picture.getexif().get(ORIENTATION, 1))
        if kind == "PNG" and _png_is_deep_and_many(path):
            import SimpleITK as sitk

            if _png_colours(path) == GREY_AND_OPACITY:
                problem = "has 16-bit grey with transparency, which cannot be read here"
                raise InputError(path, problem, "Save it as 16-bit grey alone")

            pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="PNGImageIO"))
            has_opacity = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
            return pixels.astype(np.float64), has_opacity, orientation
        return *_samples(picture), orientation


def _tiff(path: Path, _: str, frame: int | None, check_pixels: CheckPixels) -> Samples:
    """Read a page of a TIFF: by tifffile at its own depth, or by Pillow what tifffile cannot unpack."""
    import tifffile

    with tifffile.TiffFile(path) as file:
        _check_page(path, len(file.pages), frame)
        number = (frame or 1) - 1
        page = cast(tifffile.TiffPage, file.pages[number])
        check_pixels(path, page.shape)
        tag = page.tags.get(ORIENTATION)
        inverted = int(page.photometric) == WHITE_IS_ZERO
        see_through = page.photometric != PALETTE and len(page.extrasamples) > 0
        unpacked = page.compression in (1, 8, 32773, 32946) and page.photometric in PLAIN
        if unpacked:  # none, Deflate, PackBits
            pixels = page.asarray()
            if page.planarconfig == 2 and pixels.ndim == 3:  # one channel after another
                pixels = np.moveaxis(pixels, 0, -1)
            if pixels.dtype.kind == "c":
                raise coloured(path)
            pixels = pixels.astype(np.float64)
            if inverted:
                pixels = pixels.max() - pixels
            return pixels, see_through, int(tag.value) if tag is not None else 1
        deep = max(page.bitspersample, 0) > 8 and (
            page.samplesperpixel > 1 or page.bitspersample > 16
        )
    if deep:
        problem = (
            f"is compressed in a way that cannot be read here (compression {page.compression})"
        )
        raise InputError(path, problem, "Save it as TIFF without compression, or as PNG")
    from PIL import Image

    with Image.open(path, formats=["TIFF"]) as picture:
        picture.seek(number)
        picture.load()  # which turns it, and inverts 8 bits
        pixels, see_through = _samples(picture)
        if inverted and picture.mode.startswith(("I", "F")):
            pixels = pixels.max() - pixels
    return pixels, see_through, 1


def _check_page(path: Path, pages: int, frame: int | None) -> None:
    if pages > 1 and frame is None:
        raise InputError(path, f"is a stack or a volume ({pages} pages)", "Choose one: --frame N")
    if frame is not None and frame > pages:
        raise InputError(path, f"has {pages} pages, no page {frame}", "Give one it has")


def _samples(picture: "Image.Image") -> tuple[np.ndarray, bool]:
    """Return Pillow's samples (row, column[, channel]), and whether the last is opacity."""
    if picture.mode.startswith(("I", "F")):
        return np.asarray(picture, np.float64), False
    see_through = picture.mode in ("LA", "RGBA", "PA") or "transparency" in picture.info
    if picture.mode in ("L", "LA", "1"):
        return np.asarray(picture.convert("LA" if see_through else "L"), np.float64), see_through
    return np.asarray(picture.convert("RGBA" if see_through else "RGB"), np.float64), see_through


def _png_is_deep_and_many(path: Path) -> bool:
    """Tell whether a PNG has 16 bits in several channels, which Pillow would cut to 8."""
    with open(path, "rb") as file:
        return file.read(25)[24] == 16 and _png_colours(path) != 0


def _png_colours(path: Path) -> int:
    """Return the kind of colours in a PNG's header, 0 for grey alone."""
    with open(path, "rb") as file:
        return file.read(26)[25]


def grey_of(
    path: Path, pixels: np.ndarray, has_opacity: bool
) -> tuple[np.ndarray, np.ndarray | None]:
    """Average the channels (..., channel) of grey saved as colour; refuse what shows colours.

    Returns which pixels can be seen, None where all can.
    """
    if pixels.ndim == 2:
        return pixels, None
    valid_yx = pixels[..., -1] > 0 if has_opacity else None
    colours = pixels[..., :-1] if has_opacity else pixels
    apart = colours.max(-1) - colours.min(-1)
    if (apart > COLOURED * colours.max()).mean() > 0.01:  # a coloured letter on an X-ray may stay
        raise coloured(path)
    return colours.mean(-1), valid_yx if valid_yx is not None and valid_yx.any() else None
