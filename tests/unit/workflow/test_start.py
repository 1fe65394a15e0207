"""What each step imports before it begins: of the slow libraries only those that it works with."""

import json
import subprocess
import sys

import pytest

SLOW = {
    *("torch", "torchmetrics", "matplotlib", "scipy.ndimage", "scipy.stats", "spekpy", "xraydb"),
    *("sqlalchemy", "pydicom", "nibabel", "SimpleITK", "skimage", "numba", "zarr", "h5py"),
}
ALLOWED = {
    "fetch": set(),
    "ingest": set(),
    "import_calibrated": set(),
    "landmarks": set(),
    "atlas": {"scipy.ndimage", "scipy.stats"},
    "virtual_patient": {"scipy.ndimage"},
    "views": set(),
    "render": {"numba"},
    "train": {"torch"},
    "predict_views": {"torch"},
    "evaluate": set(),
    "mean_position": set(),
    "pose": {"torch", "numba", "scipy.ndimage"},
    "capture_range": {"torch", "numba", "scipy.ndimage"},
    "setup_error": {"numba", "SimpleITK"},
    "contrast": {"numba"},
    "correspondence_train": {"torch", "scipy.ndimage", "skimage", "SimpleITK"},
    "correspondence_match": {"torch", "scipy.ndimage", "skimage", "SimpleITK"},
    "correspondence_follow_up": {"torch", "scipy.ndimage", "skimage", "SimpleITK"},
    "table": set(),
    "figure": set(),
}
# Each step in a copy of one process that has read a configuration; what is not installed by us is hidden.
PROGRAM = """
import ast, inspect, json, os, sys, textwrap
sys.modules["torchmetrics"] = None  # Fabric takes it where it is, and we do not install it
import raymark.config.project
from raymark.cli import STEPS
for step in STEPS:
    if not os.fork():
        for node in ast.walk(ast.parse(textwrap.dedent(inspect.getsource(step)))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                exec(ast.unparse(node), {})
        print(json.dumps([step.__name__, [name for name, module in sys.modules.items() if module]]), flush=True)
        os._exit(0)
    os.wait()
"""


@pytest.fixture(scope="module")
def imported() -> dict[str, set[str]]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True
    )
    steps = map(json.loads, done.stdout.splitlines())
    return {step: SLOW & set(modules) for step, modules in steps}


def test_every_step_is_here(imported):
    assert imported.keys() == ALLOWED.keys()


@pytest.mark.parametrize("step", ALLOWED)
def test_a_step_imports_no_slow_library_that_it_does_without(imported, step):
    assert imported[step] <= ALLOWED[step]
