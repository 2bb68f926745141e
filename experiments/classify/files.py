"""Files of sequences, of every known format, and how tables among them are laid out."""

import dataclasses
from pathlib import Path
from typing import Any, Literal

from experiments.ranges import Checked
from lstmjax.data import Labelled, arrays, tables, ts_files
from lstmjax.errors import InputError
from lstmjax.models.sequence_config import Answer

TASKS: dict[str, Answer] = {"classification": "class", "multi-label": "classes", "regression": "number"}
Task = Literal["classification", "multi-label", "regression"]
Header = Literal["auto", "yes", "no"]


@dataclasses.dataclass(frozen=True)
class FilesConfig(Checked):
    """Where sequences come from, and how they are read."""

    task: Task = "classification"
    """One class a sequence, any number of classes, or numbers."""
    text_column: str = "1"
    """Of .tsv and .csv: the column with the text, by name or counted from 1."""
    label_column: str = "2"
    """Of .tsv and .csv: the column with the label or number, by name or counted from 1."""
    header: Header = "auto"
    """Of .tsv and .csv: whether the first row names the columns; auto takes it for names if a column is given by name,
    or if its label stands in no other row (its number is no number), and says what it did."""
    label_separator: str = "|"
    """Of .tsv and .csv, multi-label: what stands between the labels of one text."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.label_separator == "":
            raise ValueError("label_separator must be at least one character, got ''")


def read(path: Path, config: FilesConfig, *, has_targets: bool = True) -> Labelled:
    """Read a file by its suffix: .tsv, .txt, .csv (texts), .ts (sktime, aeon), .npz.

    Raises:
      InputError: another suffix, or a file that is not what its suffix says.
    """
    numbers = config.task == "regression"
    match path.suffix.lower():
        case ".ts":
            return ts_files.read_ts(path, has_targets=has_targets)
        case ".npz":
            return arrays.read_npz(path, numbers=numbers, has_targets=has_targets)
    return tables.read_table(
        path,
        text_column=config.text_column,
        target_column=config.label_column if has_targets else None,
        header=config.header,
        numbers=numbers,
        separator=config.label_separator if config.task == "multi-label" else None,
    )


def header_of(path: Path, labelled: Labelled) -> list[str] | None:
    """The names in the header of a table that was read; None where it has none, or the file is no table."""
    if not is_table(path):
        return None
    first = tables.first_row(path)
    return None if labelled.places[0] == f"{path}, row {first.line}" else first.cells


def read_more(path: Path, config: FilesConfig, header: list[str] | None) -> Labelled:
    """Read another file laid out as the training file; it has a header if that names the same two columns."""
    if config.header != "auto" or not is_table(path) or not (config.text_column + config.label_column).isdecimal():
        return read(path, config)
    text, label = (_find(name, path) for name in _names(header, config))
    if text is None or label is None:
        return read(path, dataclasses.replace(config, header="no"))
    return read(path, dataclasses.replace(config, header="yes", text_column=text, label_column=label))


def read_like(path: Path, settings: dict[str, Any], text_column: str | None, header: Header) -> Labelled:
    """Read a file to answer, laid out as the training file of a run with these settings; it may lack the labels.

    Args:
      path: the file.
      settings: of the run, from its config.json.
      text_column: the text's column; None means the one it had in training.
      header: "yes", "no", or "auto": there is one if it names the text's column as the training file's does.

    Raises:
      InputError: see `read`; a table of another width, where nothing says which column the text is in.
    """
    config = FilesConfig(**{field.name: settings[field.name] for field in dataclasses.fields(FilesConfig)})
    known = settings["identity"]["header"]
    if not is_table(path) or header != "auto" or text_column is not None:
        column = text_column or config.text_column
        header = "yes" if header == "auto" and not column.isdecimal() else header
        return read(path, dataclasses.replace(config, text_column=column, header=header), has_targets=False)
    text, _ = _names(known, config)
    named = _find(text, path)
    if named is not None:
        return read(path, dataclasses.replace(config, text_column=named, header="yes"), has_targets=False)
    width, expected = len(tables.first_row(path).cells), settings["identity"]["width"]
    if not config.text_column.isdecimal() or (expected is not None and width not in (1, expected)):
        unlike = f"{width} columns" if text is None else f"{width} columns and none named {text!r}"
        raise InputError(f"{path} has {unlike}, unlike the training file; say which is the text by --text-column")
    column = "1" if width == 1 else config.text_column
    return read(path, dataclasses.replace(config, text_column=column, header="no"), has_targets=False)


def width_of(data: str | None) -> int | None:
    """How many columns the training file has, where it is a table."""
    path = Path(str(data))
    return len(tables.first_row(path).cells) if is_table(path) else None


def is_table(path: Path) -> bool:
    return path.suffix.lower() in tables.DELIMITERS


def _names(header: list[str] | None, config: FilesConfig) -> list[str | None]:
    """What a header calls the columns of text and label, which a config knows by name or number."""
    columns = (config.text_column, config.label_column)
    if header is None:
        return [None, None]
    return [header[int(column) - 1] if column.isdecimal() else column for column in columns]


def _find(name: str | None, path: Path) -> str | None:
    """A name in the first row of a table, as it is spelled there; capitals and blanks around it make no difference."""
    if name is None:
        return None
    spelled = {cell.strip().casefold(): cell.strip() for cell in tables.first_row(path).cells}
    return spelled.get(name.strip().casefold())
