"""The command that tags tokens: what it writes, its figures by hand, other files tagged, a sentence for mistakes."""

import dataclasses
import functools
import gzip
import itertools
import json
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from flax import nnx

from experiments import cli, study
from experiments.tag import __main__ as command
from experiments.tag import answers, predictions, sentences
from lstmjax import load_model, spans
from lstmjax.data import tagged
from lstmjax.data.words import SPECIAL
from lstmjax.models import TaggerConfig, tagger_config
from tests import cases

pytestmark = pytest.mark.usefixtures("lenient_promotion")

SMALL = "--quick --epochs 2 --batch-size 8 --longest-sentence 64 --model.word-features 6 --model.hidden-features 4 "
SMALL += "--model.character-features 3 --model.spelling-features 4 --optimizer.learning-rate 0.05 "
PLAIN = SMALL + "--no-baselines --model.cell none --model.spelling none "
SURE = PLAIN + "--optimizer.learning-rate 0.3 --model.input-dropout 0 --model.output-dropout 0 --model.unknown-rate 0"
PNG = b"\x89PNG\r\n"
PEOPLE, PLACES, OTHERS = ("Ada", "Bob", "Cy", "Dee"), ("Rome", "Oslo", "Bern"), ("is", "in", "to", "and", ".")


call = functools.partial(cases.call, command.main)


def names(count, seed=0, strange=()):
    """Sentences with people, of one or two tokens, and places."""
    rng = np.random.default_rng(seed)
    for number in range(count):
        sentence = [(PEOPLE[rng.integers(4)], "B-PER")]
        sentence += [(PEOPLE[rng.integers(4)], "I-PER")] * rng.integers(0, 2)
        sentence += [(OTHERS[rng.integers(5)], "O")] * rng.integers(1, 4)
        sentence += [(PLACES[rng.integers(3)], "B-LOC"), *strange[number : number + 1]]
        yield sentence


def columns(path, rows, separator=" ", order=(0, 1)):
    text = "\n".join("".join(separator.join(token[k] for k in order) + "\n" for token in each) for each in rows)
    packed = path.suffix == ".gz"
    path.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    return path


def treebank(path, count, seed=0):
    """CoNLL-U, where xpos says more than upos, with a comment, a range and an empty node."""
    rng = np.random.default_rng(seed)
    lines = []
    for number in range(count):
        lines += [f"# sent_id = {number}", "1-2\tdont" + "\t_" * 8]
        for place in range(rng.integers(2, 6)):
            noun = rng.random() < 0.5
            form = ("dog", "cat", "New York")[rng.integers(3)] if noun else ("runs", "sees")[rng.integers(2)]
            tags = ("NOUN", "NN") if noun else ("VERB", "VBZ")
            lines.append("\t".join([str(place + 1), form, "_", *tags, *"_____"]))
        lines += ["2.1\t_" + "\t_" * 8, ""]
    path.write_text("\n".join(lines) + "\n")
    return path


def run_quietly(arguments):
    with pytest.MonkeyPatch.context() as patch:
        every = answers.baseline_configs
        patch.setattr(answers, "baseline_configs", lambda model: {"words_alone": every(model)["words_alone"]})
        assert cases.run_quietly(command.main, arguments) == 0


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A CRF on names, one of whose sentences has 10,000 tokens, and a baseline; the folder and its summary."""
    folder = tmp_path_factory.mktemp("names")
    rows = [*names(60), [token for each in names(2500, seed=3) for token in each][:10_000]]
    columns(folder / "train.conll.gz", rows)
    columns(folder / "dev.conll", names(12, seed=1))
    columns(folder / "test.conll", names(12, seed=2, strange=[("Zoe", "B-PER"), ("OSLO", "O"), ("ROME", "B-LOC")]))
    files = [
        part
        for name in ("train.conll.gz", "dev.conll", "test.conll")
        for part in (f"--{name.split('.')[0]}", folder / name)
    ]
    run_quietly(
        [
            *SMALL.split(),
            "--model.cell",
            "elman",
            "--model.spelling",
            "cnn",
            "--model.output",
            "crf",
            *files,
            "--out",
            folder / "run",
        ]
    )
    return folder / "run", json.loads((folder / "run" / "summary.json").read_text())


@pytest.fixture(scope="module")
def parser(tmp_path_factory):
    """A softmax on a treebank's xpos, without files to choose by and to test on; the folder of its run."""
    folder = tmp_path_factory.mktemp("treebank")
    data = treebank(folder / "small.conllu", 30)
    run_quietly([*SURE.split(), "--train", data, "--tag-column", "xpos", "--out", folder / "run"])
    return folder / "run"


def test_a_run_writes_everything_and_names_every_figure(trained):
    out, summary = trained
    for name in ("config.json", "vocabulary.json", "metrics.jsonl", "report.txt"):
        assert (out / name).stat().st_size > 0
    for name in ("loss.png", "confusion.png", "transitions.png", "characters.png"):
        assert (out / name).read_bytes().startswith(PNG)
    assert any((out / "checkpoints").iterdir())
    for figure in ("accuracy", "unknown_accuracy", "precision", "recall", "f1"):
        for name in ("test", "baseline_most_frequent_test", "baseline_words_alone_test"):
            assert 0.0 <= summary[f"{name}_{figure}"] <= 1.0
    assert summary["test_loss"] > 0
    assert summary["validation_f1"] > 0.8
    report = (out / "report.txt").read_text()
    assert report.splitlines()[0].split() == ["tag", "precision", "recall", "f1", "tokens"]
    assert {"B-PER", "I-PER", "B-LOC", "O", "PER", "LOC", "all"} <= {
        line.split()[0] for line in report.splitlines() if line
    }
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {"validation_loss", "validation_accuracy", "validation_f1"} <= records[-1].keys()
    model = load_model(out).model
    assert model.unknown.count[...].sum() == 10_000 + sum(map(len, names(60)))


def test_the_most_frequent_tag_is_worked_out_by_hand(trained):
    counts = defaultdict(Counter)
    train = tagged.read_columns(trained[0].parent / "train.conll.gz")
    test = tagged.read_columns(trained[0].parent / "test.conll")
    for tokens, tags in zip(train.tokens, train.tags, strict=True):
        for token, tag in zip(tokens, tags, strict=True):
            counts[token][tag] += 1
    best = {token: of.most_common(1)[0][0] for token, of in counts.items()}
    unknown = Counter(best.values()).most_common(1)[0][0]  # no word occurs once
    said = [[best.get(token, unknown) for token in tokens] for tokens in test.tokens]
    hits = [a == b for pair in zip(said, test.tags, strict=True) for a, b in zip(*pair, strict=True)]
    strange = [token in ("Zoe", "OSLO", "ROME") for tokens in test.tokens for token in tokens]
    summary = trained[1]
    assert summary["baseline_most_frequent_test_accuracy"] == pytest.approx(np.mean(hits))
    assert summary["baseline_most_frequent_test_unknown_accuracy"] == pytest.approx(np.mean(np.array(hits)[strange]))
    assert summary["baseline_most_frequent_test_f1"] == pytest.approx(spans.span_scores(test.tags, said).overall.f1)


def test_the_figures_are_those_of_the_tags_that_it_writes(trained, tmp_path, monkeypatch, capsys):
    test, out = trained[0].parent / "test.conll", tmp_path / "said.conll"
    code, printed, err = call(["--checkpoint", trained[0], "--predict", test, "--out", out], monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert printed.endswith(f"tokens in 12 sentences tagged in {out}, read as columns\n")
    true, said = tagged.read_columns(test), tagged.read_columns(out)
    assert said.tokens == true.tokens
    assert tagged.read_columns(out, tag_column=1).tags == true.tags
    score = spans.span_scores(true.tags, said.tags).overall
    hits = [a == b for pair in zip(said.tags, true.tags, strict=True) for a, b in zip(*pair, strict=True)]
    found = {"accuracy": np.mean(hits), "precision": score.precision, "recall": score.recall, "f1": score.f1}
    for name, value in found.items():
        assert trained[1][f"test_{name}"] == pytest.approx(value)


def test_a_sentence_of_any_length_is_read_in_pieces_and_tagged_whole(trained, tmp_path, monkeypatch, capsys):
    train, out = trained[0].parent / "train.conll.gz", tmp_path / "said.conll"
    config = command.TagConfig(train=train, longest_sentence=64)
    assert "long sentences are read in pieces: 156 cuts" in command.load(config).description
    assert call(["--checkpoint", trained[0], "--predict", train, "--out", out], monkeypatch, capsys)[0] == 0
    said = tagged.read_columns(out)
    assert said.tokens == tagged.read_columns(train).tokens
    assert len(said.tags[-1]) == 10_000
    assert np.mean(np.array(said.tags[-1]) == tagged.read_columns(train).tags[-1]) > 0.8


FORMATS = {
    "columns": ("a.conll", "Ada O\nis X\n\nOslo ?\n", "a-tagged.conll", "Ada O B-PER\nis X O\n\nOslo ? B-LOC\n"),
    "one column": ("a.conll", "Ada\nis\n\nOslo\n", "a-tagged.conll", "Ada B-PER\nis O\n\nOslo B-LOC\n"),
    "column of text": ("a.txt", "Ada\nis\n\nOslo\n", "a-tagged.txt", "Ada B-PER\nis O\n\nOslo B-LOC\n"),
    "documents": (
        "a.txt",
        "-DOCSTART-\n\nAda O\nis O\n",
        "a-tagged.txt",
        "-DOCSTART-\n\nAda O B-PER\nis O O\n",
    ),
    "plain": ("a.txt", "Ada is here\nOslo\n", "a-tagged.txt", "Ada\tB-PER\nis\tO\nhere\tO\n\nOslo\tB-LOC\n\n"),
    "packed": ("a.tsv.gz", "Ada\tO\r\nis\tO\r\n", "a-tagged.tsv", "Ada\tO\tB-PER\r\nis\tO\tO\r\n"),
    "conllu": (
        "a.conllu",
        "# x\n1\tAda" + "\t_" * 8 + "\n2\tis" + "\t_" * 8 + "\n",
        "a-tagged.conllu",
        "# x\n1\tAda\t_\tB-PER" + "\t_" * 6 + "\n2\tis\t_\tO" + "\t_" * 6 + "\n",
    ),
}


@pytest.mark.parametrize(("name", "content", "written", "expected"), FORMATS.values(), ids=FORMATS.keys())
def test_files_of_every_format_are_tagged(trained, name, content, written, expected, tmp_path, monkeypatch, capsys):
    """By a model that knows each word's tag."""
    known = dict.fromkeys(PEOPLE, "B-PER") | dict.fromkeys(PLACES, "B-LOC")
    monkeypatch.setattr(
        predictions,
        "tag",
        lambda model, part, *_: [[known.get(t, "O") for t in each] for each in part.sentences.tokens],
    )
    monkeypatch.chdir(tmp_path)
    packed = name.endswith(".gz")
    Path(name).write_bytes(gzip.compress(content.encode()) if packed else content.encode())
    code, _, err = call(["--checkpoint", trained[0], "--predict", name], monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert Path(written).read_bytes().decode() == expected


def test_a_treebank_gets_its_tags_back_in_their_column(parser, tmp_path, monkeypatch, capsys):
    data, out = treebank(tmp_path / "more.conllu", 5, seed=9), tmp_path / "said.conllu"
    code, _, err = call(["--checkpoint", parser, "--predict", data, "--out", out], monkeypatch, capsys)
    assert (code, err) == (0, "")
    true, said = tagged.read_conllu(data, tag="xpos"), tagged.read_conllu(out, tag="xpos")
    assert said == true._replace(file=str(out))  # words tell the tags, so it is right
    model, vocabulary = load_model(parser)
    words, _, lengths = vocabulary.batch(true.tokens[:2])
    tags = model.tag(words, lengths=lengths)  # it reads words alone
    by_hand = [tuple(model.names[tag] for tag in row[:length]) for row, length in zip(tags, lengths, strict=True)]
    assert by_hand == true.tags[:2]
    assert tagged.read_conllu(out).tags == tagged.read_conllu(data).tags
    config = json.loads((parser / "config.json").read_text())
    assert (config["model"]["scheme"], config["model"]["tags"]) == (None, ["NN", "VBZ"])
    assert config["identity"]["sentences"] == [24, 3, 3]
    summary = json.loads((parser / "summary.json").read_text())
    assert {"test_loss", "test_accuracy", "baseline_most_frequent_test_accuracy"} <= summary.keys()
    assert not any("f1" in name or "unknown" in name for name in summary)
    assert not (parser / "transitions.png").exists()


def test_stopped_and_resumed_is_uninterrupted(parser, tmp_path, monkeypatch, capsys):
    part = tmp_path / "part"
    save = study.training.Checkpoints.save
    arguments = [*SURE.split(), "--train", parser.parent / "small.conllu", "--tag-column", "xpos", "--out", part]
    with monkeypatch.context() as patch:

        def fail(self, state, *rest, **named):
            save(self, state, *rest, **named)
            raise KeyboardInterrupt

        patch.setattr(study.training.Checkpoints, "save", fail)
        assert call(arguments, patch, capsys)[0] == 130
    code, _, err = call(["--resume", "--out", part, "--longest-word", "4"], monkeypatch, capsys)
    assert (code, "is a run with --longest-word 20, which can't go on with --longest-word 4" in err) == (2, True)
    assert call(["--resume", "--out", part], monkeypatch, capsys)[0] == 0
    assert (part / "metrics.jsonl").read_text() == (parser / "metrics.jsonl").read_text()
    resumed, whole = (json.loads((folder / "summary.json").read_text()) for folder in (part, parser))
    assert {name for name in whole if whole[name] != resumed[name]} <= {"minutes", "tokens_per_second", "from_step"}


def test_a_single_tag_is_learnt_and_drawn(tmp_path, monkeypatch, capsys):
    data = columns(tmp_path / "a.tsv", [[(word, "X") for word, _ in each] for each in names(12)], "\t")
    arguments = [*PLAIN.split(), "--epochs", "1", "--model.output", "crf", "--train", data, "--out", tmp_path / "run"]
    code, _, err = call(arguments, monkeypatch, capsys)
    assert code == 0, err
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert (summary["test_accuracy"], summary["test_loss"]) == (1.0, 0.0)


def load(*arguments):
    return command.load(cli.parse(command.TagConfig, "", [str(argument) for argument in arguments]))


SCHEMES = {
    "labels": ([("B-x", "I-x", "O"), ("B-y",)], "BIO"),
    "no labels": ([("B", "I", "O"), ("B",)], "BIO"),
    "single": ([("B-x", "I-x", "E-x"), ("S-x", "O")], "IOBES"),
    "iob1": ([("I-x", "B-x", "O"), ("I-x", "I-x")], "IOB1"),
    "broken": ([("I-x", "I-y", "B-x"), ("B-y", "I-x")], "mixed"),
    "none": ([("NOUN", "VERB"), ("B", "I")], None),
}


@pytest.mark.parametrize(("tags", "scheme"), SCHEMES.values(), ids=SCHEMES.keys())
def test_how_tags_write_spans_is_found_and_a_crf_built_for_it(tags, scheme, tmp_path):
    rows = [[(f"w{place}", tag) for place, tag in enumerate(each)] for each in tags]
    file = columns(tmp_path / "a.conll", rows)
    parts = [part for name in ("train", "dev", "test") for part in (f"--{name}", file)]
    loaded = load(*PLAIN.split(), *parts, "--model.output", "crf")
    assert loaded.model.scheme == scheme
    tags = tagger_config.build(loaded.model, nnx.Rngs(0)).tags
    assert (tags.constraints is not None) == (scheme in ("BIO", "IOBES"))


def test_columns_are_found_from_either_side(tmp_path):
    file = columns(tmp_path / "a.tsv", names(12), "\t", order=(1, 0))
    for more in (("1", "--tag-column", "0"), ("-1", "--tag-column", "-2"), ("1", "--tag-column=-2")):
        train = load("--train", file, "--token-column", *more).parts.train.sentences
        assert {tag for tags in train.tags for tag in tags} == {"B-PER", "I-PER", "B-LOC", "O"}
    swapped = load("--train", file, "--token-column", "0", "--tag-column", "-1").parts.train.sentences
    assert "B-PER" in {token for tokens in swapped.tokens for token in tokens}


def test_held_out_parts_are_a_share_and_a_split_of_the_file(tmp_path):
    rows = list(names(20))
    parts = load("--train", columns(tmp_path / "a.conll", rows), "--test-fraction", "0.2").parts
    held = [part.sentences.tokens for part in parts]
    assert list(map(len, held)) == [14, 2, 4]
    assert sorted(itertools.chain(*held)) == sorted(tuple(word for word, _ in each) for each in rows)


def test_no_tag_of_ones_own_file_is_lost(tmp_path):
    rows = [[("x", "rare" if number == 7 else "usual")] for number in range(20)]
    file = columns(tmp_path / "a.conll", rows)
    assert {load("--train", file, "--seed", seed).model.tags for seed in range(5)} == {("rare", "usual")}


def test_words_start_from_pretrained_vectors_in_lower_case_too(tmp_path):
    vectors = tmp_path / "vectors.txt"
    vectors.write_text("ada 1 2 3\nRome 4 5 6\nrome 7 8 9\nunheard 9 9 9\n")
    data = load(
        "--train",
        columns(tmp_path / "a.conll", names(30)),
        *PLAIN.split(),
        "--vectors",
        vectors,
        "--model.word-features",
        "3",
    )
    model = tagger_config.build(data.model, nnx.Rngs(0))
    before = np.array(model.words.embedding[...])
    data.prepare(model)
    vocabulary = sorted({token for tokens in data.parts.train.sentences.tokens for token in tokens})
    after = np.asarray(model.words.embedding[...])
    changed = np.flatnonzero((before != after).any(axis=1))
    assert sorted(after[changed].tolist()) == [[1, 2, 3], [4, 5, 6]]
    assert len(after) == len(vocabulary) + SPECIAL


def test_baselines_are_other_models_than_the_one_beside_them():
    for cell in ("lstm", "gru", "none"):
        for output in ("softmax", "crf"):
            model = TaggerConfig(cell=cell, output=output, hidden_features=(4, 4), num_characters=5)
            others = answers.baseline_configs(model)
            assert model not in others.values()
            assert len(set(others.values())) == len(others)
            assert answers.name_of(model) not in others
            assert ("no_context" in others) == (cell != "none")
            assert ("elman" in others) == (cell != "none")
            assert "words_alone" in others
    assert "words_alone" not in answers.baseline_configs(TaggerConfig(spelling="none"))
    noisy = TaggerConfig(hidden_features=(4, 4), hidden_dropout=0.1, recurrent_dropout=0.1)
    assert answers.baseline_configs(noisy)["no_context"].hidden_dropout == 0.0


def test_pieces_are_put_together_sentence_by_sentence():
    found = sentences.Sentences([("a",) * 5, ("b",), ("c",) * 4], None, [(1,) * 5, (2,), (3,) * 4], "x")
    vocabulary = command.TokenVocabulary.of(found.tokens)
    part = sentences.encode(found, vocabulary, None, longest=2)
    assert list(map(len, part.inputs)) == [2, 2, 1, 1, 2, 2]
    joined = part.joined([piece[:, 0] for piece in part.inputs])
    assert [tokens.tolist() for tokens in joined] == [vocabulary.ids(tokens).tolist() for tokens in found.tokens]


def write(folder, name, content):
    (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


BAD = {
    "ragged.conll": "Ada B-PER\nis\n",
    "empty.conll": "",
    "blank.conll": "\n\n",
    "blank.txt": " \n\n",
    "latin.conll": "Jos\xe9 B-PER\n".encode("latin-1"),
    "new.conll": "Ada B-PER\n\nOslo B-TOWN\n",
    "one.conll": "Ada B-PER\n",
    "wordless.conllu": "# text = nothing\n\n",
    "untagged.conllu": "1\tGo" + "\t_" * 8 + "\n",
    "pos.conll": "dog NOUN\n\n" * 20,
    "vectors.txt": "Ada 1 2 3\n",
}
MISTAKES = {
    "no file": ([], "--train must name a file, or --data one of ud-ewt, wnut17"),
    "missing": (["--train", "{folder}/nowhere.conll"], "nowhere.conll can't be read"),
    "ragged": (["--train", "{folder}/ragged.conll"], "ragged.conll, line 2 must have as many cells as line 1"),
    "empty": (["--train", "{folder}/empty.conll"], "empty.conll is empty; expected UTF-8 text"),
    "blank": (["--train", "{folder}/blank.conll"], "blank.conll has no sentence; expected at least 1"),
    "encoding": (["--train", "{folder}/latin.conll"], "latin.conll is not UTF-8 text"),
    "one": (["--train", "{folder}/one.conll"], "one.conll: too few sentences to hold out 0.1 of them, 1"),
    "dev tag": (["--train", "{data}", "--dev", "{folder}/new.conll"], "new.conll, line 3 has the label 'B-TOWN'"),
    "test tag": (["--train", "{data}", "--test", "{folder}/new.conll"], "new.conll, line 3 has the label 'B-TOWN'"),
    "wordless": (["--train", "{folder}/wordless.conllu"], "wordless.conllu, line 1 starts a sentence without a word"),
    "untagged": (["--train", "{folder}/untagged.conllu"], "untagged.conllu, line 1: expected a tag as upos, got '_'"),
    "column": (["--train", "{data}", "--tag-column", "7"], "names.conll has no column 7, counted from 0"),
    "named column": (["--train", "{data}", "--tag-column", "xpos"], "must be a number, counted from 0, or -1"),
    "treebank": (["--train", "{folder}/untagged.conllu", "--tag-column", "2"], "must be one of upos, xpos, feats, dep"),
    "same column": (["--train", "{data}", "--token-column", "1"], "expected tokens and tags in two columns"),
    "set and file": (["--data", "wnut17", "--train", "{data}"], "train, dev and test must not be given"),
    "set": (["--data", "conll"], "data must be one of ud-ewt, wnut17, got 'conll'; files go to --train"),
    "choose by": (
        ["--train", "{folder}/pos.conll", "--choose-by", "f1"],
        "--choose-by f1 is for tags that write spans",
    ),
    "vectors": (
        ["--train", "{data}", "--vectors", "{folder}/vectors.txt", *PLAIN.split()],
        "vectors of 3 numbers; --model.word-feat",
    ),
    "no vectors": (["--train", "{data}", "--vectors", "{folder}/pos.conll", *PLAIN.split()], "has a vector for none"),
    "fraction": (["--train", "{data}", "--dev-fraction", "1.0"], "dev_fraction must be in (0, 1), got 1.0"),
    "longest": (["--train", "{data}", "--longest-word", "5"], "longest_word must be even, got 5"),
    "decided": (["--train", "{data}", "--model.vocab-size", "5"], "--model.vocab-size is for the data to decide"),
    "dropout": (["--train", "{data}", "--model.hidden-dropout", "0.5"], "hidden_dropout acts between recurrent layers"),
}


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_a_sentence_and_leaves_nothing(arguments, sentence, tmp_path, monkeypatch, capsys):
    for name, content in BAD.items():
        write(tmp_path, name, content)
    data = columns(tmp_path / "names.conll", names(30))
    given = [argument.format(data=data, folder=tmp_path) for argument in arguments]
    code, _, err = call([*given, "--out", tmp_path / "run"], monkeypatch, capsys)
    assert code == 2
    assert sentence in err
    assert "Traceback" not in err
    assert not (tmp_path / "run" / "config.json").exists()


def test_what_cannot_be_tagged_is_a_sentence_and_writes_nothing(trained, tmp_path, monkeypatch, capsys):
    for name, content in BAD.items():
        write(tmp_path, name, content)
    out, data = tmp_path / "said.conll", columns(tmp_path / "names.conll", names(2))
    (tmp_path / "file").write_text("")
    for given, sentence in (
        (["--predict", tmp_path / "nowhere.conll"], "nowhere.conll can't be read"),
        (["--predict", tmp_path / "empty.conll"], "empty.conll is empty"),
        (["--predict", tmp_path / "blank.conll"], "blank.conll has no sentence; expected at least 1"),
        (["--predict", tmp_path / "blank.txt"], "blank.txt has no sentence; expected at least 1"),
        (["--predict", tmp_path / "ragged.conll"], "ragged.conll, line 2 must have as many cells as line 1"),
        (["--predict", tmp_path / "latin.conll"], "latin.conll is not UTF-8 text"),
        (["--predict", tmp_path / "wordless.conllu"], "line 1 starts a sentence without a word"),
        (["--predict", data, "--token-column", "2"], "names.conll has no column 2"),
        (
            ["--predict", data, "--file-format", "conllu"],
            "names.conll, line 1: expected 10 cells parted at tabs, got 1",
        ),
        (["--predict", out], "out must be another file than the one to tag"),
        (["--predict", data, "--step", "-1"], "step must be at least 0, got -1"),
        (["--predict", data, "--step", "999"], "no checkpoint at step 999"),
        (["--predict", data, "--batch-size", "0"], "batch_size must be at least 1, got 0"),
    ):
        code, _, err = call(["--checkpoint", trained[0], *given, "--out", out], monkeypatch, capsys)
        assert (code, out.exists()) == (2, False)
        assert sentence in err
    for given, sentence in (
        (["--checkpoint", tmp_path, "--predict", data, "--out", out], "is not the folder of a training run"),
        (["--checkpoint", trained[0], "--predict", data, "--out", tmp_path], "is a folder"),
        (["--checkpoint", trained[0], "--predict", data, "--out", tmp_path / "x.gz"], "must not end in .gz"),
    ):
        code, _, err = call(given, monkeypatch, capsys)
        assert code == 2
        assert sentence in err
    assert not list(tmp_path.glob("x.gz"))


def test_a_model_that_tags_nothing_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(predictions.trained, "load_model", lambda *_: (nnx.Linear(1, 1, rngs=nnx.Rngs(0)), None))
    arguments = ["--checkpoint", tmp_path, "--predict", tmp_path / "a.txt", "--out", tmp_path / "b.txt"]
    code, _, err = call(arguments, monkeypatch, capsys)
    assert (code, err) == (2, f"error: {tmp_path} holds a Linear; expected a Tagger")


def test_settings_of_a_run_are_read_back(trained):
    settings = json.loads((trained[0] / "config.json").read_text())
    assert TaggerConfig(**settings["model"]) == dataclasses.replace(
        TaggerConfig(**settings["model"]), tags=("B-LOC", "B-PER", "I-PER", "O"), scheme="BIO"
    )
