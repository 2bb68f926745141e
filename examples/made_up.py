"""Made-up data in the form, and by default of the size, of the files that the well-known programs download.

    python examples/made_up.py reviews imdb.npz --count 1000

Nothing is learned from these about the world: they are for trying a program out where its real file is not at hand.
"""

import csv
import tempfile
from pathlib import Path

import numpy as np
import tyro

import lstmjax as lx


def here(name: str) -> Path:
    return Path(tempfile.mkdtemp(), name)


def reviews(path: Path | None = None, count: int = 25_000, telling: float = 1 / 30) -> Path:
    """Like `imdb.npz`: `count` reviews to learn from and as many to test on, as lists of words' ranks, and 0 or 1 each.

    Words are as frequent as their rank says; a part of them, `telling`, is of 200 for good reviews or for bad.
    """
    path, rng, arrays = path or here("imdb.npz"), np.random.default_rng(0), {}
    for part in ("train", "test"):
        labels = rng.integers(0, 2, count)
        rows = np.empty(count, object)
        for row, label in enumerate(labels):
            words = np.exp(rng.uniform(0, np.log(88_000), int(rng.lognormal(5.2, 0.65)) + 11)).astype(int)
            tells = rng.random(len(words)) < telling
            rows[row] = np.where(tells, 1000 + 200 * label + rng.integers(0, 200, len(words)), words).tolist()
        arrays |= {f"x_{part}": rows, f"y_{part}": labels}
    np.savez(path, **arrays)
    return path


def imdb(file: str, words: int, longest: int) -> list[tuple[list[np.ndarray], np.ndarray]]:
    """The reviews to learn from and those to test on, from `imdb.npz` or made up, as `keras.datasets.imdb` gives them.

    Rare words are all the last of `words`; of each review the last `longest` words stay.
    """
    saved = np.load(file or reviews(), allow_pickle=True)
    rows = ([np.minimum(row[-longest:], words - 1) for row in saved[f"x_{part}"]] for part in ("train", "test"))
    return list(zip(rows, (saved["y_train"], saved["y_test"]), strict=True))


WEATHER = (
    ("p (mbar)", 989.2, 8.4), ("T (degC)", 9.5, 8.4), ("Tpot (K)", 283.5, 8.5), ("Tdew (degC)", 5.0, 6.7),
    ("rh (%)", 76.0, 16.5), ("VPmax (mbar)", 13.6, 7.7), ("VPact (mbar)", 9.5, 4.2), ("VPdef (mbar)", 4.0, 4.9),
    ("sh (g/kg)", 6.0, 2.7), ("H2OC (mmol/mol)", 9.6, 4.2), ("rho (g/m**3)", 1216.1, 40.0), ("wv (m/s)", 2.1, 1.5),
    ("max. wv (m/s)", 3.5, 2.3), ("wd (deg)", 174.7, 86.7),
)  # fmt: skip
"""The columns of Jena's weather station, with their means and deviations."""


def weather(path: Path | None = None, count: int = 420_551) -> Path:
    """Like `jena_climate_2009_2016.csv`: 14 columns every ten minutes, of day, year and chance."""
    path, rng = path or here("jena.csv"), np.random.default_rng(0)
    days = np.arange(count) / 144
    chance = np.convolve(rng.normal(size=count + 999), np.exp(-np.arange(1000) / 200), mode="valid") / 10
    cycles = np.sin(2 * np.pi * np.array([days, days / 365.25])).T @ np.array([0.5, 1.0]) + chance
    columns = [mean + 0.7 * size * cycles + 0.3 * size * rng.normal(size=count) for _, mean, size in WEATHER]
    times = np.datetime64("2009-01-01T00:10") + 10 * np.arange(count).astype("timedelta64[m]")
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["Date Time", *(name for name, _, _ in WEATHER)])
        for time, values in zip(times.tolist(), np.round(np.stack(columns, axis=1), 2).tolist(), strict=True):
            rows.writerow([time.strftime("%d.%m.%Y %H:%M:%S"), *values])
    return path


ONES = "zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize dix-sept dix-huit"
TENS = {2: "vingt", 3: "trente", 4: "quarante", 5: "cinquante", 6: "soixante", 7: "soixante", 8: "quatre-vingt"}


def in_french(number: int) -> str:
    ones = [*ONES.split(), "dix-neuf"]
    if number < 20:
        return ones[number]
    if number < 100:
        tens, rest = (8, number - 80) if number >= 80 else (number // 10, number % 10 + 10 * (number // 10 == 7))
        return TENS[tens] + ("" if rest == 0 else "-" + ones[rest])
    size, name = (1000, "mille") if number >= 1000 else (100, "cent")
    many, rest = divmod(number, size)
    return " ".join([in_french(many)] * (many > 1) + [name] + [in_french(rest)] * (rest > 0))


def sentences(path: Path | None = None, count: int = 10_000) -> Path:
    """Like `fra.txt`: a sentence, what it is in French, and where it is from, with tabs between. Numbers, in words."""
    path, rng = path or here("fra.txt"), np.random.default_rng(0)
    numbers = rng.permutation(count).tolist()
    path.write_text("".join(f"It's {n}.\tC'est {in_french(n)}.\tmade up\n" for n in numbers), encoding="utf-8")
    return path


def tagged(path: Path | None = None, count: int = 3000, seed: int = 0) -> Path:
    """Like files of named entities: a token and its tag in a row, blank lines between sentences."""
    path, rng, lines = path or here("tagged.txt"), np.random.default_rng(seed), []
    for _ in range(count):
        for _ in range(rng.integers(2, 12)):
            kind, number = rng.choice(["name", "place", "word"], p=[0.15, 0.15, 0.7]), rng.integers(0, 150)
            if kind == "word":
                lines.append(f"w{number} O")
            else:  # the same tokens mean a person or a place, as the word before says
                tag = "PER" if kind == "name" else "LOC"
                lines += [
                    ("Mx O" if kind == "name" else "at O"),
                    f"n{number} B-{tag}",
                    f"n{(7 * number) % 150} E-{tag}",
                ]
        lines.append("")
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


SEGMENTS = ("abcefg", "cf", "acdeg", "acdfg", "bcdf", "abdfg", "abdefg", "acf", "abcdefg", "abcdfg")
BARS = {"a": (4, 8, 6, 22), "d": (13, 8, 15, 22), "g": (22, 8, 24, 22), "b": (4, 6, 15, 8), "c": (4, 20, 15, 22)} | {
    "e": (13, 6, 24, 8), "f": (13, 20, 24, 22)
}  # fmt: skip


def clips(path: Path | None = None, count: int = 1000) -> Path:
    """Like `mnist_test_seq.npy`: uint8 [20, count, 64, 64], two digits that bounce, of a pocket calculator."""
    path, digits = path or here("moving.npy"), np.zeros((10, 28, 28), np.uint8)
    for digit, lit in zip(digits, SEGMENTS, strict=True):
        for top, left, bottom, right in (BARS[bar] for bar in lit):
            digit[top:bottom, left:right] = 255
    np.save(path, np.swapaxes(lx.data.moving_digits.moving_digits(digits, count, np.random.default_rng(0)), 0, 1))
    return path


if __name__ == "__main__":
    tyro.extras.subcommand_cli_from_dict(
        {"reviews": reviews, "weather": weather, "sentences": sentences, "tagged": tagged, "clips": clips}
    )
