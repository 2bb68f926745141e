"""The tags that a trained model gives another file."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from flax import nnx

from experiments import cli, trained
from experiments.ranges import Checked, Index, Positive
from experiments.tag import sentences
from lstmjax.data import tagged
from lstmjax.data.source import Bucketed
from lstmjax.data.tagged import Sentences
from lstmjax.data.tagged_output import with_tags
from lstmjax.files import replace_text
from lstmjax.models import Tagger
from lstmjax.training import RunFolder


@dataclasses.dataclass(frozen=True)
class PredictConfig(Checked):
    """What to read, with which model, and where to write."""

    checkpoint: Path
    """The folder of a trained run."""
    predict: Path
    """The file to tag; tags in it are not looked at."""
    out: Path | None = None
    """The file to write: the same with a column of tags at the end, or in CoNLL-U with the column of tags filled in;
    without it, FILE with -tagged before its ending, in this folder."""
    file_format: Literal["auto", "conllu", "columns", "text"] = "auto"
    """text: one sentence a line, parted at blanks. auto: CoNLL-U if the name ends in .conllu; if it ends in .txt, what
    its rows look like, text or columns; else columns."""
    token_column: int | None = None
    """Of columns: that of the tokens, counted from 0; without it, as in training, or 0 in a file of one column."""
    step: Index | None = None
    """Which checkpoint; without it, the best."""
    batch_size: Positive = 64
    """Sentences at a time."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.file.resolve() == self.predict.resolve():
            raise ValueError(f"out must be another file than the one to tag, {self.predict}")
        if self.file.suffix.lower() == ".gz":
            raise ValueError(f"out is written unpacked, so its name must not end in .gz, got {self.file}")

    @property
    def file(self) -> Path:
        """The file to write."""
        name = self.predict.name.removesuffix(".gz")
        return self.out or Path(f"{Path(name).stem}-tagged{Path(name).suffix}")


def run(config: PredictConfig) -> None:
    """Read a file, tag its sentences, and write it back with the tags."""
    cli.check_out(config.file)
    model, vocabulary = trained.load(config.checkpoint, config.step, Tagger)
    settings = RunFolder(config.checkpoint).read_config()
    kind = config.file_format
    if kind == "auto":
        kind = tagged.format_of(config.predict, tags=settings["model"]["tags"])
    found = _read(config, kind, settings)
    part = sentences.encode(found, vocabulary, None, settings["longest_sentence"])
    said = tag(model, part, settings["model"]["tags"], config.batch_size)
    column = _treebank_tag(settings) if kind == "conllu" else None
    replace_text(config.file, with_tags(config.predict, found, said, file_format=kind, tag=column))
    print(f"{sum(map(len, said)):,} tokens in {len(said):,} sentences tagged in {config.file}, read as {kind}")


def tag(
    model: nnx.Module, part: sentences.Encoded, names: Sequence[str], batch_size: int, num_buckets: int = 8
) -> list[tuple[str, ...]]:
    """The tags of every sentence of a part, in its order."""

    def tags_of(tagger: Any, inputs: Any, lengths: Any) -> Any:
        characters = None if tagger.spelling is None else inputs[:, :, 1:]
        return tagger.tag(inputs[:, :, 0], characters, lengths=lengths)

    say, count = trained.compiled(model, tags_of), len(part.inputs)
    num_buckets = min(num_buckets, -(-count // batch_size))
    source = Bucketed(part.inputs, np.arange(count), min(batch_size, count), num_buckets, seed=None)
    padded = trained.in_order(source, lambda batch: np.asarray(say(batch.inputs, batch.lengths)))
    found = [tags[: len(piece)] for tags, piece in zip(padded, part.inputs, strict=True)]
    return [tuple(names[tag] for tag in tags) for tags in part.joined(found)]


def _read(config: PredictConfig, kind: tagged.Format, settings: dict[str, Any]) -> Sentences:
    match kind:
        case "conllu":
            return tagged.read_conllu(config.predict, tag=None)
        case "text":
            return tagged.read_plain(config.predict)
    column = settings["token_column"] if config.token_column is None else config.token_column
    if config.token_column is None and sentences.width(config.predict) == 1:
        column = 0
    return tagged.read_columns(config.predict, token_column=column, tag_column=None)


def _treebank_tag(settings: dict[str, Any]) -> str:
    """The column of CoNLL-U that tags go to: the one that they came from, or upos where they came from elsewhere."""
    given = settings["tag_column"]
    return given if given in tagged.CONLLU_TAGS else "upos"
