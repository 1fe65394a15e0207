"""docs/adding-a-projector.md keeps its word: its file, as printed, is a projector as good as any."""

import re
import runpy
import sys
from pathlib import Path

import pytest

from raymark import projectors
from raymark.config import dataset
from raymark.core.errors import InputError
from raymark.core.sections import checked
from tests.unit.config.test_project import DATASET
from tests.unit.projectors import test_beads, test_contract
from tests.unit.projectors.examples import COARSE_GRIDS, VIEWS

PAGE = Path(__file__).parents[3] / "docs/adding-a-projector.md"


@pytest.fixture(autouse=True)
def mine(tmp_path, monkeypatch):
    """The page's file, found like those of the package."""
    printed = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.S)[1]
    (tmp_path / "mine.py").write_text(printed)
    monkeypatch.setattr(projectors, "__path__", [*projectors.__path__, str(tmp_path)])
    yield
    sys.modules.pop("raymark.projectors.mine", None)


@pytest.mark.parametrize("name", ["RAS", "oblique"])
def test_a_cube_of_ones_is_as_deep_as_it_is(name):
    test_contract.test_a_ray_through_a_cube_of_ones_measures_its_length("mine", name)


@pytest.mark.parametrize("name", COARSE_GRIDS)
def test_its_line_integrals(name):
    test_contract.test_line_integrals_of_ellipsoids("mine", name)


@pytest.mark.parametrize("name", ["LPS", "ASR-oblique"])
def test_beads_are_where_they_are_projected(name):
    test_beads.test_beads_over_the_view_sphere("mine", name)


def test_it_keeps_the_contract():
    test_contract.test_materials_do_not_mix_and_add_up("mine")
    test_contract.test_negative_density_is_the_negative_image("mine")
    test_contract.test_threads_side_by_side_change_no_bit("mine")
    test_contract.test_a_source_inside_the_volume_sees_what_lies_before_it("mine")
    test_contract.test_a_volume_behind_the_source_is_not_seen("mine", -400.0)
    test_contract.test_a_part_of_the_detector_sees_its_part_of_the_image("mine", VIEWS[3])
    test_contract.test_rays_that_miss_are_exactly_zero("mine", VIEWS[3])


def test_a_data_set_may_name_it():
    fresh = runpy.run_path(dataset.__file__)["Dataset"]  # as the next process builds it
    assert checked(fresh, DATASET | {"projector": "mine"}, "d.yaml").projector == "mine"
    assert checked(fresh, DATASET, "d.yaml").projector == "shearwarp"
    assert "mine" in fresh.model_json_schema()["properties"]["projector"]["enum"]
    with pytest.raises(InputError, match=r"d\.yaml: projector: .*'joseph', 'mine', .*'magic'"):
        checked(fresh, DATASET | {"projector": "magic"}, "d.yaml")
