"""Docstrings as lstmjax writes them, for the reference: what Markdown and Google's style would not see.

- Doctests become blocks of code.
- A room's list of its files is left out.
- Arguments explained together, "lengths, mask: ...", become one entry each, so that misspelt ones are still found.
- The fields of a named tuple are the arguments that make one.
- `lstmjax.unroll` in backticks becomes a link, if it is on the site.
"""

import re
from typing import Any

import griffe

EXAMPLE = re.compile(r"^>>> .*(?:\n(?!\n).+)*", re.MULTILINE)
SEVERAL = re.compile(r"^( +)(\w+(?:, \w+)+):((?: .*)?(?:\n\1 +\S.*)*)", re.MULTILINE)
FILE = re.compile(r"^- `\w+(?:\.py|/)`: .*\n?", re.MULTILINE)
NAME = re.compile(r"`(lstmjax(?:\.\w+)+)`")


def for_the_site(text: str) -> str:
    """A docstring with its examples fenced, its arguments one by one, its names linked, and no files."""
    text = FILE.sub("", text)
    text = SEVERAL.sub(lambda m: "\n".join(f"{m[1]}{name}:{m[3]}" for name in m[2].split(", ")), text)
    text = NAME.sub(r'<autoref identifier="\1" optional><code>\1</code></autoref>', text)
    return EXAMPLE.sub(lambda m: f"```pycon\n{m[0]}\n```", text)


class Docstrings(griffe.Extension):
    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            obj.docstring.value = for_the_site(obj.docstring.value)

    def on_class(self, *, cls: griffe.Class, **_: Any) -> None:
        if any(str(base).endswith("NamedTuple") for base in cls.bases) and "__init__" not in cls.members:
            cls.set_member("__init__", making(cls))


def making(cls: griffe.Class) -> griffe.Function:
    """The call that makes a named tuple: its fields in order."""
    fields = [field for field in cls.attributes.values() if "instance-attribute" in field.labels or field.annotation]
    by_position = griffe.ParameterKind.positional_or_keyword
    parameters = [griffe.Parameter("self", kind=by_position)] + [
        griffe.Parameter(field.name, annotation=field.annotation, default=field.value, kind=by_position)
        for field in fields
    ]
    return griffe.Function("__init__", parameters=griffe.Parameters(*parameters), parent=cls)
