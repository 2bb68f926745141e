"""Sequences and what is to be said of them: split, and turned into arrays and batches."""

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from lstmjax.data import Labelled, examples
from lstmjax.data.labels import Labels
from lstmjax.data.source import Bucketed
from lstmjax.data.text import Vocabulary
from lstmjax.data.words import TOKENIZERS, WordVocabulary
from lstmjax.errors import InputError
from lstmjax.models import SequenceToOneConfig
from lstmjax.models.sequence_config import Answer
from lstmjax.models.sequence_task import Meaning

LARGEST = 1e18  # float32 squares no more


def some(labelled: Labelled, count: int, seed: int) -> Labelled:
    """About so many of the examples, of every label at least one, chosen by a seed; all where there are no more."""
    if len(labelled.sequences) <= count:
        return labelled
    return examples.split(labelled, 1 - count / len(labelled.sequences), seed)[0]


class Encoding(NamedTuple):
    """How sequences and targets become arrays; for texts a vocabulary, for numbers how many a step has."""

    answer: Answer
    vocabulary: Vocabulary | None
    in_features: int | None
    labels: Labels | None
    num_outputs: int

    @classmethod
    def of(
        cls,
        train: Labelled,
        whole: Labelled,
        answer: Answer,
        tokenizer: str = "words",
        min_count: int = 1,
        max_words: int | None = None,
    ) -> "Encoding":
        """The encoding that the data ask for: words and sizes of the training part, labels of all that it came from."""
        targets = _checked_targets(whole, answer)
        texts = [sequence for sequence in train.sequences if isinstance(sequence, str)]
        vocabulary = WordVocabulary.of(texts, TOKENIZERS[tokenizer], min_count, max_words) if texts else None
        in_features = None if texts else int(np.shape(train.sequences[0])[1])
        if answer == "number":
            return cls(answer, vocabulary, in_features, None, np.shape(targets)[1])
        each = targets if answer == "class" else [label for labels in targets for label in labels]
        each = [*each, *(whole.classes or ())]
        fewest = 2 if answer == "class" else 1
        if len(set(each)) < fewest:
            found = ", ".join(map(repr, set(each))) or "none"
            raise InputError(f"{whole.file} has the labels {found}; expected at least {fewest}")
        labels = Labels.of(each)
        return cls(answer, vocabulary, in_features, labels, len(labels))

    @classmethod
    def with_meaning(cls, meaning: Meaning, model: SequenceToOneConfig) -> "Encoding":
        """The encoding that a trained model was trained with."""
        assert model.answer is not None
        assert model.num_outputs is not None
        return cls(model.answer, meaning.vocabulary, model.in_features, meaning.labels, model.num_outputs)

    def inputs(self, labelled: Labelled) -> list[np.ndarray]:
        """Symbols [T_n] or numbers [T_n, I] of each sequence.

        Raises:
          InputError: texts where numbers are expected, or the other way round, or another number of features.
        """
        return [
            self._input(sequence, place) for sequence, place in zip(labelled.sequences, labelled.places, strict=True)
        ]

    def _input(self, sequence: Any, place: str) -> np.ndarray:
        if isinstance(sequence, str):
            if self.vocabulary is None:
                raise InputError(f"{place} is a text; expected {self.in_features} numbers a step")
            return self.vocabulary.encode(sequence)
        if self.vocabulary is not None:
            raise InputError(f"{place} holds numbers; expected a text")
        if sequence.shape[1] != self.in_features:
            raise InputError(f"{place} has {sequence.shape[1]} numbers a step; expected {self.in_features}")
        numbers: np.ndarray = sequence
        return numbers

    def targets(self, labelled: Labelled) -> np.ndarray:
        """Class numbers [N], 1 for each class it is of [N, C], or numbers [N, K].

        Raises:
          InputError: a label that the training data do not have, or another number of numbers.
        """
        targets = _checked_targets(labelled, self.answer)
        if self.answer == "number":
            _check_representable(targets, labelled.places)
            numbers = np.asarray(targets, np.float32)
            if numbers.shape[1] != self.num_outputs:
                raise InputError(f"{labelled.file} has {numbers.shape[1]} targets; expected {self.num_outputs}")
            return numbers
        assert self.labels is not None
        encode = self.labels.encode if self.answer == "class" else self.labels.encode_sets
        found: np.ndarray = encode(targets, labelled.places)
        return found


def pieces(labelled: Labelled) -> Iterator[bytes]:
    """Sequences and targets, to be known by wherever they were read from."""
    for sequence in labelled.sequences:
        if isinstance(sequence, str):
            yield sequence.encode("utf-8", "surrogatepass") + b"\0"
        else:
            yield str(sequence.shape).encode()
            yield np.ascontiguousarray(sequence).tobytes()
    targets = labelled.targets
    yield targets.tobytes() if isinstance(targets, np.ndarray) else repr(targets).encode()


def batches(
    inputs: Sequence[np.ndarray], targets: np.ndarray, batch_size: int, num_buckets: int, seed: int | None
) -> Bucketed:
    """Batches of sequences of nearly one length; at most a batch's rows where there are fewer sequences."""
    return Bucketed(inputs, targets, min(batch_size, len(inputs)), min(num_buckets, len(inputs)), seed)


def _checked_targets(labelled: Labelled, answer: Answer) -> Any:
    """The targets, which must be of the kind that the task asks for."""
    kinds: dict[str, bool] = {
        "number": isinstance(labelled.targets, np.ndarray),
        "class": isinstance(labelled.targets, list) and isinstance(labelled.targets[0], str),
        "classes": isinstance(labelled.targets, list) and isinstance(labelled.targets[0], tuple),
    }
    expected = {"number": "numbers", "class": "one label a sequence", "classes": "sets of labels"}
    if not kinds[answer]:
        came = next((what for kind, what in expected.items() if kinds[kind]), "no targets")
        raise InputError(f"{labelled.file} has {came}; --task expects {expected[answer]}")
    return labelled.targets


def _check_representable(numbers: np.ndarray, places: Sequence[str]) -> None:
    """Every target is a number that float32 can hold, and so can its square."""
    for place, row in zip(places, numbers, strict=True):
        if np.abs(row).max(initial=0.0) > LARGEST:
            raise InputError(f"{place} has the target {np.abs(row).max():g}; expected at most {LARGEST:g}")
