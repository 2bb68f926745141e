"""How good translations are beside references: BLEU, chrF, exact matches."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from lstmjax.errors import InputError


class Score(NamedTuple):
    """A figure, and how it was computed: for BLEU and chrF sacrebleu's own signature."""

    value: float
    signature: str


def bleu(hypotheses: Sequence[str], references: Sequence[str], *, lowercase: bool = False) -> Score:
    """Corpus BLEU of detokenised text, 0 to 100.

    Args:
      hypotheses: N translations.
      references: what each should be.
      lowercase: take capital letters for small ones.

    Raises:
      ValueError: no texts, or not as many references.
      InputError: sacrebleu is not installed.

    Source: Papineni et al. 2002; Post 2018, "A Call for Clarity in Reporting BLEU Scores", for its signature.
    """
    return _of_corpus(sacrebleu().BLEU(lowercase=lowercase), hypotheses, references)


def chrf(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """Corpus chrF2, the F-score of n-grams of characters, 0 to 100; arguments as for `bleu`.

    Source: Popović 2015, "chrF: character n-gram F-score for automatic MT evaluation".
    """
    return _of_corpus(sacrebleu().CHRF(), hypotheses, references)


def exact(hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    """The share of texts that are the reference, character by character, 0 to 1; arguments as for `bleu`."""
    _check(hypotheses, references)
    hits = sum(said == true for said, true in zip(hypotheses, references, strict=True))
    return Score(hits / len(hypotheses), "share of texts that are the reference")


def scores(hypotheses: Sequence[str], references: Sequence[str]) -> dict[str, Score]:
    """All of the above by their names; arguments as for `bleu`."""
    return {
        "bleu": bleu(hypotheses, references),
        "bleu_lowercase": bleu(hypotheses, references, lowercase=True),
        "chrf": chrf(hypotheses, references),
        "exact": exact(hypotheses, references),
    }


def figures(said: Sequence[str], references: Sequence[str]) -> dict[str, float]:
    """The values of `scores`."""
    return {name: score.value for name, score in scores(said, references).items()}


def table(found: dict[str, Score]) -> str:
    """A line for each score, with its signature."""
    return "\n".join(f"{name:14} {score.value:8.4f}  {score.signature}" for name, score in found.items())


def _of_corpus(metric: Any, hypotheses: Sequence[str], references: Sequence[str]) -> Score:
    _check(hypotheses, references)
    value = metric.corpus_score(list(hypotheses), [list(references)]).score
    return Score(float(value), str(metric.get_signature()))


def _check(hypotheses: Sequence[str], references: Sequence[str]) -> None:
    if not hypotheses or len(hypotheses) != len(references):
        raise ValueError(f"expected a reference for each text, got {len(references)} for {len(hypotheses)}")


def sacrebleu() -> Any:
    """The library, which only this needs.

    Raises:
      InputError: it is not installed.
    """
    try:
        from sacrebleu import metrics  # an optional dependency
    except ImportError:
        raise InputError("BLEU needs sacrebleu, which is not installed: pip install 'lstmjax[experiments]'") from None
    return metrics
