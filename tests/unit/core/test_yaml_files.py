"""YAML that anyone may have written: refused in one line, at once, whatever it asks for."""

import pytest

from raymark.config.dataset import Dataset
from raymark.core.errors import InputError
from raymark.core.sections import checked
from raymark.core.yaml_files import read_yaml
from tests.unit.config.test_project import DATASET

BOMB = "a0: &a0 [1, 1]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 9)
)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("title: 2024-13-45", "not what it looks like"),
        ("title: 0x_", "not what it looks like"),
        ("title: !!int foo", "not what it looks like"),
        ("title: !!timestamp foo", "not what it looks like"),
        ("title: !!bool foo", "not what it looks like"),
        (f"title: {'9' * 5000}", "more than 3000 characters"),
        (f"title: {'[' * 100_000}", "more than 50 deep"),
        ("- " * 100_000, "more than 50 deep"),
        (BOMB, "more than 100000 values"),
        ("a: &a [*a]", "inside itself"),
        ("a: *b", "undefined alias"),
        (r'subjects: "a\0b"', "zero byte"),
        (f"a: b\n#{'x' * 10**6}", "more than 1 MB"),
    ],
)
def test_a_file_that_asks_for_too_much_is_refused(tmp_path, text, problem):
    path = tmp_path / "d.yaml"
    path.write_text(text)
    with pytest.raises(InputError, match=problem) as raised:
        read_yaml(path)
    assert len(str(raised.value)) < 1000


def test_aliases_may_stay(tmp_path):
    path = tmp_path / "d.yaml"
    path.write_text("a: &a {x: 1}\nb: {<<: *a, y: 2}")
    assert read_yaml(path) == {"a": {"x": 1}, "b": {"x": 1, "y": 2}}


@pytest.mark.parametrize(
    "sampling",
    [
        {"kind": "sphere", "count": 10**14},
        {"kind": "orbit", "count": 10**14},
        {"kind": "grid", "step_deg": 1e-9},
        {"kind": "grid", "step_deg": float("inf")},
        {"kind": "orbit", "count": 1, "secondary_deg": float("nan")},
        {"kind": "box", "count": "x" * 10**6},
    ],
)
def test_views_without_end_are_refused(sampling):
    view_sets = {"train": {"of": "train", "role": "train", "sampling": sampling}}
    with pytest.raises(InputError, match=r"view_sets\.train\.sampling") as raised:
        checked(Dataset, DATASET | {"view_sets": view_sets}, "d.yaml")
    assert len(str(raised.value)) < 1000
