"""What is handed out: the wheel, the image, and the pages that carry the version."""

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
import yaml

from raymark import __version__

ROOT = Path(__file__).parents[2]
SOURCES = ("lib", "pyproject.toml", "README.md", "LICENSE")


def text_of(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def run(*command, folder):
    """Run a command as in a fresh shell: our own code is not on its path."""
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ------------------------------------------------------------------------------------- the wheel


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built of a copy of the sources by what is installed."""
    folder = tmp_path_factory.mktemp("wheel")
    skip = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name, **({"ignore": skip} if copy is shutil.copytree else {}))
    pip = (sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-index", "--no-build-isolation")
    run(*pip, "--quiet", "--wheel-dir", "dist", ".", folder=folder)
    (file,) = (folder / "dist").glob("*.whl")
    return file


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """The programs of a new environment that has the wheel; its dependencies are those of the tests."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder), folder=folder)
    pip = (sys.executable, "-m", "pip", f"--python={folder}/bin/python", "install", "--quiet")
    run(*pip, "--no-deps", "--no-index", str(wheel), folder=folder)
    (packages,) = folder.glob("lib/python*/site-packages")
    # A line of a .pth file adds a folder, but not what that folder's own .pth files name: an editable
    # installation of raymark there stays out of sight.
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin"


def test_the_wheel_holds_every_file_of_the_package(wheel):
    """Also those that are read at run time: label schemes, spectra, the page of the viewer."""
    found = {name for name in zipfile.ZipFile(wheel).namelist() if name.startswith("raymark/")}
    files = (p for p in (ROOT / "lib/raymark").rglob("*") if p.is_file())
    own = {str(p.relative_to(ROOT / "lib")) for p in files if p.parent.name != "__pycache__"}
    assert found == own
    assert "raymark/ct/labels/schemes/verse.csv" in found


def test_the_wheel_has_the_version(wheel, installed, tmp_path):
    assert wheel.name.startswith(f"raymark-{__version__}-")
    assert run(installed / "raymark", "--version", folder=tmp_path) == f"raymark {__version__}\n"


@pytest.mark.parametrize("arguments", [["--help"], ["predict", "--help"], ["register", "--help"]])
def test_what_is_installed_runs_in_any_folder(installed, tmp_path, arguments):
    assert "Usage: raymark" in run(installed / "raymark", *arguments, folder=tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_is_installed_reads_its_own_files(installed, tmp_path):
    code = (
        "import raymark; from raymark.ct.labels.names import SCHEMES, read_scheme;"
        "from raymark.rendering.physics import TUBE_SPECTRA; assert TUBE_SPECTRA.exists();"
        "print(raymark.__file__, *(len(read_scheme(scheme)) for scheme in SCHEMES))"
    )
    file, *counts = run(installed / "python", "-c", code, folder=tmp_path).split()
    assert Path(file).is_relative_to(installed.parent)
    assert all(int(count) > 0 for count in counts)


# ----------------------------------------------------------------------------------- the version


def test_the_version_stands_in_one_place_and_the_pages_agree():
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["version"] == __version__
    assert re.findall(r"^## (\S+)", text_of("CHANGELOG.md"), re.M)[0] == __version__
    project = text_of("pyproject.toml").split("[project]")[1].split("\n[")[0]
    assert 'dynamic = ["version"]' in project
    assert not re.search(r"^version\s*=", project, re.M)


def test_the_citation_has_what_its_format_requires():
    """Of the Citation File Format 1.2.0: authors, cff-version, message, title."""
    citation = yaml.safe_load(text_of("CITATION.cff"))
    assert citation["cff-version"] == "1.2.0"
    assert all(citation[key] for key in ("message", "title"))
    assert all(author.keys() & {"name", "family-names"} for author in citation["authors"])
    assert citation["license"] in text_of("pyproject.toml")


# --------------------------------------------------------------------------- the image, and hosts


def instructions() -> list[tuple[str, str]]:
    """Return the instructions of the image, continued lines in one."""
    lines = re.sub(r"^#.*\n", "", text_of("envs/Dockerfile"), flags=re.M).replace("\\\n", " ")
    return [tuple(line.split(None, 1)) for line in lines.splitlines() if line.strip()]


def test_the_image_installs_what_make_does():
    """The same files of pins, in the same order and the same way, for the same Python."""
    makefile = re.search(r"^\.venv/ready:.*\n((?:\t.+\n)+)", text_of("Makefile"), re.M)[1]
    wanted = re.findall(r"^\t\$\(PIP\) (.*-r .*)$", makefile, re.M)
    pips = [step for kind, text in instructions() if kind == "RUN" for step in text.split("&&")]
    found = re.findall(r"pip install --no-cache-dir \$\{PIP_ARGS\} (.*-r .*)", "\n".join(pips))
    assert [text.strip().replace("${TORCH}", "$(TORCH)") for text in found] == wanted
    assert instructions()[0] == ("FROM", "docker.io/library/python:3.11-slim-bookworm")
    assert "PYTHON ?= python3.11" in text_of("Makefile")


def test_the_image_copies_what_there_is_and_what_is_not_ignored():
    allowed = [
        line[1:].rstrip("/") for line in text_of(".dockerignore").splitlines() if line[:1] == "!"
    ]
    copied = [n for kind, text in instructions() if kind == "COPY" for n in text.split()[:-1]]
    assert sorted(name.rstrip("/") for name in copied) == sorted(allowed)
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_knows_its_instructions_and_keeps_no_lists_of_packages():
    known = {"FROM", "ARG", "RUN", "WORKDIR", "COPY", "ENV", "CMD"}
    assert {kind for kind, _ in instructions()} == known
    for kind, text in instructions():
        if kind == "RUN" and "apt-get install" in text:
            assert "apt-get update" in text
            assert text.rstrip().endswith("rm -rf /var/lib/apt/lists/*")


def test_the_public_host_runs_the_readmes_test_command():
    flow = yaml.safe_load(text_of(".github/workflows/test.yml"))
    steps = flow["jobs"]["test"]["steps"]
    assert [step["run"] for step in steps if "run" in step] == ["make test"]
    (python,) = [s for s in steps if "setup-python" in s.get("uses", "")]
    assert python["with"]["python-version"] == "3.11"
    assert flow["permissions"] == {"contents": "read"}


def test_the_catalogue_knows_how_software_is_deployed():
    usage = yaml.safe_load(text_of(".snakemake-workflow-catalog.yml"))["usage"]
    assert usage == {"software-stack-deployment": {"conda": True}, "report": True}
    rules = [
        text for file in (ROOT / "workflow/rules").glob("*.smk") for text in [file.read_text()]
    ]
    assert sum(text.count("\n    conda:") for text in rules) > 10
