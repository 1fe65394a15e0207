"""A digest changes with what code does, its own and what it imports, and with nothing else."""

import pytest

from raymark.core import digests
from raymark.core.digests import code_digest


@pytest.fixture
def edited(tmp_path, monkeypatch):
    """Return a function that gives a module another text, for the digests alone."""
    real = digests._path

    def edit(module: str, before: str, after: str) -> None:
        text = real(module).read_text()
        assert before in text
        file = tmp_path / f"{len(list(tmp_path.iterdir()))}.py"
        file.write_text(text.replace(before, after, 1))
        monkeypatch.setattr(digests, "_path", lambda name: file if name == module else real(name))

    return edit


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("import numpy as np", "import numpy as np  # for arrays"),
        ("import numpy as np", "\n\n\nimport numpy as np"),
        ('"""', '"""Said in other words. '),
    ],
)
def test_comments_docstrings_and_layout_change_nothing(before, after, edited):
    digest = code_digest("raymark.geometry.camera")
    edited("raymark.geometry.camera", before, after)
    assert code_digest("raymark.geometry.camera") == digest


def test_the_description_of_a_key_changes_nothing_but_its_default_does(edited):
    digest = code_digest("raymark.methods.cpm")
    edited("raymark.methods.cpm", 'description="', 'description="as told, ')
    assert code_digest("raymark.methods.cpm") == digest
    edited("raymark.methods.cpm", "Field(6,", "Field(5,")
    assert code_digest("raymark.methods.cpm") != digest


def test_a_changed_number_changes_what_imports_it_and_nothing_else(edited):
    views, seeds = code_digest("raymark.views.plan"), code_digest("raymark.core.seeds")
    edited("raymark.geometry.camera", "import numpy as np", "import numpy as np\n\nX = 1")
    assert code_digest("raymark.views.plan") != views
    assert code_digest("raymark.core.seeds") == seeds


def test_what_only_checks_a_configuration_changes_nothing(edited):
    cts, shards = code_digest("raymark.ct"), code_digest("raymark.rendering.scene")
    edited("raymark.projectors", "import sys", "import sys\n\nX = 1")
    assert code_digest("raymark.ct") == cts  # by way of the data set's section alone
    assert code_digest("raymark.rendering.scene") != shards


def test_digests_are_of_all_modules_named():
    both = code_digest("raymark.core.seeds", "raymark.core.files")
    assert len({both, code_digest("raymark.core.seeds"), code_digest("raymark.core.files")}) == 3
    assert both == code_digest("raymark.core.files", "raymark.core.seeds")


def test_a_module_that_is_not_there_is_told_by_name():
    with pytest.raises(ModuleNotFoundError, match=r"raymark\.methods\.resnet"):
        code_digest("raymark.training.train", "raymark.methods.resnet")
