"""The reference has every public name, and names in docstrings are names."""

import importlib
import inspect
import pkgutil
import re
import types
from pathlib import Path

import pytest

import lstmjax as lx

REFERENCE = Path(__file__).parents[1] / "docs" / "reference"
ROOMS = [name for name in lx.__all__ if isinstance(getattr(lx, name), types.ModuleType)]


def public_names(room):
    """A room's `__all__`, or the classes and functions that it defines."""
    calls = {name: value for name, value in vars(room).items() if inspect.isclass(value) or inspect.isroutine(value)}
    own = [name for name, value in calls.items() if value.__module__ == room.__name__ and not name.startswith("_")]
    return getattr(room, "__all__", own)


def shown_by_its_room(room, name):
    """Whether `::: room` shows it: what has a docstring, and no file beside it with the same name."""
    value = getattr(room, name)
    documented = (inspect.isclass(value) or inspect.isroutine(value)) and inspect.getdoc(value)
    return documented and not (Path(room.__file__).parent / f"{name}.py").exists()


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_has_a_page_with_every_name(room):
    page, module = (REFERENCE / f"{room}.md").read_text(), importlib.import_module(f"lstmjax.{room}")
    assert f"\n::: lstmjax.{room}\n" in page
    hidden = [name for name in public_names(module) if not shown_by_its_room(module, name)]
    assert [name for name in hidden if f"{{#lstmjax.{room}.{name}}}" not in page and f"`{name}`" not in page] == []


def test_the_first_page_has_every_name_at_the_top():
    page = (REFERENCE / "index.md").read_text()
    anchors = re.findall(r"^\[\]\(\)\{#lstmjax\.(\w+)\}$", page, re.MULTILINE)
    assert set(lx.__all__) <= {*anchors, *re.findall(r"`(\w+)`", page)}


def test_names_in_docstrings_are_names():
    """`lstmjax.unroll` in a docstring is a link in the reference."""
    texts = [path.read_text() for path in (REFERENCE.parents[1] / "lstmjax").rglob("*.py")]
    for name in sorted({name for text in texts for name in re.findall(r"`(lstmjax(?:\.\w+)+)`", text)}):
        pkgutil.resolve_name(name)
