"""Files of sequences, of every known format, and how tables among them are laid out."""

import dataclasses
from pathlib import Path
from typing import Any, Literal, cast

from lstmjax import checks
from lstmjax.data import Labelled, arrays, tables, ts_files
from lstmjax.models import SequenceToOneConfig
from lstmjax.models.sequence_config import Answer

TASKS: dict[str, Answer] = {"classification": "class", "multi-label": "classes", "regression": "number"}
Task = Literal["classification", "multi-label", "regression"]


@dataclasses.dataclass(frozen=True)
class FilesConfig:
    """Where sequences come from, and how they are read."""

    task: Task = "classification"
    """One class a sequence, any number of classes, or numbers."""
    text_column: str = "1"
    """Of .tsv and .csv: the column with the text, by name or counted from 1."""
    label_column: str = "2"
    """Of .tsv and .csv: the column with the label or number, by name or counted from 1."""
    header: Literal["auto", "yes", "no"] = "auto"
    """Of .tsv and .csv: whether the first row names the columns; auto takes it for names if a column is given by name,
    or if its label stands in no other row (its number is no number)."""
    label_separator: str = "|"
    """Of .tsv and .csv, multi-label: what stands between the labels of one text."""

    def __post_init__(self) -> None:
        checks.one_of("task", self.task, tuple(TASKS))
        checks.one_of("header", self.header, ("auto", "yes", "no"))


def read(path: Path, config: FilesConfig, *, has_targets: bool = True) -> Labelled:
    """Read a file by its suffix: .tsv, .txt, .csv (texts), .ts (sktime, aeon), .npz.

    Raises:
      InputError: another suffix, or a file that is not what its suffix says.
    """
    numbers = config.task == "regression"
    match path.suffix.lower():
        case ".ts":
            return ts_files.read_ts(path)
        case ".npz":
            return arrays.read_npz(path, numbers=numbers, needs_targets=has_targets)
    return tables.read_table(
        path,
        text_column=config.text_column,
        target_column=config.label_column if has_targets else None,
        header=config.header,
        numbers=numbers,
        separator=config.label_separator if config.task == "multi-label" else None,
    )


def columns_of(path: Path, labelled: Labelled) -> list[str] | None:
    """What the header of a table that was read says; None where it has none, or the file is no table."""
    if path.suffix.lower() not in tables.DELIMITERS:
        return None
    first = tables.first_row(path)
    return None if labelled.places[0] == f"{path}, row {first.line}" else first.cells


def read_more(path: Path, config: FilesConfig, columns: list[str] | None) -> Labelled:
    """Read another file laid out as the training file: it has a header if that had one, and the same."""
    is_table = path.suffix.lower() in tables.DELIMITERS
    if config.header != "auto" or not is_table or not (config.text_column + config.label_column).isdecimal():
        return read(path, config)
    header: Literal["yes", "no"] = "yes" if tables.first_row(path).cells == columns else "no"
    return read(path, dataclasses.replace(as_files(config), header=header))


def read_like(path: Path, settings: dict[str, Any], text_column: str | None, header: str) -> Labelled:
    """Read a file to answer, laid out as the training file of a run with these settings; it may lack the labels.

    Args:
      path: the file.
      settings: of the run, from its config.json.
      text_column: the text's column; None means the one it had in training.
      header: "yes", "no", or "auto": the first row is one if the names in it are those of the training file.
    """
    config = FilesConfig(**{field.name: settings[field.name] for field in dataclasses.fields(FilesConfig)})
    columns = settings["identity"]["columns"]
    column = text_column or config.text_column
    if path.suffix.lower() in tables.DELIMITERS and header == "auto":
        cells = tables.first_row(path).cells
        has_header = not column.isdecimal() or (columns is not None and set(cells) <= set(columns))
        if has_header and text_column is None and column.isdecimal() and columns is not None:
            column = columns[int(column) - 1]  # by name: the labels' column may be missing
        header = "yes" if has_header else "no"
    return read(path, dataclasses.replace(config, text_column=column, header=cast(Any, header)), has_targets=False)


def as_files(config: FilesConfig) -> FilesConfig:
    """The part of a larger config that says how files are read."""
    return FilesConfig(**{field.name: getattr(config, field.name) for field in dataclasses.fields(FilesConfig)})


def model_config(settings: dict[str, Any]) -> SequenceToOneConfig:
    """The config of a run's model, from its config.json."""
    return SequenceToOneConfig(**settings["model"])
