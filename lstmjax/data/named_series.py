"""Named sets of time series, with the splits and seasons they are known by.

>>> sorted(NAMED_SERIES)
['airline', 'etth1', 'sunspots', 'temperatures']
"""

from typing import NamedTuple

from lstmjax.data.downloads import find
from lstmjax.data.series import SeriesSet, read_series


class NamedSeries(NamedTuple):
    """A file of time series and how it is read.

    `file`: one of `downloads.SHA256`. `time`: its column of times. `targets`: the columns to forecast. `source`: where
    it is from, and its terms. `split`: how many steps there are to train, to validate and to test, from the first on;
    None where none was published. `season`: the steps of a season, where its frequency suggests another.

    >>> NAMED_SERIES["etth1"].split, NAMED_SERIES["temperatures"].season
    ((8640, 2880, 2880), 365)
    """

    file: str
    time: str
    targets: tuple[str, ...]
    source: str
    split: tuple[int, int, int] | None = None
    season: int | None = None

    def read(self) -> SeriesSet:
        """Its series: the user's own file first, plain or gzipped, see `downloads.find`.

        Raises:
          InputError: there is no such file and it can't be downloaded, or the user's own is another table.
        """
        return read_series(find(self.file, packed=True), time=self.time, targets=self.targets)


LIBRARY = "from the Time Series Data Library by way of https://github.com/jbrownlee/Datasets; no terms are stated"
INFORMER = "Zhou et al., Informer: Beyond efficient transformer for long sequence time-series forecasting (2021)"
NAMED_SERIES: dict[str, NamedSeries] = {
    "etth1": NamedSeries(
        "ett/ETTh1.csv",
        "date",
        ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT"),
        f"loads and oil temperature of a transformer: {INFORMER}, https://github.com/zhouhaoyi/ETDataset; CC BY-ND 4.0",
        split=(8640, 2880, 2880),
    ),
    "airline": NamedSeries(
        "timeseries/airline-passengers.csv",
        "Month",
        ("Passengers",),
        f"thousands on international flights: Box and Jenkins, Time series analysis (1976), {LIBRARY}",
    ),
    "sunspots": NamedSeries(
        "timeseries/monthly-sunspots.csv",
        "Month",
        ("Sunspots",),
        f"Zurich numbers: Andrews and Herzberg, Data (1985), {LIBRARY}",
    ),
    "temperatures": NamedSeries(
        "timeseries/daily-min-temperatures.csv",
        "Date",
        ("Temp",),
        f"lowest of each day in Melbourne: Australian Bureau of Meteorology, {LIBRARY}",
        season=365,
    ),
}
"""The sets by their names."""
