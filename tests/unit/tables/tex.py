"""Sets LaTeX where a TeX with the packages that tables need is at hand."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGES = ("array", "booktabs", "longtable", "threeparttable")


def _missing() -> str:
    """Say what is not at hand to set a table with."""
    if not (shutil.which("pdflatex") and shutil.which("kpsewhich")):
        return "no pdflatex"
    files = [f"{name}.sty" for name in PACKAGES]
    found = subprocess.run(["kpsewhich", *files], capture_output=True, text=True).stdout
    return ", ".join(file for file in files if file not in found)


needs_tex = pytest.mark.skipif(bool(_missing()), reason=f"TeX: {_missing()}")


def complaints(body: str, folder: Path) -> list[str]:
    """Return what TeX says of a document: errors, what is wider or higher than the page."""
    (folder / "document.tex").write_text(
        rf"\documentclass{{article}}\usepackage{{{','.join(PACKAGES)}}}"
        rf"\begin{{document}}{body}\end{{document}}",
        encoding="utf-8",
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-no-shell-escape", "document.tex"]
    for _ in range(3):  # longtable learns its widths
        subprocess.run(command, cwd=folder, capture_output=True, timeout=60)
    log = (folder / "document.log").read_text(encoding="utf-8", errors="replace")
    wrong = re.findall(r"^(?:!.*|Overfull.*|.*too large for page.*)$", log, re.MULTILINE)
    return wrong if (folder / "document.pdf").exists() else [*wrong, "no PDF"]
