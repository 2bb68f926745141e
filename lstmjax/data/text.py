"""Text as integer symbols: vocabularies, files, and contiguous streams for truncated backpropagation."""

import contextlib
import dataclasses
import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

import numpy as np

from lstmjax import checks
from lstmjax.errors import InputError

UNKNOWN = "\N{REPLACEMENT CHARACTER}"


class Vocabulary(Protocol):
    """A two-way table between text and integer symbols."""

    def __len__(self) -> int: ...

    def encode(self, text: str) -> np.ndarray: ...

    def decode(self, ids: np.ndarray) -> str: ...

    def unknown(self, text: str) -> str: ...

    def to_json(self) -> dict[str, Any]: ...


@dataclasses.dataclass(frozen=True)
class CharVocabulary:
    """One symbol a character; id 0 stands for every character that is not among `symbols`.

    Args:
      symbols: distinct characters in ascending order; `symbols[k]` has the id k + 1.

    Raises:
      ValueError: characters that are repeated or out of order.

    >>> vocabulary = CharVocabulary.of("hello")
    >>> vocabulary.symbols, vocabulary.encode("hole!").tolist(), vocabulary.decode(np.array([2, 1, 0]))
    ('ehlo', [2, 4, 3, 1, 0], 'he\ufffd')
    """

    symbols: str

    def __post_init__(self) -> None:
        if list(self.symbols) != sorted(set(self.symbols)):
            raise ValueError("symbols must be distinct characters in ascending order")

    @classmethod
    def of(cls, text: str) -> "CharVocabulary":
        """The vocabulary of all characters in `text`."""
        return cls("".join(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.symbols) + 1

    def encode(self, text: str) -> np.ndarray:
        """Ids, int32 [N], one for each of the N characters."""
        codes, known = _code_points(text), _code_points(self.symbols)
        place = np.searchsorted(known, codes)
        found = np.isin(codes, known)
        return np.where(found, place + 1, 0).astype(np.int32)

    def decode(self, ids: np.ndarray) -> str:
        """The text of integer ids [N] in 0..V-1; id 0 becomes U+FFFD."""
        checks.within("ids", np.asarray(ids), 0, len(self) - 1)
        table = UNKNOWN + self.symbols
        return "".join(table[i] for i in np.asarray(ids).tolist())

    def unknown(self, text: str) -> str:
        """The distinct characters of `text` that have no id of their own."""
        return "".join(sorted(set(text) - set(self.symbols)))

    def to_json(self) -> dict[str, str]:
        return {"kind": "characters", "symbols": self.symbols}


@dataclasses.dataclass(frozen=True)
class ByteVocabulary:
    """One symbol a byte of UTF-8: 256 of them, and nothing is ever unknown.

    >>> vocabulary = ByteVocabulary()
    >>> vocabulary.encode("é").tolist(), vocabulary.decode(np.array([195, 169, 33]))
    ([195, 169], 'é!')
    """

    def __len__(self) -> int:
        return 256

    def encode(self, text: str) -> np.ndarray:
        """Ids, int32 [N], one for each of the N bytes."""
        return np.frombuffer(text.encode("utf-8", errors="surrogateescape"), np.uint8).astype(np.int32)

    def decode(self, ids: np.ndarray) -> str:
        """The text of integer ids [N] in 0..255; bytes that are not UTF-8 become U+FFFD."""
        checks.within("ids", np.asarray(ids), 0, 255)
        return np.asarray(ids).astype(np.uint8).tobytes().decode("utf-8", errors="replace")

    def unknown(self, text: str) -> str:
        """Nothing."""
        return ""

    def to_json(self) -> dict[str, str]:
        return {"kind": "bytes"}


def save_vocabulary(vocabulary: Vocabulary, path: str | Path) -> None:
    """Write a vocabulary as JSON."""
    Path(path).write_text(json.dumps(vocabulary.to_json(), ensure_ascii=False) + "\n", encoding="utf-8")


def load_vocabulary(path: str | Path, tokenize: Callable[[str], list[str]] | None = None) -> Vocabulary:
    """Read what `save_vocabulary` wrote.

    Args:
      path: the file.
      tokenize: the function that cut the texts of a `WordVocabulary`, where that is not one of `words.TOKENIZERS`.

    Raises:
      InputError: the file is missing or is something else, or `tokenize` is missing or does not belong to it.
    """
    from lstmjax.data import lines, words  # which import this file

    with saved(path, "vocabulary") as content:
        match content:
            case {"kind": "characters", "symbols": str(symbols)} if tokenize is None:
                return CharVocabulary(symbols)
            case {"kind": "bytes"} if tokenize is None:
                return ByteVocabulary()
            case {"kind": "lines", "words": list(known)} if tokenize is None:
                return lines.LineVocabulary(tuple(known))
            case {"kind": "words", "words": list(known), "tokenize": str(name)}:
                return words.WordVocabulary(tuple(known), words.tokenizer(name, tokenize))
    expected = "'characters', 'bytes', 'lines' or 'words'" if tokenize is None else "'words', as tokenize is given"
    raise InputError(f"{path} is not a vocabulary: expected kind {expected}")


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to read bytes from, unpacked where its name ends in `.gz`; InputError where reading fails."""
    open_file: Callable[..., Any] = gzip.open if Path(path).suffix.lower() == ".gz" else open
    try:
        with open_file(path, "rb") as file:
            yield file
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{path} can't be read: {getattr(error, 'strerror', None) or error}") from error


def read_bytes(path: str | Path) -> bytes:
    """The whole of a file, unpacked where its name ends in `.gz`.

    Raises:
      InputError: the file is missing, unreadable, or not packed as its name says.
    """
    with opened(path) as file:
        content: bytes = file.read()
    return content


def read_text(path: str | Path) -> str:
    """The whole of a UTF-8 text file, line ends as they are, unpacked where its name ends in `.gz`.

    Raises:
      InputError: the file is missing, unreadable, empty, or not UTF-8 text.
    """
    raw = read_bytes(path)
    if not raw:
        raise InputError(f"{path} is empty; expected UTF-8 text")
    if b"\0" in raw:
        raise InputError(f"{path} is binary, with a zero byte at offset {raw.index(0)}; expected UTF-8 text")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}, line {line}") from error


@contextlib.contextmanager
def saved(path: str | Path, what: str) -> Iterator[Any]:
    """What a file in JSON holds; what goes wrong as long as it is used is an InputError that names the file."""
    try:
        yield json.loads(Path(path).read_text(encoding="utf-8"))
    except InputError as error:
        raise InputError(f"{path} can't be used: {error}") from error
    except (OSError, TypeError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not a readable {what}: {error}") from error


def parse_json(place: str, written: str) -> Any:
    """What a text in JSON holds.

    Raises:
      InputError: it is not JSON; the message begins with `place`.
    """
    try:
        return json.loads(written)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{place} is not JSON: {error}") from error


def split(text: str, validation_fraction: float) -> tuple[str, str]:
    """The first part for training and the last `validation_fraction`, in (0, 1), of the characters for validation.

    Raises:
      TypeError, ValueError: a fraction that is no number in (0, 1).

    >>> split("abcdefghij", 0.1)
    ('abcdefghi', 'j')
    """
    checks.fraction("validation_fraction", validation_fraction)
    cut = int(len(text) * (1.0 - validation_fraction))
    return text[:cut], text[cut:]


class Batch(NamedTuple):
    """A chunk of each of B streams: the symbols, those that follow them, and whether the streams start here.

    `inputs` and `targets` [B, T], integers; `is_start` [B], booleans: the state carried from the last batch does not
    belong to this one; `mask` [B, T], booleans: there is a symbol to read, None where all are; `weights` [B, T]: how
    much each prediction counts, None where all count the same; `scale` [B], equal numbers: what the gradient is
    multiplied by, None where that is 1.
    """

    inputs: np.ndarray
    targets: np.ndarray
    is_start: np.ndarray
    mask: np.ndarray | None = None
    weights: np.ndarray | None = None
    scale: np.ndarray | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Streams:
    """A text cut into B contiguous streams, handed out T steps at a time.

    Batch k + 1 goes on where batch k ended, row by row, so a recurrent state can be carried over; after the last
    chunk the streams start again. A batch depends on nothing but its position, so a position is all a checkpoint needs.
    Fewer than B + T symbols at the text's end, and fewer than T at each stream's, are left out.

    Args:
      ids: the text's symbols, int32 [N].
      batch_size: B, how many streams.
      chunk_length: T, steps in a batch.

    Raises:
      TypeError: ids that are not an array of integers.
      InputError: fewer than B * T + 1 symbols.

    >>> streams = Streams(np.arange(13), batch_size=2, chunk_length=3)
    >>> len(streams), streams.batch(1).inputs.tolist(), streams.batch(1).targets.tolist()
    (2, [[3, 4, 5], [9, 10, 11]], [[4, 5, 6], [10, 11, 12]])
    """

    ids: np.ndarray
    batch_size: int
    chunk_length: int

    def __post_init__(self) -> None:
        _check_ids(self.ids)
        checks.positive_int("batch_size", self.batch_size)
        checks.positive_int("chunk_length", self.chunk_length)
        needed = self.batch_size * self.chunk_length + 1
        if len(self.ids) < needed:
            raise InputError(
                f"the training text has {len(self.ids)} symbols, and batch_size {self.batch_size} times "
                f"chunk_length {self.chunk_length} needs at least {needed}; give more text or smaller batches"
            )

    def __len__(self) -> int:
        """Batches in one pass over the text."""
        return self._stream_length // self.chunk_length

    @property
    def _stream_length(self) -> int:
        return (len(self.ids) - 1) // self.batch_size

    def batch(self, position: int) -> Batch:
        """The batch at a position, any number from 0: passes over the text follow one another without end."""
        chunk = checks.index("position", position, 0) % len(self)
        starts = np.arange(self.batch_size) * self._stream_length + chunk * self.chunk_length
        places = starts[:, None] + np.arange(self.chunk_length)[None, :]
        return Batch(self.ids[places], self.ids[places + 1], np.full(self.batch_size, chunk == 0))


@dataclasses.dataclass(frozen=True)
class EvaluationPlan:
    """How a text of N symbols is read: in R rows side by side, each warmed up on the text before it.

    With one row this is one state carried from the first symbol to the last. With more, each row but the first starts
    from zeros `warmup` symbols before its own part, which are read but not counted.

    Raises:
      TypeError, ValueError: a number that is not whole, or out of range.
    """

    rows: int = 32
    """R, how many parts of the text are read at once."""
    warmup: int = 256
    """Symbols read before a row's own part to bring its state up."""
    chunk_length: int = 256
    """Steps in a batch."""

    def __post_init__(self) -> None:
        checks.positive_int("rows", self.rows)
        checks.index("warmup", self.warmup, 0)
        checks.positive_int("chunk_length", self.chunk_length)


EXACT = EvaluationPlan(rows=1, warmup=0, chunk_length=1024)


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """A whole text for evaluation: over one pass, each of its N - 1 predictions counts once.

    Like `Streams`, batch k + 1 goes on where batch k ended, row by row, so the state is carried through a pass.

    Args:
      ids: the text's symbols, int32 [N].
      plan: how the text is read; `EXACT` carries one state from start to end.

    Raises:
      TypeError: ids that are not an array of integers.
      InputError: fewer than 2 symbols.

    >>> reading = Reading(np.arange(8), EvaluationPlan(rows=2, warmup=1, chunk_length=3))
    >>> batch = reading.batch(0)
    >>> len(reading), batch.inputs.tolist(), batch.mask.tolist()
    (2, [[0, 0, 1], [3, 4, 5]], [[False, True, True], [True, True, True]])
    >>> batch.weights.tolist()
    [[0.0, 1.0, 1.0], [0.0, 1.0, 1.0]]
    """

    ids: np.ndarray
    plan: EvaluationPlan

    def __post_init__(self) -> None:
        _check_ids(self.ids)
        if len(self.ids) < 2:
            raise InputError(f"the text to evaluate has {len(self.ids)} symbols; expected at least 2")

    def __len__(self) -> int:
        """Batches in one pass over the text."""
        return -(-(self.plan.warmup + self._own) // self.plan.chunk_length)

    @property
    def _own(self) -> int:
        """Predictions that are a row's own, in all rows but perhaps the last."""
        return -(-(len(self.ids) - 1) // self.plan.rows)

    def batch(self, position: int) -> Batch:
        """The batch at a position, any number from 0: passes over the text follow one another without end."""
        chunk = checks.index("position", position, 0) % len(self)
        offsets = np.arange(self.plan.chunk_length)[None, :] + chunk * self.plan.chunk_length - self.plan.warmup
        places = np.arange(self.plan.rows)[:, None] * self._own + offsets
        mask = (places >= 0) & (places < len(self.ids) - 1)
        counted = (offsets >= 0) & (offsets < self._own) & mask
        inside = np.clip(places, 0, len(self.ids) - 2)
        return Batch(
            inputs=self.ids[inside],
            targets=self.ids[inside + 1],
            is_start=np.full(self.plan.rows, chunk == 0),
            mask=mask,
            weights=counted.astype(np.float32),
        )


def _check_ids(ids: np.ndarray) -> None:
    if not isinstance(ids, np.ndarray):
        raise TypeError(f"ids must be a NumPy array, got {type(ids).__name__}")
    checks.kind("ids", ids, np.integer)
    checks.shape("ids", ids, ("N",))


def _code_points(text: str) -> np.ndarray:
    return np.frombuffer(text.encode("utf-32-le", errors="surrogatepass"), np.uint32)
