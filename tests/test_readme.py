"""The README keeps its word: its example runs, its commands come first, and it has a place for every file."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


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


def test_every_file_is_listed():
    files = [path for room in ("lstmjax", "experiments") for path in (ROOT / room).rglob("*.py")]
    assert files
    assert [path.name for path in files if path.name != "__init__.py" and f"{path.name}`" not in README] == []


def test_it_is_short():
    assert README.count("\n") <= 120
