"""What image decoders are trained to do, their figures, and what their symbols mean."""

import json
from pathlib import Path

from lstmjax.data.symbols import Characters, Words
from lstmjax.errors import InputError
from lstmjax.models import seq2seq_task
from lstmjax.models.config_parts import check_size
from lstmjax.models.image_decoder_config import ImageDecoderConfig
from lstmjax.tasks import Task


def read_meaning(folder: Path) -> Characters | Words:
    """Read what stands beside a trained model: the symbols that it writes.

    Raises:
      InputError: the file is missing or is something else.
    """
    path = folder / "vocabulary.json"
    try:
        match json.loads(path.read_text(encoding="utf-8")):
            case {"kind": "characters", "known": [*known]}:
                return Characters(tuple(known))
            case {"kind": "words", "known": [*known]}:
                return Words(tuple(known))
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a readable vocabulary: {error}") from error
    raise InputError(f"{path} is not a vocabulary of characters or words")


def with_meaning(config: ImageDecoderConfig, symbols: Characters | Words) -> ImageDecoderConfig:
    """The config, once it is sure that it belongs with its vocabulary.

    Raises:
      ValueError: there are not as many symbols as the config says.
    """
    check_size("vocab_size", config.vocab_size, len(symbols), "symbols in its vocabulary")
    return config


def task(config: ImageDecoderConfig) -> Task:
    """Write the text of an image, from `SequenceBatch`es: `inputs` [B, H, W, C], `targets` [B, T] with the end symbol.

    Args:
      config: says how much labels are smoothed.

    Returns:
      a task, that of `seq2seq_task`; its figures: loss, in nats a symbol; perplexity; accuracy, of symbols, the true
      ones before them given; exact, the share of texts of which every symbol is right.
    """
    return seq2seq_task.task(config.writing())
