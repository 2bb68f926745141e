"""The README keeps its word: its example runs, its commands come first, and every file has its place."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
ROOMS = sorted(page.parent for top in ("lstmjax", "experiments") for page in (ROOT / top).glob("**/__init__.py"))


def test_the_library_example_runs():
    [example] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    names = {}
    exec(example, names)
    assert names["ys"].shape == (4, 10, 32)


def test_the_first_two_shell_blocks_are_one_command_each():
    run, test = re.findall(r"```sh\n(.*?)```", README, re.DOTALL)[:2]
    assert run.count("\n") == test.count("\n") == 1
    assert "-m experiments.train" in run
    assert "-m pytest" in test


def names_in(room):
    """A room's files and the rooms inside it, but for the page that speaks of them."""
    inside = [path.parent.name + "/" for path in room.glob("*/__init__.py")]
    return inside + [path.name for path in room.glob("*.py") if path.name != "__init__.py"]


@pytest.mark.parametrize("top", ["lstmjax", "experiments"])
def test_every_room_has_its_line(top):
    rooms = {
        f"{page.parent.relative_to(ROOT)}/"
        for page in [ROOT / top / "__init__.py", *(ROOT / top).glob("*/__init__.py")]
    }
    assert rooms <= set(re.findall(r"`([^`\n]+)`", README))


@pytest.mark.parametrize("room", ROOMS, ids=[str(room.relative_to(ROOT)) for room in ROOMS])
def test_every_room_says_what_is_in_it(room):
    page = ast.get_docstring(ast.parse((room / "__init__.py").read_text()))
    named = re.findall(r"^- `([^`]+)`: .", page, re.MULTILINE)
    assert sorted(named) == sorted(names_in(room))


def test_it_is_short():
    assert README.count("\n") <= 120
