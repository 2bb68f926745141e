"""Data: where examples are read from, and where batches come from, each a pure function of its position.

- `source.py`: all examples in order, shuffled, or together by length
- `text.py`: vocabularies, files, contiguous streams, a whole text for evaluation
- `prefetch.py`: batches prepared ahead in the background; sources over outside iterators
- `examples.py`: what the readers below give, and its split in two
- `tables.py`: texts with labels or numbers from TSV and CSV
- `ts_files.py`: sequences from `.ts` files of sktime and aeon
- `arrays.py`: sequences from NPZ files
- `npz.py`: the arrays of NPZ and NPY files
- `pickles.py`: object arrays in NPZ files, without running their pickles
- `labels.py`: class labels by name
- `words.py`: texts cut into words, vocabularies of words, vectors from elsewhere
- `lines.py`: running text in words, line by line
- `varied_streams.py`: contiguous streams in chunks of varied length
- `tokens.py`: tokens as numbers: their words, their characters
- `symbols.py`: words and characters for sequence-to-sequence models
- `subwords.py`: frequent words as one symbol, rare ones in pieces
- `symbol_pairs.py`: the symbols of source and target, in one file
- `memory_tasks.py`: made data that ask how long and how much is remembered
- `parallel.py`: texts that say the same, line for line
- `parallel_sets.py`: named sets of parallel texts
- `tagged.py`: tagged sentences from CoNLL-U, columns and plain text
- `tagged_output.py`: predicted tags, written into the file
- `tagged_sets.py`: named sets of tagged sentences
- `datasets.py`: named sets with their splits
- `timeline.py`: times, how regular ones follow one another, features of the calendar
- `series.py`: time series from tables, each on a regular grid
- `series_rows.py`: what the rows of a table of series say
- `named_series.py`: named sets of time series
- `windows.py`: a history and what comes after it; parts cut by time
- `videos.py`: videos from NPY and NPZ files
- `moving_digits.py`: Moving MNIST, made as it is asked for
- `music.py`: pieces of music as piano rolls
- `midi.py`: MIDI files as piano rolls, read and written
- `strokes.py`: drawings as pen movements
- `made_strokes.py`: handwriting made by a formula
- `images.py`: clips with labels and images with texts, from NPZ files; pictures
- `digit_clips.py`: clips of moving digits, made
- `digit_texts.py`: digits with their names, and with those of their sums
- `downloads.py`: the files of the named sets, the user's own or downloaded
"""

from lstmjax.data import (
    arrays,
    datasets,
    examples,
    moving_digits,
    series,
    tables,
    text,
    timeline,
    ts_files,
    videos,
    windows,
    words,
)
from lstmjax.data.arrays import read_npz
from lstmjax.data.examples import Labelled, split
from lstmjax.data.images import read_clips, read_images
from lstmjax.data.labels import Labels
from lstmjax.data.made_strokes import made_words
from lstmjax.data.midi import read_midi, write_midi
from lstmjax.data.moving_digits import MovingDigits
from lstmjax.data.music import Keyboard, Transposed, read_music
from lstmjax.data.parallel import ParallelText, read_parallel
from lstmjax.data.prefetch import IteratorSource, prefetch
from lstmjax.data.series import Series, SeriesSet, read_series
from lstmjax.data.source import Bucketed, Examples, Ordered, SequenceBatch, Shuffled, Source
from lstmjax.data.strokes import Drawings, read_strokes
from lstmjax.data.subwords import Subwords
from lstmjax.data.symbol_pairs import PairVocabulary
from lstmjax.data.symbols import Characters, Words
from lstmjax.data.tables import read_table
from lstmjax.data.tagged import Sentences, read_columns, read_conllu
from lstmjax.data.tokens import TokenVocabulary
from lstmjax.data.ts_files import read_ts
from lstmjax.data.videos import read_videos
from lstmjax.data.windows import WindowBatch, Windows
from lstmjax.data.words import WordVocabulary

__all__ = [
    "Bucketed",
    "Characters",
    "Drawings",
    "Examples",
    "IteratorSource",
    "Keyboard",
    "Labelled",
    "Labels",
    "MovingDigits",
    "Ordered",
    "PairVocabulary",
    "ParallelText",
    "Sentences",
    "SequenceBatch",
    "Series",
    "SeriesSet",
    "Shuffled",
    "Source",
    "Subwords",
    "TokenVocabulary",
    "Transposed",
    "WindowBatch",
    "Windows",
    "WordVocabulary",
    "Words",
    "arrays",
    "datasets",
    "examples",
    "made_words",
    "moving_digits",
    "prefetch",
    "read_clips",
    "read_columns",
    "read_conllu",
    "read_images",
    "read_midi",
    "read_music",
    "read_npz",
    "read_parallel",
    "read_series",
    "read_strokes",
    "read_table",
    "read_ts",
    "read_videos",
    "series",
    "split",
    "tables",
    "text",
    "timeline",
    "ts_files",
    "videos",
    "windows",
    "words",
    "write_midi",
]
