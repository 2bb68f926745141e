"""The examples in docs/training.md run, and do what they say."""

import re
from pathlib import Path

import pytest

BLOCKS = re.findall(r"```python\n(.*?)```", (Path(__file__).parents[1] / "docs" / "training.md").read_text(), re.DOTALL)
pytestmark = pytest.mark.usefixtures("lenient_promotion")


def run(example):
    names = {}
    exec(example, names)
    return names


def test_a_loop_of_ones_own_learns():
    losses = run(BLOCKS[0])["losses"]
    assert losses[-1] < 0.1 * losses[0]


def test_fit_trains_a_model_that_is_not_ours():
    names = run(BLOCKS[1])
    assert names["figures"]["loss"] < 0.5 * names["y"][200:].var()
    assert names["state"].other["norm"]["mean"].any()
