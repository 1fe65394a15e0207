"""Grey pictures for other programs: PNG of 16 bits that keeps values comparable, of 8 bits to look at."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from raymark.exports.base import Source

WHITE = 65535
SHOWN = (0.1, 99.9)  # percentiles of an image between which the greys to look at lie


@dataclass(frozen=True)
class Greys:
    """The line from a shard's values to 16 bits, one for all images of a view set."""

    low: float
    high: float

    def of(self, image_yx: np.ndarray) -> np.ndarray:
        """Return an image's greys, uint16 (y, x)."""
        share = (image_yx.astype(np.float64) - self.low) / (self.high - self.low)
        return np.round(np.clip(share, 0, 1) * WHITE).astype(np.uint16)

    @property
    def step(self) -> float:
        """How much one grey more is in the shard's values."""
        return (self.high - self.low) / WHITE

    def told(self, source: Source) -> dict:
        """Say how the shard's values come back."""
        quantity = (
            "-ln(signal / signal of an empty pixel)" if source.is_rendered else "grey, 0 to 1"
        )
        return {"value": quantity, "offset": self.low, "per_grey": self.step}


def greys_of(source: Source) -> Greys:
    """Return the greys in which all images of a view set fit."""
    low, high = np.inf, -np.inf
    for view in source.views():
        image = view.arrays["image"]
        low, high = min(low, float(image.min())), max(high, float(image.max()))
    return Greys(low, high if high > low else low + 1)


def write_picture(path: Path, greys_yx: np.ndarray) -> None:
    """Write uint8 or uint16 greys (y, x) as PNG."""
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(greys_yx).save(path)


def to_look_at(image_yx: np.ndarray) -> np.ndarray:
    """Return an image as 8-bit greys of good contrast: annotation programs show no others."""
    low, high = np.percentile(image_yx.astype(np.float64), SHOWN)
    share = (image_yx.astype(np.float64) - low) / max(high - low, np.finfo(np.float32).tiny)
    return np.round(np.clip(share, 0, 1) * 255).astype(np.uint8)
