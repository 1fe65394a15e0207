"""Where Numba keeps compiled kernels: beside the library, as ever, unless nobody may write there."""

import os
import tempfile
from pathlib import Path

LIBRARY = Path(__file__).parents[1]


def place_kernels() -> None:
    """Name a folder of this user's for kernels where the library's own is not writable; set by hand, leave it.

    Numba itself would use the home, and fail where that is not writable either. To be called before it
    is imported.
    """
    if "NUMBA_CACHE_DIR" in os.environ or os.access(LIBRARY, os.W_OK):
        return
    folder = Path(tempfile.gettempdir(), f"raymark-kernels-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.is_symlink() or folder.stat().st_uid != os.getuid():  # what it holds is run
        folder = Path(tempfile.mkdtemp(prefix="raymark-kernels-"))
    os.environ["NUMBA_CACHE_DIR"] = str(folder)
