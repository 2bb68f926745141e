"""Our layers compute what other libraries' do with the same weights: outputs, final states and every gradient.

`python -m experiments.parity` measures all of `CASES`; here are those that cover the rest: each library's hardest form,
two directions with padding and holes where it has them, and stacks. The command compiles in full, tests do not.
"""

import pytest

from experiments.parity.__main__ import page
from experiments.parity.cases import BARS, CASES, LIBRARIES, STACKED, Case
from experiments.parity.measuring import Difference


def is_telling(case: Case) -> bool:
    hardest = LIBRARIES[case.library].forms[-1]
    has_stacks = case.library in ("torch", "keras")  # of their own; elsewhere two layers are two calls
    return case.form is hardest or (case.dtype == "float64" and case.form is STACKED and has_stacks)


def parameter(case):
    library = LIBRARIES[case.library]
    absent = pytest.mark.skipif(library.version is None, reason=f"{library.distribution} is not installed")
    return pytest.param(case, id=str(case), marks=absent)


@pytest.mark.parametrize("case", [parameter(case) for case in CASES if is_telling(case)])
def test_outputs_states_and_gradients_are_theirs(case):
    difference = case.measure()
    assert max(difference) <= BARS[case.dtype], difference


def test_the_page_has_a_row_for_each_library_cell_and_form():
    measured = {case: Difference(1e-8, 2e-8, 3e-8) for case in CASES if case.library == "nnx"}
    rows = [line for line in page(["nnx"], measured).splitlines() if line.startswith("| Flax nnx")]
    assert len(rows) == len(measured) / len(BARS)
    assert rows[0].count("e-08") == 6
