"""Each foreign file comes out right; docs/measurements/foreign_files.md tables them."""

import pytest

from tests.foreign.case import Case
from tests.foreign.proof import came_out, cases


@pytest.mark.parametrize("case", list(cases()), ids=lambda case: f"{case.kind}: {case.given}"[:80])
def test_what_comes_out_is_right(case: Case):
    out, right = came_out(case)
    assert right, f"expected {case.expected}; came out {out}"
