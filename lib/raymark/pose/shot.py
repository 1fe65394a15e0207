"""An X-ray as registration needs it: grey values, where rays meet it, and which pixels are X-ray."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Shot:
    """A log X-ray (row, column), dense is high, any scale and offset; its `K` (3, 3) in px.

    `valid_yx` is False where a pixel says nothing: padding, collimator, outside a round field of view.
    """

    image_yx: np.ndarray
    K: np.ndarray
    valid_yx: np.ndarray

    @classmethod
    def whole(cls, image_yx: np.ndarray, K: np.ndarray) -> "Shot":
        """A shot of which every pixel counts."""
        return cls(image_yx, K, np.ones(image_yx.shape, dtype=bool))
