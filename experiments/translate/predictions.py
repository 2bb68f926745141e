"""What trained models make of a file, or of standard input line by line."""

import csv
import io
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TextIO

import jax
import numpy as np

from experiments import cli
from experiments.translate import pictures, scores
from experiments.translate.options import TranslateOptions
from experiments.translate.surprises import of_file, of_line
from lstmjax.data.parallel import read_lines
from lstmjax.data.symbol_pairs import PairVocabulary
from lstmjax.decoding import Alignment, BeamSettings, Translation, alignments, sample_translations, translate_text
from lstmjax.decoding.translated_text import by_length
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.models import Seq2Seq
from lstmjax.sampling import Sampling
from lstmjax.saved import Trained, load_average, load_model
from lstmjax.training import RunFolder

DRAWN = 20
"""Lines of a file of which attention is drawn."""


class Translator(NamedTuple):
    """Models that translate together, and how: by search, or by drawing where there is a temperature."""

    models: list[Seq2Seq]
    vocabulary: PairVocabulary
    longest: int
    settings: BeamSettings
    temperature: float | None
    seed: int

    def __call__(self, lines: Sequence[str], batch_size: int = 1, first: int = 0) -> list[list[Translation]]:
        """The best translations of each line; `first` is the number of the first line."""
        if self.temperature is None:
            return translate_text(self.models, self.vocabulary, lines, settings=self.settings, batch_size=batch_size)
        return [[one] for one in self._drawn(lines, batch_size, first)]

    def _drawn(self, lines: Sequence[str], batch_size: int, first: int) -> list[Translation]:
        assert self.temperature is not None
        found = [Translation("", np.zeros(0, np.int32), 0.0, 0.0)] * len(lines)
        for rows, padded, lengths in by_length(self.vocabulary, lines, batch_size):
            drawn, counts = sample_translations(
                self.models,
                padded,
                lengths=lengths,
                key=jax.random.fold_in(jax.random.key(self.seed), first + rows[0]),
                sampling=Sampling(self.temperature),
                steps=self.settings.steps,
            )
            for row, symbols, count in zip(rows, np.asarray(drawn), np.asarray(counts), strict=False):
                text = self.vocabulary.target.decode(symbols[:count])
                found[row] = Translation(text, symbols[:count], np.nan, np.nan)  # it ranks among no others
        return found


def run(options: TranslateOptions) -> None:
    """Translate a file or standard input."""
    for file in options.files:
        cli.check_out(file)
    translator = load(options)
    if options.translate is not None:
        translate_file(translator, options, options.translate)
    elif options.out is None:
        translate_stream(translator, sys.stdout)
    else:
        with options.out.open("w", encoding="utf-8", newline="\n") as out:
            translate_stream(translator, out)


def load(options: TranslateOptions) -> Translator:
    """The models, and the run's own settings where the options leave them open.

    Raises:
      InputError: a folder that holds no trained translator, or one with other symbols than the first, or options that
        do not fit the run.
    """
    trained = [_load_one(folder, options) for folder in options.checkpoint]
    for folder, (_, vocabulary) in zip(options.checkpoint, trained, strict=True):
        if vocabulary != trained[0].companion:
            raise InputError(
                f"{folder} has another vocabulary.json than {options.checkpoint[0]}; together, they need the same"
            )
    run = RunFolder(options.checkpoint[0]).read_config()
    return Translator(
        models=[model for model, _ in trained],
        vocabulary=trained[0].companion,
        longest=int(run.get("longest", 100)),
        settings=options.search(run),
        temperature=options.temperature,
        seed=options.seed or 0,
    )


def _load_one(folder: Path, options: TranslateOptions) -> Trained:
    if options.average is not None:
        found = load_average(folder, options.average)
    else:
        found = load_model(folder, "best" if options.step is None else options.step)
    if not isinstance(found.model, Seq2Seq):
        raise InputError(f"{folder} holds a {type(found.model).__name__}; expected a Seq2Seq")
    looks_back = RunFolder(folder).read_config()["model"]["attention"] != "none"
    for name in ("attention", "coverage_penalty"):
        if getattr(options, name) is not None and not looks_back:
            raise InputError(f"--{name.replace('_', '-')} needs attention, which the model in {folder} has not")
    return found


def translate_file(translator: Translator, options: TranslateOptions, file: Path) -> None:
    """Translate all lines, write what is asked for, and say how fast it went and how good it is."""
    lines = read_lines(file)
    references = None if options.reference is None else _references(options.reference, file, len(lines))
    for warning in of_file(file, lines, translator.vocabulary.source, translator.longest):
        print(f"warning: {warning}", file=sys.stderr)
    start = time.perf_counter()
    found = translator(lines, options.batch_size)
    seconds = time.perf_counter() - start
    said = [one_line(best.text) for best, *_ in found]
    assert options.file is not None
    replace_text(options.file, "".join(line + "\n" for line in said))
    if options.nbest_file is not None:
        replace_text(options.nbest_file, nbest_table(found))
    if options.attention is not None:
        write_attention(options.attention, translator, lines, found, options.batch_size)
    speed = f"{seconds:.1f} s, {len(lines) / seconds:.3g} a second with the time to compile"
    print(f"{len(lines):,} lines translated in {speed}: {', '.join(map(str, options.files))}")
    if references is not None:
        print(scores.table(scores.scores(said, references)))


def _references(file: Path, source: Path, count: int) -> list[str]:
    scores.sacrebleu()  # that it is missing is better known before than after the work
    references = read_lines(file)
    if len(references) != count:
        raise InputError(f"{file} has {len(references)} lines, and {source}, which it is the reference of, {count}")
    return references


def translate_stream(translator: Translator, out: TextIO) -> None:
    """Translate standard input, each line as soon as it is there."""
    if sys.stdin is None:
        raise InputError("standard input is closed; expected lines to translate, or --translate FILE")
    for row, line in enumerate(lines_of(sys.stdin.buffer)):
        for warning in of_line(row + 1, line, translator.vocabulary.source, translator.longest):
            print(f"warning: {warning}", file=sys.stderr, flush=True)
        ((best, *_),) = translator([line], first=row)
        print(one_line(best.text), file=out, flush=True)


def lines_of(stream: BinaryIO) -> Iterator[str]:
    """The lines of standard input as they come, the last with or without its end; see `read_lines`.

    Raises:
      InputError: a line is not UTF-8 text.
    """
    for number, line in enumerate(iter(stream.readline, b""), 1):
        try:
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            reason = f"{error.reason} at byte {error.start} of the line"
            raise InputError(f"standard input is not UTF-8 text: {reason}, line {number}") from error
        yield text.removesuffix("\n").removesuffix("\r")


def one_line(text: str) -> str:
    """A translation without what would end its line or its cell; models that spell in bytes can write anything.

    >>> one_line("a\\tb\\nc")
    'a b c'
    """
    return text.translate(dict.fromkeys(map(ord, "\t\n\r"), " "))


def nbest_table(found: Sequence[Sequence[Translation]]) -> str:
    """A row for each translation of each line, the best first, parted by tabs."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter="\t", lineterminator="\n", quoting=csv.QUOTE_NONE, quotechar=None)
    writer.writerow(["line", "rank", "score", "log_probability", "translation"])
    for line, best in enumerate(found, 1):
        for rank, one in enumerate(best, 1):
            writer.writerow([line, rank, f"{one.score:.6f}", f"{one.log_probability:.6f}", one_line(one.text)])
    return text.getvalue()


def write_attention(
    folder: Path, translator: Translator, lines: Sequence[str], found: Sequence[Sequence[Translation]], batch_size: int
) -> None:
    """What each symbol of the best translations looked at, as JSON, and pictures of the first lines."""
    targets = [best.symbols for best, *_ in found]
    maps = alignments(translator.models, translator.vocabulary, lines, targets, batch_size=batch_size)
    records = [{"line": number, **_plain(one)} for number, one in enumerate(maps, 1)]
    replace_text(folder / "attention.json", "[\n" + ",\n".join(map(_json, records)) + "\n]\n")
    for number, one in enumerate(maps[:DRAWN], 1):
        if one.source:
            pictures.plot_attentions(folder / f"line-{number}.png", [one])


def _plain(one: Alignment) -> dict[str, Any]:
    return one._asdict() | {"weights": [[round(float(weight), 5) for weight in row] for row in one.weights]}


def _json(record: dict[str, Any]) -> str:
    return json.dumps(record, ensure_ascii=False)
