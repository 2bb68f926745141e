"""Named sets of pairs: sums and dates are right, no question is in two parts, and captions are as published."""

import datetime
import gzip
import itertools
import os
import re

import pytest

from lstmjax.data import parallel_sets
from lstmjax.data.downloads import FOLDER
from lstmjax.data.parallel_sets import FIRST_DAY, FORMS, LAST_DAY, MULTI30K, TRANSLATION_SETS, addition, dates
from lstmjax.errors import InputError

STRPTIME = (
    *("%d %B %Y", "%d %b %Y", "%d %b %y", "%d %B '%y", "%d of %B %Y", "the %d of %B, %Y", "%B %d, %Y", "%b %d %Y"),
    *("%b. %d, %Y", "%A %B %d %Y", "%A, %d %B %Y", "%A, %B %d, %Y", "%a %d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%Y %B %d"),
    *("%Y/%m/%d", "%Y%m%d"),
)


def parts(splits):
    return [list(zip(part.source, part.target, strict=True)) for part in splits]


def parsed(text):
    """Every day that Python's own reader of dates takes a text for."""
    plain = re.sub(r"(\d)(st|nd|rd|th)\b", r"\1", text.lower())
    found = set()
    for form in STRPTIME:
        try:
            found.add(datetime.datetime.strptime(plain, form).date())
        except ValueError:
            continue
    return found


@pytest.mark.parametrize("digits", [1, 3, 5, 9])
def test_sums_are_right_and_in_one_part(digits):
    count = 20 if digits == 1 else 2000
    splits = addition(count, digits, seed=1)
    assert [part.pairs for part in splits] == [count, count // 10, count // 10]
    asked = [[tuple(map(int, question.split("+"))) for question, _ in part] for part in parts(splits)]
    for part, numbers in zip(parts(splits), asked, strict=True):
        assert [f"{a}+{b}" for a, b in numbers] == [question for question, _ in part]  # no zeros in front
        assert [a + b for a, b in numbers] == [int(answer) for _, answer in part]
    every = [tuple(sorted(pair)) for pair in itertools.chain(*asked)]
    assert len(set(every)) == len(every)
    assert min(map(min, every)) >= 0
    assert max(map(max, every)) < 10**digits


def test_parts_have_numbers_of_as_many_digits():
    train, *others = (
        [len(number) for question in part.source for number in question.split("+")] for part in addition(20_000)
    )
    for length, other in itertools.product(range(1, 6), others):
        share = train.count(length) / len(train)
        assert 0.15 < share < 0.25  # 0.2 each, less the zeros in front and the pairs drawn again
        assert abs(other.count(length) / len(other) - share) < 0.025


def test_dates_are_right_and_in_one_part():
    splits = dates(3000)
    assert [part.pairs for part in splits] == [3000, 300, 300]
    every = list(itertools.chain(*parts(splits)))
    assert len({text for text, _ in every}) == len(every)
    for text, answer in every:
        assert parsed(text) == {datetime.date.fromisoformat(answer)}, text
        assert FIRST_DAY.isoformat() <= answer <= LAST_DAY.isoformat()


def test_every_form_has_one_answer_on_every_day_of_a_year():
    for form, after in itertools.product(FORMS, range(366)):
        day = datetime.date(2004, 1, 1) + datetime.timedelta(days=after)
        text = parallel_sets._in_words(form, day)
        assert parsed(text) == {day}, text


@pytest.mark.parametrize(
    ("day", "written"),
    [
        ((1969, 1, 1), "the 1st of January, 1969"),
        ((2068, 12, 22), "the 22nd of December, 2068"),
        ((1979, 5, 3), "the 3rd of May, 1979"),
        ((2000, 2, 11), "the 11th of February, 2000"),
        ((2000, 2, 12), "the 12th of February, 2000"),
        ((2000, 9, 13), "the 13th of September, 2000"),
        ((2000, 9, 21), "the 21st of September, 2000"),
    ],
)
def test_days_are_counted_as_in_english(day, written):
    assert parallel_sets._in_words("the {day}{th} of {month}, {year}", datetime.date(*day)) == written


@pytest.mark.parametrize("made", [addition, dates])
def test_sets_follow_from_their_seed(made):
    assert made(50, seed=3) == made(50, seed=3)
    assert made(50, seed=3).train.source != made(50, seed=4).train.source
    assert [part.pairs for part in made(1)] == [1, 1, 1]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (lambda: addition(0), "count must be at least 1, got 0"),
        (lambda: addition(30, digits=1), "36 questions in all, and with digits=1 there can be 27"),
        (lambda: addition(10, digits=10), "digits must be .* 9, got 10"),
        (lambda: addition(10, seed=-1), "seed must be at least 0, got -1"),
        (lambda: dates(100_001), "count must be .* 100000, got 100001"),
        (lambda: dates(10, seed=-1), "seed must be at least 0, got -1"),
    ],
)
def test_what_can_not_be_made(make, sentence):
    with pytest.raises(ValueError, match=sentence):
        make()


def test_captions_are_read_from_the_folder_of_the_user(tmp_path, monkeypatch):
    monkeypatch.setenv("LSTMJAX_DATA", str(tmp_path))
    (tmp_path / "multi30k").mkdir()
    for part, side in itertools.product(MULTI30K, ("de", "en")):
        content = gzip.compress(f"{part} {side}\n".encode())
        (tmp_path / "multi30k" / f"{part}.{side}.gz").write_bytes(content)
    splits = TRANSLATION_SETS["multi30k-de-en"].read()
    assert parts(splits) == [[(f"{part} de", f"{part} en")] for part in MULTI30K]
    (tmp_path / "multi30k" / "val.de.gz").write_bytes(b"ein Hund\n")
    with pytest.raises(InputError, match=r"val\.de\.gz can't be read: Not a gzipped file"):
        TRANSLATION_SETS["multi30k-de-en"].read()


@pytest.mark.skipif(not os.environ.get(FOLDER), reason=f"{FOLDER} names no folder of data sets")
def test_captions_as_published():
    splits = TRANSLATION_SETS["multi30k-de-en"].read()
    assert [part.pairs for part in splits] == [29_000, 1014, 1000]
    assert [part.omissions for part in splits] == ["", "", ""]
    train = splits.train
    assert train.source[0] == "Zwei junge weiße Männer sind im Freien in der Nähe vieler Büsche."
    assert train.target[0] == "Two young, White males are outside near many bushes."
    assert sum(len(text.split()) for text in train.target) == 345_020
    assert sum(len(text.split()) for text in train.source) == 322_383
