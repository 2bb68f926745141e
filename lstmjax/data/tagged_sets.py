"""Named sets of tagged sentences, with the splits they are published with.

>>> sorted(TAGGED_SETS)
['ud-ewt', 'wnut17']
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from lstmjax.data.downloads import Parts, find
from lstmjax.data.tagged import Sentences, read_columns, read_conllu


class TaggedSet(NamedTuple):
    """A set by the files it is published in.

    `train`, `validation`, `test`: among those of `downloads`, each also found gzipped in the user's own folder.
    `reader`: what reads one of them. `source`: where they are from, and their terms.

    >>> TAGGED_SETS["wnut17"].validation
    'wnut17/emerging.dev.conll'
    """

    train: str
    validation: str
    test: str
    reader: Callable[[str | Path], Sentences]
    source: str

    def paths(self) -> tuple[Path, Path, Path]:
        """Where the files to train, to validate and to test are.

        Raises:
          InputError: one of them is not there and can't be downloaded, see `downloads.find`.
        """
        return find(self.train, packed=True), find(self.validation, packed=True), find(self.test, packed=True)

    def read(self) -> Parts[Sentences]:
        """Its sentences; for other tags than its usual ones, read its `paths`.

        Raises:
          InputError: see `paths`, or the user's own is something else.
        """
        return Parts(*map(self.reader, self.paths()))


TAGGED_SETS: dict[str, TaggedSet] = {
    "ud-ewt": TaggedSet(
        "ud_english_ewt/en_ewt-ud-train.conllu",
        "ud_english_ewt/en_ewt-ud-dev.conllu",
        "ud_english_ewt/en_ewt-ud-test.conllu",
        read_conllu,
        "17 parts of speech (upos) in English from the web, 12544, 2001 and 2077 sentences: Silveira et al., A gold "
        "standard dependency corpus for English (2014), https://github.com/UniversalDependencies/UD_English-EWT; "
        "CC BY-SA 4.0",
    ),
    "wnut17": TaggedSet(
        "wnut17/wnut17train.conll",
        "wnut17/emerging.dev.conll",
        "wnut17/emerging.test.annotated",
        read_columns,
        "spans of six kinds of rare names in English from the web, BIO, 3394, 1009 and 1287 sentences: Derczynski et "
        "al., Results of the WNUT2017 shared task on novel and emerging entity recognition (2017), "
        "https://github.com/leondz/emerging_entities_17; CC BY 4.0",
    ),
}
"""The sets by their names."""
