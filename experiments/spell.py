"""Learn to write what an image shows: digits spelled out, their sums, or a file of one's own.

Usage: python -m experiments.spell --data digit|sum|FILE.npz [--test FILE.npz] [--out DIR] ...
       python -m experiments.spell --checkpoint DIR --predict FILE.npz|IMAGE.png [--out FILE.csv]; see --help.
"""

import csv
import dataclasses
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from experiments import cli, image_figures, image_parts, settings, study
from experiments.classify.answers import measure, print_table
from experiments.image_parts import (
    Figures,
    PartsConfig,
    digest,
    in_parts,
    train_baseline,
    with_baselines,
)
from experiments.observers import plot_curves
from lstmjax import checks, training
from lstmjax.data import Characters, Labelled, Ordered, SequenceBatch, Shuffled, Words, datasets
from lstmjax.data.datasets import read_idx_images
from lstmjax.data.digit_texts import digit_sums, english, named_digits
from lstmjax.data.images import read_images, read_picture
from lstmjax.data.labels import Labels, save_labels
from lstmjax.data.symbols import END
from lstmjax.data.text import save_vocabulary
from lstmjax.decoding.image_texts import looked_at, write_texts
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import CNNLSTMConfig, ImageDecoder, ImageDecoderConfig
from lstmjax.saved import load_model

DESCRIPTION = """Learn to write what an image shows, symbol by symbol.

Trains a CNN with a decoder that looks back at the image: on handwritten digits whose English name it spells (digit), on
two digits whose sum it spells (sum), both made from MNIST, on an NPZ file with images [N, H, W] or [N, H, W, C], uint8
or floats in [0, 1], and texts [N], or on digits in files of MNIST's format (--images, --labels). Writes checkpoints,
metrics, figures and a summary into one folder. Ctrl-C saves and says how to go on. What a trained model writes of other
images is written by --checkpoint DIR --predict FILE.npz|IMAGE.png. Exit codes: 0 done, 1 failed on the way, 2 the
command or its input can't be used, 130 stopped."""

MADE: dict[Any, Any] = {"digit": named_digits, "sum": digit_sums}
COUNT = 40000
"""Of made images: how many to learn from."""
MOST_TEXTS = 50
"""A CNN can learn at most so many texts as classes."""


@dataclasses.dataclass(frozen=True)
class SpellConfig(PartsConfig):
    """Every setting of a run."""

    data: str | None = None
    """An NPZ file, or digits: digit, sum."""
    images: Path | None = None
    """In place of --data: images of digits in MNIST's format, packed where the name ends in .gz."""
    labels: Path | None = None
    """Of --images: their labels, 0 to 99, which are spelled in English."""
    count: int | None = None
    """Of digit and sum: how many images to learn from, 40,000 unless said."""
    symbols: Literal["characters", "words"] = "characters"
    """What texts are written in."""
    epochs: int = 4
    """Passes over the training data."""
    batch_size: int = 64
    """B, rows of a batch."""
    model: ImageDecoderConfig = dataclasses.field(default_factory=ImageDecoderConfig)
    optimizer: training.OptimizerConfig = dataclasses.field(
        default_factory=lambda: training.OptimizerConfig(learning_rate=3e-3, beta2=0.999)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.count is not None:
            checks.index("count", self.count, 8)
            if self.images is not None or self.data not in (None, *MADE):
                raise ValueError(f"count is for {' and '.join(MADE)}; a file has as many as it has")
        checks.one_of("symbols", self.symbols, ("characters", "words"))
        if (self.images is None) != (self.labels is None):
            raise ValueError("images and labels are two files that belong together; only one of them is given")
        if self.images is not None and self.data is not None:
            raise ValueError("images and labels take the place of data; only one of them can be given")
        if self.data in MADE and self.test is not None:
            raise ValueError(f"test is for images from a file; {self.data} makes its own")
        if self.data is not None and self.data not in MADE:
            object.__setattr__(self, "data", str(Path(self.data).absolute()))  # where a resumed run finds it again


def load(config: SpellConfig) -> study.Data:
    """Read or make the images; what the model must know of them goes into its config."""
    parts = _parts(config)
    train, shape = parts[0], np.shape(parts[0].sequences[0])
    symbols = (Characters if config.symbols == "characters" else Words).train(_texts(train))
    for part in parts[1:]:
        if np.shape(part.sequences[0]) != shape:
            raise InputError(f"{part.file} has images {list(np.shape(part.sequences[0]))}; expected {list(shape)}")
        warn_of_unknown(part, symbols)
    size = min(config.batch_size, len(train.sequences))
    return study.Data(
        # whole batches alone, for batch normalisation sees every row
        train=Shuffled(encoded(train, symbols), size, config.seed, drop_last=True),
        validation=Ordered(encoded(parts[1], symbols), config.batch_size),
        test=Ordered(encoded(parts[2], symbols), config.batch_size),
        model=settings.decided_by_data(config, image_shape=shape, vocab_size=len(symbols)),
        save_companion=lambda folder: save_vocabulary(symbols, folder.vocabulary),
        identity={"images": [len(part.sequences) for part in parts], "sha256": digest(parts)},
        symbols_per_step=size,
        unit="images",
        description=(
            f"images: {', '.join(f'{len(part.sequences):,}' for part in parts)} to learn from, to choose by, to test "
            f"on, {' x '.join(map(str, shape))}; {len(set(_texts(train)))} texts of {len(symbols)} symbols"
        ),
        parts=parts,
    )


def _texts(part: Labelled) -> list[str]:
    return [str(text) for text in part.targets or []]


def _parts(config: SpellConfig) -> list[Labelled]:
    """What to learn from, to choose a model by, and to look at once, at the end."""
    if config.data in MADE:
        return _made(config.data, config.at_most(config.count or COUNT))
    return in_parts(_read(config), None if config.test is None else read_images(config.test), config)


def _read(config: SpellConfig) -> Labelled:
    if config.images is None or config.labels is None:
        if config.data is None:
            raise InputError(
                f"--data must name a file, or one of {', '.join(MADE)}; or --images and --labels two files"
            )
        image_parts.check_name(config.data, MADE)
        return read_images(config.data)
    found = read_idx_images(config.images, config.labels)
    for text, place in zip(_texts(found), found.places, strict=True):
        if int(text) > 99:
            raise InputError(f"{place} has the label {text}; expected 0 to 99, which can be spelled")
    return found._replace(targets=[english(int(text)) for text in _texts(found)])


def _made(kind: Any, count: int) -> list[Labelled]:
    """Images of digits that no other part has; the same ones for every seed of training."""
    splits = zip(datasets.mnist_rows(), (count, max(8, count // 20), max(8, count // 4)), range(3), strict=True)
    return [MADE[kind](part, size, seed=seed) for part, size, seed in splits]


def encoded(part: Labelled, symbols: Characters | Words) -> SequenceBatch:
    """Images [N, H, W, C], and their symbols with the end, [N, T]."""
    written = [np.append(symbols.encode(text), END) for text in _texts(part)]
    lengths = np.array([len(one) for one in written], np.int32)
    targets = np.zeros((len(written), lengths.max()), np.int32)
    for row, one in zip(targets, written, strict=True):
        row[: len(one)] = one
    images = np.stack([np.asarray(image) for image in part.sequences])
    return SequenceBatch(images, targets, None, lengths, np.ones(len(images), np.float32))


def warn_of_unknown(part: Labelled, symbols: Characters | Words) -> None:
    """Tell of texts with symbols that the training data have not, which nothing can write."""
    texts = zip(_texts(part), part.places, strict=True)
    found = [(place, symbols.unknown(text)) for text, place in texts if symbols.unknown(text)]
    if found:
        (first, symbol), share = found[0], f"{len(found):,} of {len(part.sequences):,} texts"
        print(f"warning: {share} have symbols never seen in training, the first {first}: {symbol!r}", file=sys.stderr)


def finish(run: study.Run, model: Any, symbols: Any) -> Figures:
    """Test once, train the baseline, draw the figures, and say how good all are and where everything lies."""
    test: Labelled = run.data.parts[2]
    images: Any = test.sequences
    longest = max(len(symbols.encode(text)) for text in _texts(run.data.parts[0]))
    written = write_texts(model, symbols, images, steps=2 * longest, batch_size=256)
    said = [one.text for one in written]
    found = figures_of(run, model)
    found["test_accuracy"] = float(np.mean([a == b for a, b in zip(said, _texts(test), strict=True)]))
    others = {"majority": _majority(run.data.parts)}
    if run.config.baselines and len(set(_texts(run.data.parts[0]))) <= MOST_TEXTS:
        others["cnn"] = _train_cnn(run)
    folder = run.folder
    plot_curves(folder.metrics, folder.curve, folder.path.name, {"loss": "loss, nats a symbol", "exact": "whole texts"})
    drawn = draw(folder.path, model, symbols, test, written)
    print_table({run.data.model.attention: found, **others})
    files = ", ".join(["config.json", "vocabulary.json", "metrics.jsonl", "summary.json", "loss.png", *drawn])
    print(f"saved in {folder.path}: {files}, and the newest and best checkpoints in checkpoints/")
    print(f"on other images: {cli.command(STUDY.module, '--checkpoint', folder.path, '--predict', 'FILE')}")
    return with_baselines(found, others)


def figures_of(run: study.Run, model: Any) -> Figures:
    """Of the validation and the test part: accuracy of whole texts, and of characters, the true ones before given."""
    names = {"exact": "accuracy", "accuracy": "character_accuracy", "loss": "loss"}
    meaning: Any = None  # it is not asked for
    found = measure(run, model, meaning)
    return {f"{part}_{name}": found[f"{part}_{was}"] for part in ("validation", "test") for was, name in names.items()}


def _majority(parts: Sequence[Labelled]) -> Figures:
    texts, counts = np.unique(_texts(parts[0]), return_counts=True)
    said = texts[counts.argmax()]
    shares = [float(np.mean(np.array(_texts(part)) == said)) for part in parts[1:]]
    return dict(zip(("validation_accuracy", "test_accuracy"), shares, strict=True))


def _train_cnn(run: study.Run) -> Figures:
    """A CNN that says the whole text at once, as one of so many classes, by the same code in a folder of its own."""
    own, parts = run.data.model, run.data.parts
    labels = Labels.of(text for part in parts for text in _texts(part))
    sources = [_as_clips(s, part, labels) for s, part in zip((*run.data[:2], run.data.test), parts, strict=True)]
    model = CNNLSTMConfig(
        channels=own.channels,
        halvings=own.halvings,
        kernel_size=own.kernel_size,
        norm=own.norm,
        groups=own.groups,
        cell="none",
        window=1,
        image_shape=own.image_shape,
        num_classes=len(labels),
    )
    data = run.data._replace(
        train=sources[0],
        validation=sources[1],
        test=sources[2],
        model=model,
        save_companion=lambda folder: save_labels(labels, folder.labels),
    )
    return train_baseline(dataclasses.replace(STUDY, family="cnn-lstm"), run, "cnn", data)


def _as_clips(source: Any, part: Labelled, labels: Labels) -> Any:
    """The same batches with images as clips of one frame, and texts as classes."""
    numbers = labels.encode(_texts(part), part.places)
    inputs = source.examples.inputs[:, None]
    return dataclasses.replace(
        source, examples=source.examples._replace(inputs=inputs, targets=numbers, target_lengths=None)
    )


def draw(folder: Path, model: ImageDecoder, symbols: Any, test: Labelled, written: Sequence[Any]) -> list[str]:
    """Where the model looked for each symbol of a few texts, and what it got wrong; returns the files' names."""
    true = _texts(test)
    images: list[Any] = list(test.sequences)
    wrong = [row for row, one in enumerate(written) if one.text != true[row]]
    right = [row for row in range(min(100, len(true))) if row not in wrong]
    drawn = []
    if hasattr(model.decoder, "looking"):
        rows = [*wrong[:2], *sorted(right, key=lambda row: -len(true[row]))[:4]]
        maps = looked_at(model, [images[row] for row in rows], [written[row].symbols for row in rows])
        pieces = [[*symbols.pieces(written[row].symbols), "end"] for row in rows]
        shown = [images[row] for row in rows], [true[row] for row in rows]
        image_figures.plot_looks(folder / "attention.png", *shown, maps, pieces)
        drawn.append("attention.png")
    if wrong:
        titles = [f"{true[row]}: {written[row].text}" for row in wrong[:20]]
        image_figures.plot_images(folder / "wrong.png", [images[row] for row in wrong[:20]], titles, "true: written")
        drawn.append("wrong.png")
    return drawn


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What to read, with which model, and where to write."""

    checkpoint: Path
    """The folder of a trained run."""
    predict: Path
    """An NPZ file, texts in which are not looked at, or one image, such as a PNG."""
    out: Path | None = None
    """The CSV file to write; without it, FILE-texts.csv in this folder."""
    beam: int = 1
    """Hypotheses kept at a time; 1 is greedy."""
    batch_size: int = 64
    """Images at a time."""

    def __post_init__(self) -> None:
        checks.positive_int("beam", self.beam)
        checks.positive_int("batch_size", self.batch_size)


def run_predictions(arguments: Sequence[str]) -> int:
    """Read images, write what they show; returns the exit code."""
    config = cli.parse(PredictConfig, DESCRIPTION, arguments)
    out = config.out or Path(f"{config.predict.stem}-texts.csv")
    cli.check_out(out)
    cli.check_backend()
    model, symbols = load_model(config.checkpoint)
    if not isinstance(model, ImageDecoder):
        raise InputError(f"{config.checkpoint} holds a {type(model).__name__}; expected an ImageDecoder")
    part, shape = _read_like(config.predict, model.frames.image_shape), model.frames.image_shape
    if np.shape(part.sequences[0]) != shape:
        raise InputError(f"{config.predict} has images {list(np.shape(part.sequences[0]))}; expected {list(shape)}")
    images: Any = part.sequences
    found = write_texts(model, symbols, images, beam=config.beam, batch_size=config.batch_size)
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["place", "text", "log_probability"])
    writer.writerows((p, one.text, f"{one.log_probability:.6f}") for p, one in zip(part.places, found, strict=True))
    replace_text(out, text.getvalue())
    print(f"{len(found):,} texts in {out}" + (f": {found[0].text}" if len(found) == 1 else ""))
    return 0


def _read_like(path: Path, shape: tuple[int, int, int]) -> Labelled:
    return read_images(path, has_texts=False) if path.suffix.lower() == ".npz" else read_picture(path, shape)


STUDY: study.Study[SpellConfig] = study.Study(
    module="experiments.spell",
    description=DESCRIPTION,
    family="image-decoder",
    config=SpellConfig,
    name=lambda config: Path(str(config.data or config.images)).name.split(".")[0],
    load=load,
    finish=finish,
)


def main() -> int:
    if any(argument.split("=")[0] in ("--checkpoint", "--predict") for argument in sys.argv[1:]):
        return run_predictions(sys.argv[1:])
    return study.run(STUDY, sys.argv[1:])


if __name__ == "__main__":
    cli.run(main)
