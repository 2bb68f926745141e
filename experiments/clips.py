"""Learn to say what clips show, or each of their frames.

Trains a CNN with an LSTM on top on moving digits that it makes from MNIST (direction: 8 directions at 2 speeds; first:
which of two digits leaves first; visible: how many are seen, frame by frame, with --model.pooling none) or on a file:
NPZ with clips [N, T, H, W] or [N, T, H, W, C], uint8 or floats in [0, 1]; labels [N], or [N, T] for each frame; perhaps
lengths [N]. What a trained model says of another file is written by --checkpoint DIR --predict FILE.npz.

Usage: python -m experiments.clips --data direction|first|visible|FILE.npz [--test FILE.npz] [--out DIR] ...
"""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments import baselines, cli, figures, image_figures, image_parts, settings, study
from experiments.baselines import Figures
from experiments.classify import answers, predictions
from experiments.observers import plot_curves
from experiments.parts import Parts, described, digest, in_batches
from experiments.ranges import Checked, Positive, at_least
from lstmjax import metrics, training
from lstmjax.data import Labelled, datasets
from lstmjax.data.digit_clips import MAKERS, digit_clips
from lstmjax.data.images import read_clips
from lstmjax.data.labels import Labels, save_labels
from lstmjax.data.source import Bucketed
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import CNNLSTMConfig
from lstmjax.saved import load_model

CLIPS = 16000


@dataclasses.dataclass(frozen=True)
class ClipsConfig(image_parts.PartsConfig):
    """Every setting of a run."""

    data: str | None = None
    """An NPZ file, or moving digits: direction, first, visible."""
    clips: Annotated[int, at_least(8)] | None = None
    """Of moving digits: how many clips to learn from, 16,000 unless said; a quarter as many, of other digits, for the
    test."""
    num_buckets: Positive = 2
    """At most so many lengths of batches, so that clips are batched with others of nearly their length."""
    epochs: Positive = 4
    model: CNNLSTMConfig = dataclasses.field(default_factory=CNNLSTMConfig)

    def __post_init__(self) -> None:
        super().__post_init__()
        settings.keep_findable(self, self.data, MAKERS)
        if self.clips is not None and self.data not in (None, *MAKERS):
            raise ValueError(f"clips is for moving digits, {', '.join(MAKERS)}; a file has as many as it has")
        if self.data in MAKERS and self.test is not None:
            raise ValueError(f"test is for clips from a file; {self.data} makes its own")


def load(config: ClipsConfig) -> study.Data:
    """Read or make the clips; what the model must know of them goes into its config."""
    parts = _parts(config)
    _check_alike(parts)
    train = parts.train
    known = parts if config.test is None else parts[:2]
    labels = Labels.of(label for part in known for said in part.targets or [] for label in _as_tuple(said))
    if len(labels) < 2:
        raise InputError(f"{train.file} has one label only, {labels.names[0]!r}; expected at least 2")
    num_buckets = 1 if config.quick else config.num_buckets  # each takes its time to compile
    sources = in_batches(
        parts, lambda part, seed: batches(part, labels, config.batch_size, num_buckets, seed), config.seed
    )
    lengths = [len(clip) for clip in train.sequences]
    height, width, channels = np.shape(train.sequences[0])[1:]
    return study.Data(
        *sources,
        model=_model(config, train, labels),
        save_companion=lambda folder: save_labels(labels, folder.labels),
        identity={"clips": [len(part.sequences) for part in parts], "sha256": digest(image_parts.pieces(parts))},
        symbols_per_step=round(config.batch_size * float(np.mean(lengths))),
        unit="frames",
        description=(
            f"{described('clips', [len(part.sequences) for part in parts])}; {min(lengths)} to {max(lengths)} frames "
            f"of {height} x {width} x {channels}; {len(labels)} classes"
        ),
        parts=parts,
    )


def _parts(config: ClipsConfig) -> Parts[Labelled]:
    if config.data is None:
        raise InputError(f"--data must name a file, or one of {', '.join(MAKERS)}")
    if config.data in MAKERS:
        _check_pooling(config, f"--data {config.data}", config.data == "visible")
        return _made(config.data, config.at_most(config.clips or CLIPS))
    image_parts.check_name(config.data, MAKERS)
    test = None if config.test is None else read_clips(config.test)
    return image_parts.in_parts(read_clips(config.data), test, config)


def _made(kind: Any, count: int) -> Parts[Labelled]:
    """Clips of digits that no other part has; the same ones for every seed of training."""
    splits = zip(datasets.mnist_rows(), (count, max(2, count // 16), max(2, count // 4)), range(3), strict=True)
    made = (
        digit_clips(kind, digits.sequences, digits.targets, size, seed=seed, name=f"{kind} {seed}")  # type: ignore
        for digits, size, seed in splits
    )
    return Parts(*made)


def _check_alike(parts: Sequence[Labelled]) -> None:
    """All clips have frames of one size and labels of one kind."""
    first = parts[0]
    shape = np.shape(first.sequences[0])[1:]
    for part in parts[1:]:
        came = np.shape(part.sequences[0])[1:]
        if came != shape:
            raise InputError(f"{part.file} has frames of {list(came)}; expected {list(shape)}, as {first.file}")
        if _is_each_frame(part) != _is_each_frame(first):
            said = "a label a frame" if _is_each_frame(first) else "a label a clip"
            raise InputError(f"{part.file} must have {said}, as {first.file}")


def batches(part: Labelled, labels: Labels, batch_size: int, num_buckets: int, seed: int | None) -> Bucketed:
    """Batches of clips of nearly one length, with numbers of classes [N], or one array [T_n] a clip."""
    clips = [np.asarray(clip) for clip in part.sequences]
    said = zip(part.targets or [], part.places, strict=True)
    each = [labels.encode(_as_tuple(label), _places(label, place)) for label, place in said]
    targets = each if _is_each_frame(part) else np.concatenate(each)
    return Bucketed(clips, targets, min(batch_size, len(clips)), min(num_buckets, len(clips)), seed)


def _is_each_frame(part: Labelled) -> bool:
    return isinstance((part.targets or [""])[0], tuple)


def _as_tuple(said: Any) -> tuple[str, ...]:
    return said if isinstance(said, tuple) else (said,)


def _places(said: Any, place: str) -> list[str]:
    return [f"{place}, frame {frame}" for frame in range(len(said))] if isinstance(said, tuple) else [place]


def _model(config: ClipsConfig, train: Labelled, labels: Labels) -> CNNLSTMConfig:
    """The model's config with all that the data decide."""
    _check_pooling(config, train.file, _is_each_frame(train))
    shape = np.shape(train.sequences[0])[1:]
    return settings.decided_by_data(config, config.model, image_shape=shape, num_classes=len(labels))


def _check_pooling(config: ClipsConfig, data: str, each_frame: bool) -> None:
    if each_frame != config.model.each_frame:
        has, wanted = ("a label for each frame", "none") if each_frame else ("a label a clip", "another than none")
        wrong = f"{data} has {has}, so --model.pooling must be {wanted}, got {config.model.pooling}"
        raise settings.not_for(config, wrong)


def finish(run: study.Run, model: Any, labels: Any) -> Figures:
    """Test once, train the baselines, draw the figures, and say how good all are and where everything lies."""
    found = {run.data.model.cell: baselines.measure(run, model, labels)}
    if run.config.baselines:
        found |= train_baselines(run)
    folder, test = run.folder, run.data.parts.test
    plot_curves(folder.metrics, folder.curve, folder.path.name, {"loss": "loss, nats", "accuracy": "accuracy"})
    said = [scores.argmax(axis=-1) for scores in predict(model, test, run.config.batch_size)]
    true = answers.targets_of(run.data.test)
    counts = metrics.confusion_matrix(jnp.asarray(np.hstack(said)), jnp.asarray(true), len(labels))
    figures.plot_confusion(folder.path / "confusion.png", np.asarray(counts), labels.names)
    image_figures.plot_clips(folder.path / "clips.png", *to_look_at(test, said, labels.names))
    return baselines.conclude(run, found, "on another file", "--predict", "FILE.npz", all_figures=True)


def train_baselines(run: study.Run) -> dict[str, Figures]:
    """The most frequent class; the same CNN, its frames' vectors averaged; a CNN on the frames side by side."""
    plain = dataclasses.replace(
        run.data.model, cell="none", bidirectional=False, hidden_dropout=0.0, recurrent_dropout=0.0, input_dropout=0.0
    )
    if plain.each_frame:
        models = {"frames": plain}
    else:
        longest = max(len(clip) for clip in run.data.parts.train.sequences)
        models = {
            "frames": dataclasses.replace(plain, pooling="mean"),
            "stacked": dataclasses.replace(plain, pooling="last", window=longest, output_dropout=0.0),
        }
    found = {"majority": answers.without_inputs(run, "class")}
    return found | {name: baselines.train(run, name, model) for name, model in models.items()}


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
    titles = [_title(true[row], came[row], _is_each_frame(part)) for row in rows]
    return [part.sequences[row] for row in rows], titles, [row in right for row in rows]


def _title(true: Sequence[str], said: Sequence[str], each_frame: bool) -> str:
    if each_frame:
        return f"{sum(map(str.__eq__, true, said))} of {len(true)} frames right"
    return f"{true[0]}, said {said[0]}"


@dataclasses.dataclass(frozen=True)
class PredictConfig(Checked):
    """What to read, with which model, and where to write."""

    checkpoint: Path
    """The folder of a trained run."""
    predict: Path
    """The NPZ file to say something of; labels in it are not looked at."""
    out: Path | None = None
    """The CSV file to write; without it, FILE-predictions.csv in this folder."""
    batch_size: Positive = 64
    """Clips at a time."""


def run_predictions(config: PredictConfig) -> None:
    """Read a file, say what its clips show, and write it down."""
    out = config.out or Path(f"{config.predict.stem}-predictions.csv")
    cli.check_out(out)
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


STUDY: study.Study[ClipsConfig] = study.Study(
    module="experiments.clips",
    description=__doc__,
    family="cnn-lstm",
    config=ClipsConfig,
    name=lambda config: Path(str(config.data)).stem,
    load=load,
    finish=finish,
    use=study.Use(PredictConfig, run_predictions),
)
main = STUDY.main


if __name__ == "__main__":
    cli.run(main)
