"""Learn to say what clips show: moving digits, or a file of one's own.

Usage: python -m experiments.clips --data direction|first|visible|FILE.npz [--test FILE.npz] [--out DIR] ...
       python -m experiments.clips --checkpoint DIR --predict FILE.npz [--out FILE.csv]; see --help.
"""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import cli, figures, image_figures, image_parts, settings, study
from experiments.classify import predictions
from experiments.classify.answers import measure, print_table
from experiments.image_parts import Figures, digest, in_parts, train_baseline, with_baselines
from experiments.observers import plot_curves
from lstmjax import checks, metrics, training
from lstmjax.data import Labelled, datasets
from lstmjax.data.digit_clips import MAKERS, digit_clips
from lstmjax.data.images import read_clips
from lstmjax.data.labels import Labels, save_labels
from lstmjax.data.source import Bucketed
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import CNNLSTMConfig
from lstmjax.models.sequence_task import macro_f1
from lstmjax.saved import load_model

CLIPS = 16000
DESCRIPTION = """Learn to say what clips show, or each of their frames.

Trains a CNN with an LSTM on top on moving digits that it makes from MNIST (direction: 8 directions at 2 speeds; first:
which of two digits leaves first; visible: how many are seen, frame by frame, with --model.pooling none) or on a file:
NPZ with clips [N, T, H, W] or [N, T, H, W, C], uint8 or floats in [0, 1]; labels [N], or [N, T] for each frame; perhaps
lengths [N]. Writes checkpoints, metrics, figures and a summary into one folder. Ctrl-C saves and says how to go on.
What a trained model says of another file is written by --checkpoint DIR --predict FILE.npz. Exit codes: 0 done, 1
failed on the way, 2 the command or its input can't be used, 130 stopped."""


@dataclasses.dataclass(frozen=True)
class ClipsConfig(image_parts.PartsConfig):
    """Every setting of a run."""

    data: str | None = None
    """An NPZ file, or moving digits: direction, first, visible."""
    clips: int | None = None
    """Of moving digits: how many clips to learn from, 16,000 unless said; a quarter as many, of other digits, for the
    test."""
    num_buckets: int = 2
    """At most so many lengths of batches, so that clips are batched with others of nearly their length."""
    epochs: int = 4
    """Passes over the training data."""
    model: CNNLSTMConfig = dataclasses.field(default_factory=CNNLSTMConfig)
    optimizer: training.OptimizerConfig = dataclasses.field(
        default_factory=lambda: training.OptimizerConfig(learning_rate=3e-3, beta2=0.999)
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        checks.positive_int("num_buckets", self.num_buckets)
        if self.clips is not None:
            checks.index("clips", self.clips, 8)
            if self.data not in (None, *MAKERS):
                raise ValueError(f"clips is for moving digits, {', '.join(MAKERS)}; a file has as many as it has")
        if self.data in MAKERS and self.test is not None:
            raise ValueError(f"test is for clips from a file; {self.data} makes its own")
        if self.data is not None and self.data not in MAKERS:
            object.__setattr__(self, "data", str(Path(self.data).absolute()))  # where a resumed run finds it again


def load(config: ClipsConfig) -> study.Data:
    """Read or make the clips; what the model must know of them goes into its config."""
    parts = _parts(config)
    _check_alike(parts)
    train, *_ = parts
    known = parts if config.test is None else parts[:2]
    labels = Labels.of(label for part in known for said in part.targets or [] for label in _as_tuple(said))
    if len(labels) < 2:
        raise InputError(f"{train.file} has one label only, {labels.names[0]!r}; expected at least 2")
    num_buckets = 1 if config.quick else config.num_buckets  # each takes its time to compile
    sources = [
        batches(part, labels, config.batch_size, num_buckets, seed)
        for part, seed in zip(parts, (config.seed, None, None), strict=True)
    ]
    lengths = [len(clip) for clip in train.sequences]
    height, width, channels = np.shape(train.sequences[0])[1:]
    return study.Data(
        train=sources[0],
        validation=sources[1],
        test=sources[2],
        model=_model(config, train, labels),
        save_companion=lambda folder: save_labels(labels, folder.labels),
        identity={"clips": [len(part.sequences) for part in parts], "sha256": digest(parts)},
        symbols_per_step=round(config.batch_size * float(np.mean(lengths))),
        unit="frames",
        description=(
            f"clips: {', '.join(f'{len(part.sequences):,}' for part in parts)} to learn from, to choose by, to test "
            f"on; {min(lengths)} to {max(lengths)} frames of {height} x {width} x {channels}; {len(labels)} classes"
        ),
        parts=parts,
    )


def _parts(config: ClipsConfig) -> list[Labelled]:
    """What to learn from, to choose a model by, and to look at once, at the end."""
    if config.data is None:
        raise InputError(f"--data must name a file, or one of {', '.join(MAKERS)}")
    if config.data in MAKERS:
        if (config.data == "visible") != config.model.each_frame:
            wrong = _wrong_pooling(f"--data {config.data}", config.data == "visible", config.model.pooling)
            raise settings.not_for(config, wrong)
        return _made(config.data, config.at_most(config.clips or CLIPS))
    image_parts.check_name(config.data, MAKERS)
    return in_parts(read_clips(config.data), None if config.test is None else read_clips(config.test), config)


def _made(kind: Any, count: int) -> list[Labelled]:
    """Clips of digits that no other part has; the same ones for every seed of training."""
    splits = zip(datasets.mnist_rows(), (count, max(2, count // 16), max(2, count // 4)), range(3), strict=True)
    return [
        digit_clips(kind, digits.sequences, digits.targets, size, seed=seed, name=f"{kind} {seed}")  # type: ignore
        for digits, size, seed in splits
    ]


def _check_alike(parts: Sequence[Labelled]) -> None:
    """All clips have frames of one size and labels of one kind."""
    first = parts[0]
    shape, kind = np.shape(first.sequences[0])[1:], type((first.targets or [""])[0])
    for part in parts[1:]:
        came = np.shape(part.sequences[0])[1:]
        if came != shape:
            raise InputError(f"{part.file} has frames of {list(came)}; expected {list(shape)}, as {first.file}")
        if not isinstance((part.targets or [""])[0], kind):
            said = "a label a clip" if kind is str else "a label a frame"
            raise InputError(f"{part.file} must have {said}, as {first.file}")


def batches(part: Labelled, labels: Labels | None, batch_size: int, num_buckets: int, seed: int | None) -> Bucketed:
    """Batches of clips of nearly one length; without labels, their targets are zeros."""
    clips: Any = [np.asarray(clip) for clip in part.sequences]
    targets: Any = np.zeros(len(clips), np.int32)
    if labels is not None and part.targets is not None:
        each = [
            labels.encode(_as_tuple(said), _places(said, p)) for said, p in zip(part.targets, part.places, strict=True)
        ]
        targets = each if isinstance(part.targets[0], tuple) else np.concatenate(each)
    return Bucketed(clips, targets, min(batch_size, len(clips)), min(num_buckets, len(clips)), seed)


def _as_tuple(said: Any) -> tuple[str, ...]:
    return said if isinstance(said, tuple) else (said,)


def _places(said: Any, place: str) -> list[str]:
    return [f"{place}, frame {frame}" for frame in range(len(said))] if isinstance(said, tuple) else [place]


def _model(config: ClipsConfig, train: Labelled, labels: Labels) -> CNNLSTMConfig:
    """The model's config with all that the data decide."""
    each_frame = isinstance((train.targets or [""])[0], tuple)
    if each_frame != config.model.each_frame:
        raise settings.not_for(config, _wrong_pooling(train.file, each_frame, config.model.pooling))
    shape = np.shape(train.sequences[0])[1:]
    decided: CNNLSTMConfig = settings.decided_by_data(config, image_shape=shape, num_classes=len(labels))
    return decided


def _wrong_pooling(data: str, each_frame: bool, pooling: str) -> str:
    has, wanted = ("a label for each frame", "none") if each_frame else ("a label a clip", "another than none")
    return f"{data} has {has}, so --model.pooling must be {wanted}, got {pooling}"


def finish(run: study.Run, model: Any, labels: Any) -> Figures:
    """Test once, train the baselines, draw the figures, and say how good all are and where everything lies."""
    found = measure(run, model, labels)
    others = train_baselines(run) if run.config.baselines else {}
    folder, (*_, test) = run.folder, run.data.parts
    plot_curves(folder.metrics, folder.curve, folder.path.name, {"loss": "loss, nats", "accuracy": "accuracy"})
    said = [scores.argmax(axis=-1) for scores in predict(model, test, run.config.batch_size)]
    true = [labels.encode(_as_tuple(target), _places(target, "")) for target in test.targets]
    counts = confusion(said, true, len(labels))
    figures.plot_confusion(folder.path / "confusion.png", counts, labels.names)
    image_figures.plot_clips(folder.path / "clips.png", *to_look_at(test, said, labels.names))
    print_table({run.data.model.cell: found, **others})
    files = "config.json, labels.json, metrics.jsonl, summary.json, loss.png, confusion.png, clips.png"
    print(f"saved in {folder.path}: {files}, and the newest and best checkpoints in checkpoints/")
    print(f"on another file: {cli.command(STUDY.module, '--checkpoint', folder.path, '--predict', 'FILE.npz')}")
    return with_baselines(found, others)


def train_baselines(run: study.Run) -> dict[str, Figures]:
    """The most frequent class; the same CNN, its frames' vectors averaged; a CNN on the frames side by side."""
    found = {"majority": _majority(run)}
    plain = dataclasses.replace(
        run.data.model, cell="none", bidirectional=False, hidden_dropout=0.0, recurrent_dropout=0.0, input_dropout=0.0
    )
    if plain.each_frame:
        models = {"frames": plain}
    else:
        longest = max(len(clip) for clip in run.data.parts[0].sequences)
        models = {
            "frames": dataclasses.replace(plain, pooling="mean"),
            "stacked": dataclasses.replace(plain, pooling="last", window=longest, output_dropout=0.0),
        }
    for name, model in models.items():
        found[name] = train_baseline(STUDY, run, name, run.data._replace(model=model))
    return found


def _majority(run: study.Run) -> Figures:
    found: Figures = {}
    train, validation, test = (np.concatenate([_as_tuple(t) for t in part.targets]) for part in run.data.parts)
    names, counts = np.unique(train, return_counts=True)
    said = names[counts.argmax()]
    for part, true in (("validation", validation), ("test", test)):
        number = {name: place for place, name in enumerate(names)}
        matrix = confusion([np.full(len(true), number[said])], [np.array([number[t] for t in true])], len(names))
        found |= {f"{part}_accuracy": float(np.mean(true == said)), f"{part}_f1": macro_f1(matrix)}
    return found


def predict(model: Any, part: Labelled, batch_size: int) -> list[np.ndarray]:
    """Probabilities of each clip, [C], or of its frames, [T_n, C]."""
    clips: Any = part.sequences
    scores = predictions.predict(model, "number", clips, batch_size, num_buckets=1)  # as they are
    each = np.asarray(jax.nn.softmax(scores, axis=-1))
    return [row if row.ndim == 1 else row[: len(clip)] for row, clip in zip(each, clips, strict=True)]


def to_look_at(
    part: Labelled, said: Sequence[np.ndarray], names: Sequence[str]
) -> tuple[list[Any], list[str], list[bool]]:
    """Ten clips, up to five that were wrong first; what was said of each, and whether it is right.

    Args:
      part: N clips with what is true of them.
      said: the class of each, or of each of its frames.
      names: the classes.
    """
    true = [_as_tuple(target) for target in part.targets or []]
    came = [tuple(names[number] for number in np.ravel(each)) for each in said]
    wrong = [row for row, labels in enumerate(true) if came[row] != labels][:5]
    right = [row for row, labels in enumerate(true) if came[row] == labels][: 10 - len(wrong)]
    rows = wrong + right
    titles = [_title(true[row], came[row], isinstance((part.targets or [])[row], tuple)) for row in rows]
    return [part.sequences[row] for row in rows], titles, [row in right for row in rows]


def _title(true: Sequence[str], said: Sequence[str], each_frame: bool) -> str:
    if each_frame:
        return f"{sum(map(str.__eq__, true, said))} of {len(true)} frames right"
    return f"{true[0]}, said {said[0]}"


def confusion(said: Sequence[np.ndarray], true: Sequence[np.ndarray], num_classes: int) -> np.ndarray:
    """How often each class (row) was taken for each (column)."""
    predicted, targets = (jnp.asarray(np.concatenate([np.ravel(each) for each in part])) for part in (said, true))
    return np.asarray(metrics.confusion_matrix(predicted, targets, num_classes))


@dataclasses.dataclass(frozen=True)
class PredictConfig:
    """What to read, with which model, and where to write."""

    checkpoint: Path
    """The folder of a trained run."""
    predict: Path
    """The NPZ file to say something of; labels in it are not looked at."""
    out: Path | None = None
    """The CSV file to write; without it, FILE-predictions.csv in this folder."""
    batch_size: int = 64
    """Clips at a time."""

    def __post_init__(self) -> None:
        checks.positive_int("batch_size", self.batch_size)


def run_predictions(arguments: Sequence[str]) -> int:
    """Read a file, say what its clips show, and write it down; returns the exit code."""
    config = cli.parse(PredictConfig, DESCRIPTION, arguments)
    out = config.out or Path(f"{config.predict.stem}-predictions.csv")
    cli.check_out(out)
    cli.check_backend()
    model, labels = load_model(config.checkpoint)
    fields = training.RunFolder(config.checkpoint).read_config()
    if fields["family"] != STUDY.family:
        raise InputError(f"{config.checkpoint} is of the family {fields['family']!r}, not {STUDY.family!r}")
    part, shape = read_clips(config.predict, has_labels=False), fields["model"]["image_shape"]
    if list(np.shape(part.sequences[0])[1:]) != shape:
        raise InputError(f"{config.predict} has frames of {list(np.shape(part.sequences[0])[1:])}; expected {shape}")
    found = predict(model, part, config.batch_size)
    if found[0].ndim == 1:
        places, rows = part.places, np.stack(found)
    else:
        places = [f"{p}, frame {t}" for p, each in zip(part.places, found, strict=True) for t in range(len(each))]
        rows = np.concatenate(found)
    replace_text(out, predictions.table("class", places, rows, labels.names, ""))
    print(f"{len(rows):,} predictions in {out}")
    return 0


STUDY: study.Study[ClipsConfig] = study.Study(
    module="experiments.clips",
    description=DESCRIPTION,
    family="cnn-lstm",
    config=ClipsConfig,
    name=lambda config: Path(str(config.data)).stem,
    load=load,
    finish=finish,
)


def main() -> int:
    if any(argument.split("=")[0] in ("--checkpoint", "--predict") for argument in sys.argv[1:]):
        return run_predictions(sys.argv[1:])
    return study.run(STUDY, sys.argv[1:])


if __name__ == "__main__":
    cli.run(main)
