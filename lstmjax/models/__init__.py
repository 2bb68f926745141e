"""Models: layers put together for a task, one file a family; `FAMILIES` says which there are.

- `language_model.py`: embedding, LSTM stack, projection
- `sequence_to_one.py`: recurrent layers, pooling, dense layers; classifiers and regressors
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from flax import nnx

from lstmjax.data.text import load_vocabulary
from lstmjax.models import language_model, sequence_to_one
from lstmjax.models.language_model import LanguageModel, LanguageModelConfig
from lstmjax.models.sequence_to_one import SequenceClassifier, SequenceEncoder, SequenceRegressor, SequenceToOneConfig
from lstmjax.tasks import Task

__all__ = [
    "FAMILIES",
    "Family",
    "LanguageModel",
    "LanguageModelConfig",
    "SequenceClassifier",
    "SequenceEncoder",
    "SequenceRegressor",
    "SequenceToOneConfig",
]


class Family(NamedTuple):
    """Models of one kind, made from a config alone.

    Args:
      config: a frozen dataclass that holds every size.
      build: `(config, rngs) -> module`.
      task: `config -> Task`, what it is trained to do.
      companion: reads what goes with a trained model, such as its vocabulary, from its run's folder.
      completed: `(config, companion) -> config` with every size that the companion decides; ValueError where the two
        do not belong together.
    """

    config: type[Any]
    build: Callable[[Any, nnx.Rngs], nnx.Module]
    task: Callable[[Any], Task]
    companion: Callable[[Path], Any]
    completed: Callable[[Any, Any], Any]


FAMILIES: dict[str, Family] = {
    "language-model": Family(
        config=LanguageModelConfig,
        build=lambda config, rngs: LanguageModel(config.vocab_size, config, rngs=rngs),
        task=language_model.task,
        companion=lambda folder: load_vocabulary(folder / "vocabulary.json"),
        completed=language_model.with_vocabulary,
    ),
    "sequence-to-one": Family(
        config=SequenceToOneConfig,
        build=sequence_to_one.build,
        task=sequence_to_one.task,
        companion=sequence_to_one.read_meaning,
        completed=sequence_to_one.with_meaning,
    ),
}
