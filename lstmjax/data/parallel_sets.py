"""Named sets of questions and answers, sentences and translations, with their splits.

>>> sorted(TRANSLATION_SETS)
['addition', 'dates', 'multi30k-de-en']
"""

import datetime
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from lstmjax import checks
from lstmjax.data.downloads import Parts, find
from lstmjax.data.parallel import ParallelText, read_parallel


class TranslationSet(NamedTuple):
    """A set: `read` gives its pairs; `source` says where they are from, and their terms.

    >>> TRANSLATION_SETS["dates"].read().train.source[0]
    'saturday, 24 january 2054'
    """

    read: Callable[[], Parts[ParallelText]]
    source: str


def multi30k() -> Parts[ParallelText]:
    """German captions of photographs and their English translations; the test part is that of 2016.

    Raises:
      InputError: a file that is not there and can't be downloaded, see `downloads.find`, or is something else.
    """
    files = [[find(f"multi30k/{part}.{side}.gz") for side in ("de", "en")] for part in MULTI30K]
    return Parts(*(read_parallel(*pair) for pair in files))


MULTI30K = ("train", "val", "test_2016_flickr")
"""How its parts are called."""


def addition(count: int = 300_000, digits: int = 5, seed: int = 0) -> Parts[ParallelText]:
    """Sums to be worked out character by character: "12345+678" becomes "13023".

    Numbers are drawn with 1 to `digits` digits, each count as likely, and zeros in front are then left out. Two numbers
    that came before, in whichever order, are drawn again, so no question is in two parts.

    Args:
      count: how many to train on; a tenth as many each, from 1 to 5000, are there to validate and to test.
      digits: 1 to 9.
      seed: at least 0.

    Raises:
      ValueError: more questions than half the pairs of numbers there are.

    Source: https://keras.io/examples/nlp/addition_rnn.

    >>> splits = addition(20, digits=2)
    >>> splits.test.source, splits.test.target
    (['4+8', '4+44'], ['12', '48'])
    """
    sizes = _sizes(count)
    largest = 10 ** checks.index("digits", digits, 1, 9)
    most = largest * (largest + 1) // 4
    if sum(sizes) > most:
        raise ValueError(
            f"count must be lower: {sum(sizes)} questions in all, and with digits={digits} there can be {most}"
        )
    generator = np.random.default_rng(checks.index("seed", seed, 0))
    pairs = np.empty((0, 2), np.int64)
    while len(pairs) < sum(sizes):
        upper = 10 ** generator.integers(1, digits + 1, (2 * sum(sizes), 2))
        pairs = _first_of_each(np.concatenate([pairs, generator.integers(0, upper)]))
    chosen = generator.permutation(pairs[: sum(sizes)]).tolist()  # the short ones came early
    return _cut("addition", [(f"{a}+{b}", f"{a + b}") for a, b in chosen], sizes)


def _first_of_each(pairs: np.ndarray) -> np.ndarray:
    """The pairs, integers [N, 2], without those that came before in whichever order."""
    _, first = np.unique(np.sort(pairs, axis=1), axis=0, return_index=True)
    return pairs[np.sort(first)]


MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
FORMS = (
    "{day} {month} {year}",
    "{day} {mon} {year}",
    "{day} {mon} {yy}",
    "{day} {month} '{yy}",
    "{day}{th} {month} {year}",
    "{day}{th} of {month} {year}",
    "the {day}{th} of {month}, {year}",
    "{month} {day}, {year}",
    "{month} {day}{th}, {year}",
    "{mon} {day} {year}",
    "{mon}. {day}, {year}",
    "{weekday} {month} {day} {year}",
    "{weekday}, {day} {month} {year}",
    "{weekday}, {month} {day}{th}, {year}",
    "{wday} {day} {mon} {year}",
    "{day}-{mon}-{year}",
    "{day}-{mon}-{yy}",
    "{year} {month} {day}",
    "{year}/{mm}/{dd}",
    "{year}{mm}{dd}",
)
"""How a date may be written: no form has two answers, so none has a day and a month in numbers before the year."""
FIRST_DAY, LAST_DAY = datetime.date(1969, 1, 1), datetime.date(2068, 12, 31)
"""A hundred years, so that two digits are one of them, as POSIX has it: 69 to 99 is 1969 on, 00 to 68 is 2000 on."""


def dates(count: int = 20_000, seed: int = 0) -> Parts[ParallelText]:
    """Dates as people write them in English, to be written as ISO 8601 does: "May 3rd, 1979" becomes "1979-05-03".

    Days from 1969 to 2068 in one of `FORMS`, each as likely, with capitals as usual, in lower or in upper case. No text
    comes twice; a day does, in other forms, and may so be in two parts.

    Args:
      count: how many to train on, at most 100000; a tenth as many each, from 1 to 5000, are there to validate and to
        test.
      seed: at least 0.

    Raises:
      TypeError, ValueError: a number that is not whole, or out of range.

    >>> splits = dates(20)
    >>> splits.test.source, splits.test.target
    (['SUN 22 NOV 2026', 'July 15, 2021'], ['2026-11-22', '2021-07-15'])
    """
    checks.index("count", count, 1, 100_000)
    sizes = _sizes(count)
    found: dict[str, str] = {}
    for text, day in _written(np.random.default_rng(checks.index("seed", seed, 0))):
        found[text] = day.isoformat()
        if len(found) == sum(sizes):
            break
    return _cut("dates", list(found.items()), sizes)


def _written(generator: np.random.Generator) -> Iterator[tuple[str, datetime.date]]:
    """Days and how they may be written, without end."""
    cases: Sequence[Callable[[str], str]] = (str, str.lower, str.upper)
    highs = (LAST_DAY.toordinal() - FIRST_DAY.toordinal() + 1, len(FORMS), len(cases))
    while True:
        for after, form, case in generator.integers(0, highs, (1000, 3)).tolist():
            day = FIRST_DAY + datetime.timedelta(days=after)
            yield cases[case](_in_words(FORMS[form], day)), day


def _in_words(form: str, day: datetime.date) -> str:
    """A day in one of `FORMS`; in English whatever the language of the machine is."""
    month, weekday = MONTHS[day.month - 1], WEEKDAYS[day.weekday()]
    return form.format(
        day=day.day,
        dd=f"{day.day:02}",
        th="th" if day.day in (11, 12, 13) else {1: "st", 2: "nd", 3: "rd"}.get(day.day % 10, "th"),
        month=month,
        mon=month[:3],
        mm=f"{day.month:02}",
        year=day.year,
        yy=f"{day.year % 100:02}",
        weekday=weekday,
        wday=weekday[:3],
    )


def _sizes(count: int) -> tuple[int, int, int]:
    checks.positive_int("count", count)
    held_out = min(max(1, count // 10), 5000)
    return count, held_out, held_out


def _cut(name: str, pairs: Sequence[tuple[str, str]], sizes: tuple[int, int, int]) -> Parts[ParallelText]:
    """Made-up pairs as texts; their lines are counted from 1 in each part."""
    parts, first = [], 0
    for size in sizes:
        source, target = map(list, zip(*pairs[first : first + size], strict=True))
        parts.append(ParallelText(source, target, list(range(1, size + 1)), name, name, []))
        first += size
    return Parts(*parts)


TRANSLATION_SETS: dict[str, TranslationSet] = {
    "multi30k-de-en": TranslationSet(
        multi30k,
        "captions of photographs, German and English, 29000, 1014 and 1000 pairs: Elliott et al., Multi30K: "
        "multilingual English-German image descriptions (2016), https://github.com/multi30k/dataset; no licence "
        "stated, for research and education",
    ),
    "addition": TranslationSet(
        addition,
        "made up: sums of two numbers of up to five digits, 300000, 5000 and 5000 questions, after "
        "https://keras.io/examples/nlp/addition_rnn",
    ),
    "dates": TranslationSet(dates, "made up: dates as people write them in English, 20000, 2000 and 2000 of them"),
}
"""The sets by their names."""
