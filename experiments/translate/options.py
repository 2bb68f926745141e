"""How the command is told what to translate, and how."""

import dataclasses
from pathlib import Path
from typing import Annotated, Any, Literal

from experiments.ranges import Amount, Checked, Index, Positive, Seed
from lstmjax import checks
from lstmjax.decoding import BeamSettings, GNMTLength, PlainLength
from lstmjax.errors import InputError
from lstmjax.sampling import Sampling

OF_SEARCH = ("beam", "n_best", "penalty", "length_penalty", "coverage_penalty", "block_ngrams", "min_length")
OF_FILES = ("n_best", "attention", "reference")


def _check_temperature(name: str, value: float) -> None:
    Sampling(temperature=value)


@dataclasses.dataclass(frozen=True)
class TranslateOptions(Checked):
    """What to read, with which models, how to decode, and where to write."""

    checkpoint: tuple[Path, ...]
    """The folder of a trained run; or of several with the same vocabulary, which then choose each symbol together."""
    translate: Path | None = None
    """The file to translate, one sentence a line (UTF-8, packed or not); without it, standard input, line by line."""
    out: Path | None = None
    """The file to write; without it, FILE with -translated before its ending, in this folder, or standard output."""
    reference: Path | None = None
    """Of a file: what it should become, line by line, to say how good the translations are."""
    n_best: Positive | None = None
    """Of a file: write the so many best of each line too, into the file to write with .nbest.tsv for its ending."""
    attention: Path | None = None
    """Of a file: a folder for attention.json, what each symbol looked at, and for pictures of the first 20 lines."""
    beam: Positive | None = None
    """Hypotheses kept; 1 is greedy. Without it, as in the run's config."""
    penalty: Literal["gnmt", "plain"] | None = None
    """What log probabilities are divided by: ((5 + L) / 6)^a (gnmt, the default) or L^a (plain), L the length."""
    length_penalty: Annotated[float, checks.finite] | None = None
    """a; 0 favours short translations. Without it, as in the run's config."""
    coverage_penalty: Amount | None = None
    """At least 0, weight of GNMT's penalty for words not looked at; without it, 0."""
    block_ngrams: Positive | None = None
    """Write no so many symbols twice in a translation."""
    min_length: Index | None = None
    """The fewest symbols of a translation; without it, 0."""
    max_length: Positive | None = None
    """The most; without it, twice as many as the longest text had in training."""
    temperature: Annotated[float, _check_temperature] | None = None
    """Draw each symbol instead of searching: 1 follows the model, less is tamer, 0 always takes the likeliest."""
    seed: Seed | None = None
    """Of drawing: the same seed draws the same from the same input; without it, 0."""
    step: Index | None = None
    """Which checkpoint; without it, the best."""
    average: Positive | None = None
    """Take the mean of the parameters of each folder's so many newest checkpoints."""
    batch_size: Positive = 64
    """Sentences of a file at a time."""

    def __post_init__(self) -> None:
        if not self.checkpoint:
            raise ValueError("checkpoint must name at least one folder")
        super().__post_init__()
        self._check_together()
        self._check_files()

    def _check_together(self) -> None:
        """Nothing that is given is left unused."""
        if self.step is not None and self.average is not None:
            raise ValueError("step and average must not be given together")
        if self.temperature is None and self.seed is not None:
            raise ValueError("seed is of drawing, so it needs temperature")
        if self.temperature is not None:
            self._refuse(OF_SEARCH, "of the search, which temperature replaces by drawing")
        if self.translate is None:
            self._refuse(OF_FILES, "of files, so it needs translate")

    def _refuse(self, names: tuple[str, ...], reason: str) -> None:
        for name in names:
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is {reason}")

    def _check_files(self) -> None:
        for file in self.files:
            for read in (self.translate, self.reference):
                if read is not None and read.resolve() == file.resolve():
                    raise ValueError(f"out must be another file than the one to read, {read}")
            if file.suffix.lower() == ".gz":
                raise ValueError(f"out is written unpacked, so its name must not end in .gz, got {file}")
        if len({file.resolve() for file in self.files}) < len(self.files):
            raise ValueError(f"out must not be the file of the best ones beside it, {self.nbest_file}")

    @property
    def file(self) -> Path | None:
        """The file of translations; None for standard output."""
        if self.out is not None or self.translate is None:
            return self.out
        name = Path(self.translate.name.removesuffix(".gz"))
        return Path(f"{name.stem}-translated{name.suffix}")

    @property
    def nbest_file(self) -> Path | None:
        """That of the best few of each line; None where it is not asked for."""
        return None if self.file is None or self.n_best is None else self.file.with_suffix(".nbest.tsv")

    @property
    def attention_file(self) -> Path | None:
        """That of what was looked at; None where it is not asked for."""
        return None if self.attention is None else self.attention / "attention.json"

    @property
    def files(self) -> list[Path]:
        """What is written, but for pictures."""
        return [file for file in (self.file, self.nbest_file, self.attention_file) if file is not None]

    def most(self, run: dict[str, Any]) -> int:
        """The most symbols of a translation, by a run's settings where it is not given."""
        return self.max_length or 2 * int(run.get("longest", 100))

    def search(self, run: dict[str, Any]) -> BeamSettings:
        """How to search, by a run's settings where it is not given.

        Raises:
          InputError: options that contradict one another or the run's settings.
        """
        beam = self.beam or run.get("beam", 5)
        alpha = run.get("length_penalty", 0.6) if self.length_penalty is None else self.length_penalty
        most, fewest, n_best = self.most(run), self.min_length or 0, self.n_best or 1
        if n_best > beam:
            raise InputError(f"--n-best must be at most the {beam} of --beam, got {n_best}")
        if fewest > most:
            raise InputError(f"--min-length must be at most the {most} of --max-length, got {fewest}")
        return BeamSettings(
            beam=beam,
            n_best=n_best,
            steps=most,
            min_steps=fewest,
            length_penalty=PlainLength(alpha) if self.penalty == "plain" else GNMTLength(alpha),
            coverage_beta=self.coverage_penalty or 0.0,
            block_ngrams=self.block_ngrams or 0,
        )
