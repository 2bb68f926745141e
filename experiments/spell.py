"""Learn to write what an image shows, symbol by symbol.

Trains a CNN with a decoder that looks back at the image: on handwritten digits whose English name it spells (digit), on
two digits whose sum it spells (sum), both made from MNIST, on an NPZ file with images [N, H, W] or [N, H, W, C], uint8
or floats in [0, 1], and texts [N], or on digits in files of MNIST's format (--images, --labels). What a trained model
writes of other images is written by --checkpoint DIR --predict FILE.npz|IMAGE.png.

Usage: python -m experiments.spell --data digit|sum|FILE.npz [--test FILE.npz] [--out DIR] ...
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np

from experiments import baselines, cli, image_figures, image_parts, settings, study, trained
from experiments.baselines import Figures
from experiments.observers import plot_curves
from experiments.parts import Parts, described, digest
from experiments.ranges import Checked, Positive, at_least
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
from lstmjax.models.frame_encoder import FrameEncoderConfig

MADE: dict[Any, Any] = {"digit": named_digits, "sum": digit_sums}
COUNT = 40000
"""Of made images: how many to learn from."""
MOST_TEXTS = 50
"""A CNN can learn at most so many texts as classes."""


@dataclasses.dataclass(frozen=True)
class SpellConfig(image_parts.PartsConfig):
    """Every setting of a run."""

    data: str | None = None
    """An NPZ file, or digits: digit, sum."""
    images: Path | None = None
    """In place of --data: images of digits in MNIST's format, packed where the name ends in .gz."""
    labels: Path | None = None
    """Of --images: their labels, 0 to 99, which are spelled in English."""
    count: Annotated[int, at_least(8)] | None = None
    """Of digit and sum: how many images to learn from, 40,000 unless said."""
    symbols: Literal["characters", "words"] = "characters"
    """What texts are written in."""
    epochs: Positive = 4
    batch_size: Positive = 64
    model: ImageDecoderConfig = dataclasses.field(default_factory=ImageDecoderConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        settings.keep_findable(self, self.data, MADE)
        if self.count is not None and (self.images is not None or self.data not in (None, *MADE)):
            raise ValueError(f"count is for {' and '.join(MADE)}; a file has as many as it has")
        if (self.images is None) != (self.labels is None):
            raise ValueError("images and labels are two files that belong together; only one of them is given")
        if self.images is not None and self.data is not None:
            raise ValueError("images and labels take the place of data; only one of them can be given")
        if self.data in MADE and self.test is not None:
            raise ValueError(f"test is for images from a file; {self.data} makes its own")


def load(config: SpellConfig) -> study.Data:
    """Read or make the images; what the model must know of them goes into its config."""
    parts = _parts(config)
    train, shape = parts.train, np.shape(parts.train.sequences[0])
    symbols = (Characters if config.symbols == "characters" else Words).train(_texts(train))
    for part in parts[1:]:
        if np.shape(part.sequences[0]) != shape:
            raise InputError(f"{part.file} has images {list(np.shape(part.sequences[0]))}; expected {list(shape)}")
        warn_of_unknown(part, symbols)
    size = min(config.batch_size, len(train.sequences))
    return study.Data(
        # whole batches alone, for batch normalisation sees every row
        train=Shuffled(encoded(train, symbols), size, config.seed, drop_last=True),
        validation=Ordered(encoded(parts.validation, symbols), config.batch_size),
        test=Ordered(encoded(parts.test, symbols), config.batch_size),
        model=settings.decided_by_data(config, config.model, image_shape=shape, vocab_size=len(symbols)),
        save_companion=lambda folder: save_vocabulary(symbols, folder.vocabulary),
        identity={"images": [len(part.sequences) for part in parts], "sha256": digest(image_parts.pieces(parts))},
        symbols_per_step=size,
        unit="images",
        description=(
            f"{described('images', [len(part.sequences) for part in parts])}; {' x '.join(map(str, shape))}; "
            f"{len(set(_texts(train)))} texts of {len(symbols)} symbols"
        ),
        parts=parts,
    )


def _texts(part: Labelled) -> list[str]:
    return [str(text) for text in part.targets or []]


def _parts(config: SpellConfig) -> Parts[Labelled]:
    if config.data in MADE:
        return _made(config.data, config.at_most(config.count or COUNT))
    return image_parts.in_parts(_read(config), None if config.test is None else read_images(config.test), config)


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


def _made(kind: Any, count: int) -> Parts[Labelled]:
    """Images of digits that no other part has; the same ones for every seed of training."""
    splits = zip(datasets.mnist_rows(), (count, max(8, count // 20), max(8, count // 4)), range(3), strict=True)
    return Parts(*(MADE[kind](part, size, seed=seed) for part, size, seed in splits))


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
    train, test = run.data.parts.train, run.data.parts.test
    longest = max(len(symbols.encode(text)) for text in _texts(train))
    written = write_texts(model, symbols, test.sequences, steps=2 * longest, batch_size=256)
    said = [one.text for one in written]
    own = figures_of(run, model)
    own["test_accuracy"] = float(np.mean([a == b for a, b in zip(said, _texts(test), strict=True)]))
    found = {run.data.model.attention: own, "majority": _majority(run.data.parts)}
    if run.config.baselines and len(set(_texts(train))) <= MOST_TEXTS:
        found["cnn"] = _train_cnn(run)
    folder = run.folder
    plot_curves(folder.metrics, folder.curve, folder.path.name, {"loss": "loss, nats a symbol", "exact": "whole texts"})
    draw(folder.path, model, symbols, test, written)
    return baselines.conclude(run, found, "on other images", "--predict", "FILE", all_figures=True)


def figures_of(run: study.Run, model: Any) -> Figures:
    """Of the validation and the test part: accuracy of whole texts, and of characters, the true ones before given."""
    names = {"exact": "accuracy", "accuracy": "character_accuracy", "loss": "loss"}
    found = baselines.evaluate(run, model)
    return baselines.by_name({part: {name: each[was] for was, name in names.items()} for part, each in found.items()})


def _majority(parts: Parts[Labelled]) -> Figures:
    texts, counts = np.unique(_texts(parts.train), return_counts=True)
    said = texts[counts.argmax()]
    shares = [float(np.mean(np.array(_texts(part)) == said)) for part in parts[1:]]
    return dict(zip(("validation_accuracy", "test_accuracy"), shares, strict=True))


def _train_cnn(run: study.Run) -> Figures:
    """A CNN that says the whole text at once, as one of so many classes, by the same code in a folder of its own."""
    own, parts = run.data.model, run.data.parts
    labels = Labels.of(text for part in parts for text in _texts(part))
    sources = (run.data.train, run.data.validation, run.data.test)
    train, validation, test = (_as_clips(s, part, labels) for s, part in zip(sources, parts, strict=True))
    frames = {field.name: getattr(own, field.name) for field in dataclasses.fields(FrameEncoderConfig)}
    model = CNNLSTMConfig(**frames, cell="none", window=1, num_classes=len(labels))
    data = run.data._replace(
        train=train,
        validation=validation,
        test=test,
        save_companion=lambda folder: save_labels(labels, folder.labels),
    )
    kind = dataclasses.replace(run.study, family="cnn-lstm")
    return baselines.train(run._replace(study=kind, data=data), "cnn", model)


def _as_clips(source: Any, part: Labelled, labels: Labels) -> Any:
    """The same batches with images as clips of one frame, and texts as classes."""
    numbers = labels.encode(_texts(part), part.places)
    inputs = source.examples.inputs[:, None]
    return dataclasses.replace(
        source, examples=source.examples._replace(inputs=inputs, targets=numbers, target_lengths=None)
    )


def draw(folder: Path, model: ImageDecoder, symbols: Any, test: Labelled, written: Sequence[Any]) -> None:
    """Where the model looked for each symbol of a few texts, and what it got wrong."""
    true = _texts(test)
    images: list[Any] = list(test.sequences)
    wrong = [row for row, one in enumerate(written) if one.text != true[row]]
    right = [row for row in range(min(100, len(true))) if row not in wrong]
    if hasattr(model.decoder, "looking"):
        rows = [*wrong[:2], *sorted(right, key=lambda row: -len(true[row]))[:4]]
        maps = looked_at(model, [images[row] for row in rows], [written[row].symbols for row in rows])
        pieces = [[*symbols.pieces(written[row].symbols), "end"] for row in rows]
        shown = [images[row] for row in rows], [true[row] for row in rows]
        image_figures.plot_looks(folder / "attention.png", *shown, maps, pieces)
    if wrong:
        titles = [f"{true[row]}: {written[row].text}" for row in wrong[:20]]
        image_figures.plot_images(folder / "wrong.png", [images[row] for row in wrong[:20]], titles, "true: written")


@dataclasses.dataclass(frozen=True)
class PredictConfig(Checked):
    """What to read, with which model, and where to write."""

    checkpoint: Path
    """The folder of a trained run."""
    predict: Path
    """An NPZ file, texts in which are not looked at, or one image, such as a PNG."""
    out: Path | None = None
    """The CSV file to write; without it, FILE-texts.csv in this folder."""
    beam: Positive = 1
    """Hypotheses kept at a time; 1 is greedy."""
    batch_size: Positive = 64
    """Images at a time."""


def run_predictions(config: PredictConfig) -> None:
    """Read images, write what they show."""
    out = config.out or Path(f"{config.predict.stem}-texts.csv")
    cli.check_out(out)
    model, symbols = trained.load(config.checkpoint, None, ImageDecoder)
    part, shape = _read_like(config.predict, model.frames.image_shape), model.frames.image_shape
    if np.shape(part.sequences[0]) != shape:
        raise InputError(f"{config.predict} has images {list(np.shape(part.sequences[0]))}; expected {list(shape)}")
    images: Any = part.sequences
    found = write_texts(model, symbols, images, beam=config.beam, batch_size=config.batch_size)
    rows = ([p, one.text, f"{one.log_probability:.6f}"] for p, one in zip(part.places, found, strict=True))
    replace_text(out, trained.csv_table(["place", "text", "log_probability"], rows))
    print(f"{len(found):,} texts in {out}" + (f": {found[0].text}" if len(found) == 1 else ""))


def _read_like(path: Path, shape: tuple[int, int, int]) -> Labelled:
    return read_images(path, has_texts=False) if path.suffix.lower() == ".npz" else read_picture(path, shape)


STUDY: study.Study[SpellConfig] = study.Study(
    module="experiments.spell",
    description=__doc__,
    family="image-decoder",
    config=SpellConfig,
    name=lambda config: Path(str(config.data or config.images)).name.split(".")[0],
    load=load,
    finish=finish,
    use=study.Use(PredictConfig, run_predictions),
)
main = STUDY.main


if __name__ == "__main__":
    cli.run(main)
