"""The command line: which configuration a step by hand reads, and how mistakes are told."""

from pathlib import Path

import pytest

from raymark import cli
from tests.workflow.conftest import make_project

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "step", [["ingest", "hip", "ball_patient"], ["ingest", "balls", "ann"], ["views", "hip"],
             ["train", "balls", "ann", "0"], ["train", "hip", "narrow", "0"]]
)  # fmt: skip
def test_a_name_of_another_configuration_tells_which_was_read(step, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(make_project(tmp_path / "p").folder)
    assert cli.main([*step, "--config", "config.yaml"]) == 1
    error = capsys.readouterr().err
    assert "is not known in config.yaml. Known: " in error
    assert "`--config FILE`" in error


def test_an_empty_variable_is_no_configuration(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("RAYMARK_CONFIG", "")
    assert cli.main(["ingest", "hip", "ann"]) == 1
    assert "is not known in config/config.yaml" in capsys.readouterr().err


def test_the_users_first_configuration_is_whole(monkeypatch, capsys):
    """By hand it is read alone, without the demo's beneath."""
    monkeypatch.chdir(ROOT)
    assert cli.main(["ingest", "pelvis", "ann", "--config", "config/own.yaml"]) == 1
    assert "subject 'ann': is not known in config/own.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("raised", "told"),
    [
        (FileExistsError(17, "File exists", "out/a"), "out/a: File exists. Check the path, "),
        (IsADirectoryError(21, "Is a directory", ".t/m", None, "m"), "m: Is a directory. Check "),
        (OSError("no more"), "OSError: no more"),
        (MemoryError("Unable to allocate\n9 GB"), "MemoryError: Unable to allocate 9 GB"),
        (RecursionError("too deep"), "RecursionError: too deep"),
        (OverflowError("too large"), "OverflowError: too large"),
    ],
)
def test_what_the_machine_refuses_is_told_in_one_line(raised, told, monkeypatch, capsys):
    def refuse(*_):
        raise raised

    monkeypatch.setattr("raymark.detection.onnx_file.export_onnx", refuse)
    assert cli.main(["export", "a", "b"]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"raymark export: {told}")
    assert error.count("\n") == 1


@pytest.mark.parametrize("seed", ["-1", str(2**32), str(10**30), "9" * 5000, "x"])
def test_a_seed_that_no_generator_takes_is_refused(seed, capsys):
    assert cli.main(["train", "hip", "ann", "--", seed]) == 2
    assert "seed" in capsys.readouterr().err
