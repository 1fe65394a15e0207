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
WHITE_IS_ZERO = 0  # TIFF's PhotometricInterpretation
ORIENTATION, PHOTOMETRIC, BITS, SAMPLE_FORMAT = 274, 262, 258, 339
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
CheckPixels = Callable[[Path, tuple[int, ...]], None]


def read_picture(path: Path, kind: str, frame: int | None, check_pixels: CheckPixels) -> Stored:
    """Read a picture as its viewers show it: turned as its orientation tag says, transparency cut out."""
    from PIL import Image

    with Image.open(path, formats=[kind]) as picture:
        check_pixels(path, picture.size)
        pages = getattr(picture, "n_frames", 1)
        if pages == 1:
            picture.verify()  # a PNG's checksums, to its last byte
    if pages > 1 and frame is None:
        raise InputError(path, f"is a stack or a volume ({pages} pages)", "Choose one: --frame N")
    if frame is not None and frame > pages:
        raise InputError(path, f"has {pages} pages, no page {frame}", "Give one it has")
    with Image.open(path, formats=[kind]) as picture:
        picture.seek((frame or 1) - 1)
        orientation = picture.getexif().get(ORIENTATION, 1)
        pixels, valid_yx = grey_of(path, *_pixels(path, kind, picture, frame))
    doubts = []
    if orientation in TURNS:
        pixels = turned_array(pixels, *TURNS[orientation])
        valid_yx = None if valid_yx is None else turned_array(valid_yx, *TURNS[orientation])
        doubts = ["is turned as its orientation tag says; points are in the turned image's pixels"]
    return Stored(pixels, valid_yx=valid_yx, doubts=tuple(doubts))


def _pixels(
    path: Path, kind: str, picture: "Image.Image", frame: int | None
) -> tuple[np.ndarray, bool]:
    """Return the samples (row, column[, channel]) at their own depth, and whether the last is opacity."""
    if kind == "PNG" and _png_is_deep_and_many(path):
        import SimpleITK as sitk

        pixels = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="PNGImageIO"))
        return pixels.astype(np.float64), pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    if kind == "TIFF":
        tags = getattr(picture, "tag_v2", {})
        inverted = tags.get(PHOTOMETRIC) == WHITE_IS_ZERO
        if _needs_tifffile(tags):
            pixels = _tiff(path, frame)
        elif picture.mode in ("P", "RGB", "RGBA", "LA", "1", "CMYK", "YCbCr", "PA"):
            return _converted(picture)
        else:
            pixels = np.asarray(picture, np.float64)
            inverted = inverted and picture.mode.startswith(("I", "F"))  # Pillow inverts 8 bits
        if inverted:
            pixels = pixels.max() - pixels
        return pixels, pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    if picture.mode.startswith(("I", "F")):
        return np.asarray(picture, np.float64), False
    return _converted(picture)


def _converted(picture: "Image.Image") -> tuple[np.ndarray, bool]:
    """Return 8-bit samples of any mode of Pillow's."""
    see_through = picture.mode in ("LA", "RGBA", "PA") or "transparency" in picture.info
    if picture.mode in ("L", "LA", "1"):
        return np.asarray(picture.convert("LA" if see_through else "L"), np.float64), see_through
    return np.asarray(picture.convert("RGBA" if see_through else "RGB"), np.float64), see_through


def _png_is_deep_and_many(path: Path) -> bool:
    """Tell whether a PNG has 16 bits in several channels, which Pillow would cut to 8."""
    with open(path, "rb") as file:
        start = file.read(26)
    return start[24] == 16 and start[25] != 0


def _needs_tifffile(tags: dict) -> bool:
    """Tell whether a TIFF's samples are of a kind that Pillow cuts, wraps or does not know."""
    bits, kinds = tags.get(BITS, (1,)), tags.get(SAMPLE_FORMAT, (1,))
    bits = bits if isinstance(bits, tuple) else (bits,)
    deep_colour = len(bits) > 1 and max(bits) > 8
    return deep_colour or max(bits) > 32 or (max(bits) == 32 and 1 in kinds) or max(kinds) > 3


def _tiff(path: Path, frame: int | None) -> np.ndarray:
    import tifffile

    with tifffile.TiffFile(path) as file:
        page = cast(tifffile.TiffPage, file.pages[(frame or 1) - 1])
        try:
            pixels = page.asarray()
        except ValueError as error:
            if "imagecodecs" not in str(error):
                raise
            problem = f"is compressed in a way that cannot be read here (compression {int(page.compression)})"
            raise InputError(path, problem, "Save it as TIFF without compression, or PNG") from None
        if page.planarconfig == 2 and pixels.ndim == 3:  # one channel after another
            pixels = np.moveaxis(pixels, 0, -1)
    if pixels.dtype.kind == "c":
        raise coloured(path)
    return pixels.astype(np.float64)


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
