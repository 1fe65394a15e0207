"""Who is left out of what a data set names, and that nothing is silently smaller."""

import pytest

from raymark import layout
from raymark.config.subjects import Subject
from raymark.core.errors import InputError
from raymark.core.left_out import is_left_out, write_left_out
from raymark.datasets.taking_part import (
    refused,
    told,
    verdict_files,
    without_excluded,
    without_refused,
    write_verdict,
)
from tests.unit.datasets.test_available import project

SPLITS = {"a": "train", "b": "train", "c": "test"}


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """A data set of two subjects to train on and one to test on, in an empty working folder."""
    monkeypatch.chdir(tmp_path)
    return in_sheet(monkeypatch)


def in_sheet(monkeypatch, **exclude):
    rows = {
        name: Subject(name, name, "ct", "points", "", split, exclude=exclude.get(name, ""))
        for name, split in SPLITS.items()
    }
    monkeypatch.setattr("raymark.config.project.read_subjects", lambda _: rows)
    return project("images", subjects=tuple(SPLITS))


def judge(**reasons):
    for subject, reason in reasons.items():
        write_verdict(layout.VERDICT.format(dataset="pelvis", subject=subject), reason)


def test_without_verdicts_all_take_part(asked):
    assert without_refused(asked, ["pelvis"]) == asked
    assert without_excluded(asked) == asked


def test_a_refused_ct_is_left_out_of_its_data_set_with_the_reason(asked):
    judge(a="", b="b.nii: is no CT. Export it again", c="")
    kept = without_refused(asked, ["pelvis", "an_import"])
    assert kept.datasets["pelvis"].subjects == ["a", "c"]
    assert kept.left_out == {"pelvis": {"b": "b.nii: is no CT. Export it again"}}
    assert without_refused(asked, []) == asked


def test_a_split_of_which_every_ct_is_refused_is_an_error(asked):
    judge(a="one", b="two")
    with pytest.raises(
        InputError, match=r"^data set pelvis: every CT of the split 'train' .*; a: one"
    ):
        without_refused(asked, ["pelvis"])


def test_who_is_excluded_in_the_sheet_is_left_out_and_may_be_refused_too(asked, monkeypatch):
    project = without_excluded(in_sheet(monkeypatch, a="moved"))
    assert project.datasets["pelvis"].subjects == ["b", "c"]
    judge(c="", b="")
    assert without_refused(project, ["pelvis"]).left_out == {"pelvis": {"a": "excluded: moved"}}
    judge(b="broken")  # the only one left to train on
    with pytest.raises(InputError, match="split 'train'"):
        without_refused(project, ["pelvis"])


def test_a_sheet_may_not_exclude_everybody(asked, monkeypatch):
    with pytest.raises(InputError, match="column exclude: excludes every subject of the data set"):
        without_excluded(in_sheet(monkeypatch, a="x", b="x", c="x"))


def test_one_line_for_each_subject_and_reason():
    assert told({"p": {"a": "x", "b": "y"}, "q": {"a": "x"}}) == [
        "Left out of p, q: a: x",
        "Left out of p: b: y",
    ]


def test_a_virtual_patient_has_its_parents_verdict(asked):
    files = verdict_files("pelvis", ["a", "a-v001", "b-v002"])
    assert files == [f"results/volumes/pelvis/{s}/verdict.json" for s in "ab"]
    judge(a="no CT")
    assert refused(asked, ["pelvis"]) == {"pelvis": {"a": "no CT"}}


def test_a_line_in_the_place_of_a_file_is_known_from_data(tmp_path):
    write_left_out(tmp_path / "ct.nii.gz", "of no use")
    assert (tmp_path / "ct.nii.gz").read_text() == "raymark: left out: of no use\n"
    (tmp_path / "empty").touch()
    assert [is_left_out(tmp_path / name) for name in ("ct.nii.gz", "empty")] == [True, False]
