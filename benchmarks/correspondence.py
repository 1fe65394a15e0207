"""Seconds per pair of CT slices: the Siamese network and both SIFT baselines, one thread each.

python benchmarks/correspondence.py --out docs/measurements/correspondence.md
"""

import time

import numpy as np
import torch
from measurement import output_argument, report
from scipy.ndimage import gaussian_filter, shift

from raymark.correspondence.config import read_correspondence
from raymark.correspondence.matching import match_by_network, match_by_sift
from raymark.correspondence.network import build

SIZE_PX, ROUNDS, MOVED_PX = 512, 5, (3.0, -5.0)
PAPER_S = 10.0  # "within 10 s on a CPU"


def pair() -> tuple[np.ndarray, np.ndarray]:
    """A slice of smooth texture, in units of its deviation, and the same moved."""
    noise = np.random.default_rng(0).standard_normal((SIZE_PX, SIZE_PX))
    image = gaussian_filter(noise, 2.5)
    image = ((image - image.min()) / np.ptp(image)).astype(np.float32)
    return image, shift(image, MOVED_PX, order=1, mode="nearest")


def main() -> None:
    out = output_argument(__doc__.splitlines()[0])
    torch.set_num_threads(1)
    settings, images = read_correspondence("config/correspondence.yaml", "paper"), pair()
    network = build(settings.network, seed=0).eval()
    work = {
        "network, 16 to 256 filters": lambda: match_by_network(network, *images, settings.matching),
        "SIFT, both matchings": lambda: match_by_sift(*images, settings.matching),
    }
    rows = []
    for name, match in work.items():
        match()
        seconds = []
        for _ in range(ROUNDS):
            start = time.process_time()
            match()
            seconds.append(time.process_time() - start)
        median = float(np.median(seconds))
        rows.append(
            {
                "matching": name,
                "processor seconds per pair": f"{median:.2f}",
                f"of the paper's {PAPER_S:g} s": f"{median / PAPER_S:.2f}",
            }
        )
    about = (
        f"Pairs of {SIZE_PX}×{SIZE_PX} px, the full network with random weights (its time does not depend "
        f"on them, that of the matching on how many landmarks there are); median of {ROUNDS}."
    )
    report("Matching a pair of CT slices", about, rows, ["torch", "scikit-image"], out)


if __name__ == "__main__":
    main()
