"""Times: how they are written, how regular ones follow one another, and where they stand in day, week and year."""

import datetime
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmjax import checks
from lstmjax.errors import InputError

SECOND = 10**6
MINUTE, HOUR, DAY, WEEK, YEAR = 60 * SECOND, 3600 * SECOND, 86400 * SECOND, 7 * 86400 * SECOND, 365 * 86400 * SECOND
"""Lengths in microseconds, as all steps here."""

MONTHS = ("months", "month ends")
UNITS = {
    "s": ("step", SECOND),
    "min": ("step", MINUTE),
    "h": ("step", HOUR),
    "D": ("step", DAY),
    "W": ("step", WEEK),
    "B": ("business days", 1),
    "M": ("months", 1),
    "Q": ("months", 3),
    "Y": ("months", 12),
}
"""What a frequency is written with: seconds, minutes, hours, days, weeks, business days, months, quarters, years."""

NAMES = {
    "step": ((WEEK, "week"), (DAY, "day"), (HOUR, "hour"), (MINUTE, "minute"), (SECOND, "second"), (1, "microsecond")),
    "months": ((12, "year"), (3, "quarter"), (1, "month")),
    "month ends": ((12, "year end"), (3, "quarter end"), (1, "month end")),
    "business days": ((1, "business day"),),
    "rows": ((1, "row"),),
}
WRITTEN = re.compile(rf"(\d{{0,6}})({'|'.join(UNITS)})", re.ASCII)
PARTIAL = re.compile(r"(\d{4})(?:-(\d\d)|-?Q([1-4]))?", re.ASCII)


def parse_time(cell: str, time_format: str | None = None) -> datetime.datetime | None:
    """The time that a cell writes, with its zone if it has one, or None.

    Args:
      cell: a time of ISO 8601 ("2016-07-01 00:00:00", "2016-07-01T00:00Z", "2016-07-01"), a month ("1749-01"), a
        quarter ("2020Q1", "2020-Q1") or a year ("1949"), all by their first moment. Blanks around it are dropped.
      time_format: how it is written instead, as `datetime.strptime` takes it: "%d.%m.%Y %H:%M".

    >>> print(parse_time("2016-07-01T12:30"), parse_time("2020-Q2"), parse_time("1.7.2016"))
    2016-07-01 12:30:00 2020-04-01 00:00:00 None
    >>> print(parse_time("1.7.2016", "%d.%m.%Y"))
    2016-07-01 00:00:00
    """
    written = cell.strip()
    try:
        if time_format is not None:
            return datetime.datetime.strptime(written, time_format)
        partial = PARTIAL.fullmatch(written)
        if partial is None:
            return datetime.datetime.fromisoformat(written)
        year, month, quarter = partial.groups()
        return datetime.datetime(int(year), int(month or 3 * int(quarter or 1) - 2), 1)
    except ValueError:
        return None


class Frequency(NamedTuple):
    """How regular times follow one another; from and to JSON as the list of its two fields.

    Times are datetime64[us], or int64 for row numbers.

    Args:
      unit: "step": always as long; "months": on the same day of the month (on its last where it has no such day) at the
        same time of day; "month ends": on the last day of the month; "business days": Monday to Friday; "rows": no
        times, rows have numbers.
      every: a step in microseconds, or how many months; 1 for business days and rows.

    >>> quarters = Frequency("month ends", 3)
    >>> print(quarters, quarters.season, quarters.after(np.datetime64("2020-03-31", "us"), 2).astype("M8[D]"))
    1 quarter end 4 ['2020-06-30' '2020-09-30']
    """

    unit: str
    every: int = 1

    def moved(self, time: Any, steps: np.ndarray) -> np.ndarray:
        """The times [N] that stand integer `steps` [N] after `time`, before it where they are negative."""
        if self.unit == "rows":
            return np.asarray(time + steps, np.int64)
        if self.unit == "step":
            return np.asarray(time + steps * np.timedelta64(self.every, "us"))
        day = time.astype("M8[D]")
        if self.unit == "business days":
            return np.asarray(np.busday_offset(day, steps, roll="backward") + (time - day))
        month = time.astype("M8[M]") + np.asarray(self.every * steps, "m8[M]")
        last = (month + np.timedelta64(1, "M")).astype("M8[D]") - np.timedelta64(1, "D")
        same = month.astype("M8[D]") + (day - time.astype("M8[M]"))
        return np.asarray((np.minimum(same, last) if self.unit == "months" else last) + (time - day))

    def steps(self, first: Any, times: Any) -> np.ndarray:
        """How many whole steps from `first` to each of `times` [N]: int64 [N]."""
        if self.unit == "rows":
            return np.asarray(times - first, np.int64)
        if self.unit == "step":
            return np.asarray((times - first) // np.timedelta64(self.every, "us"))
        if self.unit == "business days":
            return np.asarray(np.busday_count(first.astype("M8[D]"), times.astype("M8[D]")), np.int64)
        return np.asarray((times.astype("M8[M]") - first.astype("M8[M]")).astype(np.int64) // self.every)

    def between(self, first: Any, last: Any) -> np.ndarray:
        """The times from `first` to `last`, both included."""
        return self.moved(first, np.arange(int(self.steps(first, last)) + 1))

    def after(self, time: Any, count: int) -> np.ndarray:
        """The next `count` times, at least 0, after `time`."""
        return self.moved(time, np.arange(1, checks.index("count", count, 0) + 1))

    @property
    def season(self) -> int:
        """The steps in a day (of minutes and hours), a week (of days) or a year (of weeks and months), else 1."""
        if self.unit == "business days":
            return 5
        if self.unit in MONTHS:
            return 12 // self.every if 12 % self.every == 0 else 1
        if self.unit == "step" and MINUTE <= self.every < DAY and DAY % self.every == 0:
            return DAY // self.every
        return {DAY: 7, WEEK: 52}.get(self.every, 1)

    def __str__(self) -> str:
        size, name = next((size, name) for size, name in NAMES[self.unit] if self.every % size == 0)
        count = self.every // size
        return f"{count} {name}{'s' if count > 1 else ''}"


def parse_frequency(written: str, times: Sequence[np.ndarray] = ()) -> Frequency:
    """A frequency as a user writes it.

    Args:
      written: a unit of `UNITS`, a whole number before it or none: "h", "15min", "30s", "D", "B", "W", "M", "Q", "Y".
      times: those of each series [N], datetime64[us]; months are month ends where all of these are.

    Raises:
      InputError: anything else.

    >>> print(parse_frequency("15min"), parse_frequency("Q"))
    15 minutes 1 quarter
    """
    match = WRITTEN.fullmatch(written.strip())
    count = int(match[1] or 1) if match else 0
    if match is None or count == 0 or (match[2] == "B" and count > 1):
        raise InputError(f"a frequency must be one of {', '.join(UNITS)}, such as '15min' or 'h', got {written!r:.60}")
    unit, every = UNITS[match[2]]
    if unit in MONTHS and times:
        unit = _months(times) or unit
    return Frequency(unit, count * every)


def infer_frequency(times: Sequence[np.ndarray]) -> Frequency | None:
    """The frequency that times suggest; that each keeps to it is not looked at.

    Months, if in every series all are on the last day of the month, or all on the same day, at one time of day.
    Business days, if all are from Monday to Friday at one time of day, mostly one after the other, over at least one
    weekend. Else steps of a fixed length. Of months and steps, the most common distance, the shortest of as common.

    Args:
      times: those of each series [N], datetime64[us], increasing.

    Returns:
      the frequency, or None where no series has two times.

    >>> days = np.array(["2024-01-31", "2024-02-29", "2024-04-30", "2024-05-31"], "M8[us]")
    >>> print(infer_frequency([days]), infer_frequency([days[:1]]))
    1 month end None
    """
    times = [each for each in times if len(each) > 1]
    if not times:
        return None
    unit = _months(times) or ("business days" if _are_business_days(times) else "step")
    return Frequency(unit, _usual_gap(unit, times))


def _usual_gap(unit: str, times: Sequence[np.ndarray]) -> int:
    gaps = np.concatenate([np.diff(Frequency(unit).steps(each[0], each)) for each in times])
    sizes, counts = np.unique(gaps, return_counts=True)
    return int(sizes[np.argmax(counts)])


def _months(times: Sequence[np.ndarray]) -> str | None:
    """Which of `MONTHS` they may be: in each series, all times are as far from their month's start, or its end."""
    before_end = [each - (each.astype("M8[M]") + np.timedelta64(1, "M")).astype("M8[us]") for each in times]
    if all((each == each[0]).all() and each[0] >= np.timedelta64(-DAY, "us") for each in before_end):
        return "month ends"
    after_start = [each - each.astype("M8[M]") for each in times]
    return "months" if all((each == each[0]).all() for each in after_start) else None


def _are_business_days(times: Sequence[np.ndarray]) -> bool:
    days = [each.astype("M8[D]") for each in times]
    clocks = [each - day for each, day in zip(times, days, strict=True)]
    if not all(np.is_busday(each).all() for each in days) or not all((each == each[0]).all() for each in clocks):
        return False
    weekends = any(np.busday_count(each[0], each[-1]) < (each[-1] - each[0]).astype(int) for each in days)
    return weekends and _usual_gap("business days", times) == 1


def calendar(times: np.ndarray, frequency: Frequency) -> tuple[np.ndarray, tuple[str, ...]]:
    r"""Where times stand in the day, the week and the year, as points on circles.

    The sine and the cosine of $2 \pi p$ with the part p that is over: of the day, for steps under a day; of the week,
    in days, for steps under a week; of the year, in days, for steps under a year, or in months for less than 12 months.

    Args:
      times: [N], datetime64[us], or row numbers int64, which have no calendar.
      frequency: how they follow one another.

    Returns:
      float64 [N, K] in [-1, 1] and the K names; K is 0, 2, 4 or 6.

    >>> months, names = calendar(np.array(["2020-01", "2020-04"], "M8[us]"), Frequency("months"))
    >>> months.round(3) + 0.0, names
    (array([[0., 1.],
           [1., 0.]]), ('month of year, sine', 'month of year, cosine'))
    """
    parts = {} if frequency.unit == "rows" else _parts(times, frequency)
    angles = 2.0 * np.pi * np.array(list(parts.values()), np.float64).reshape(len(parts), len(times)).T
    waves = np.stack([np.sin(angles), np.cos(angles)], -1).reshape(len(times), 2 * len(parts))
    return waves, tuple(f"{name}, {wave}" for name in parts for wave in ("sine", "cosine"))


def _parts(times: np.ndarray, frequency: Frequency) -> dict[str, np.ndarray]:
    """How much is over of each period that the frequency divides, in [0, 1)."""
    year = times.astype("M8[Y]")
    if frequency.unit in MONTHS:
        months = times.astype("M8[M]") - year
        return {"month of year": months.astype(np.int64) / 12} if frequency.every < 12 else {}
    step = frequency.every if frequency.unit == "step" else DAY
    day = times.astype("M8[D]")
    parts = {
        "time of day": (DAY, (times - day) / np.timedelta64(DAY, "us")),
        "day of week": (WEEK, (day.astype(np.int64) + 3) % 7 / 7),  # day 0 was a Thursday
        "day of year": (YEAR, (day - year) / ((year + np.timedelta64(1, "Y")).astype("M8[D]") - year)),
    }
    return {name: part for name, (period, part) in parts.items() if step < period}
