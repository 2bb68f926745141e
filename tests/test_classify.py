"""The command that learns what sequences are: its formats, what it writes, predictions, a sentence for mistakes."""

import csv
import dataclasses
import functools
import json
import sys

import numpy as np
import pytest
from flax import nnx

from experiments import sample, study
from experiments.classify import __main__ as classify
from experiments.classify import files, predictions
from lstmjax import load_model, training
from lstmjax.data.text import load_vocabulary
from lstmjax.errors import InputError
from lstmjax.models import sequence_config
from tests import cases

pytestmark = pytest.mark.usefixtures("lenient_promotion")

TINY = "--epochs 12 --batch-size 8 --no-baselines --model.hidden-features 8 --model.embed-features 8 "
TINY += "--optimizer.learning-rate 0.03 --optimizer.warmup-steps 3 --num-buckets 1"
GOOD, BAD = ("good", "fine", "great"), ("bad", "poor", "dull")


call = functools.partial(cases.call, classify.main)


def rows_of(path):
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def reviews(path, count=40, header="review\tverdict\n"):
    rng = np.random.default_rng(0)
    rows = []
    for row in range(count):
        words = [*rng.choice(GOOD if row % 2 else BAD, 2), *["the", "film"][: rng.integers(0, 3)]]
        rows.append(f"{' '.join(rng.permutation(words))}\t{'yes' if row % 2 else 'no'}\n")
    path.write_text(header + "".join(rows))
    return path


def series(path, rows):
    """A .ts file of two dimensions, rising or falling."""
    head = "@problemName slopes\n@timeStamps false\n@univariate false\n@dimensions 2\n@classLabel true up down\n@data\n"
    rng = np.random.default_rng(1)
    lines = []
    for row in range(rows):
        steps = np.arange(rng.integers(3, 7)) * (1 if row % 2 else -1)
        noisy = [",".join(f"{v:.3f}" for v in steps + rng.normal(0, 0.1, len(steps))) for _ in range(2)]
        lines.append(":".join([*noisy, "up" if row % 2 else "down"]))
    path.write_text(head + "\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on reviews, with every baseline; its folder and its summary."""
    folder = tmp_path_factory.mktemp("runs")
    data, out = reviews(folder / "reviews.tsv", 60), folder / "run"
    arguments = [*TINY.replace("--no-baselines ", "").split(), "--data", data, "--out", out]
    assert cases.run_quietly(classify.main, arguments) == 0
    return out, json.loads((out / "summary.json").read_text())


def test_a_run_learns_writes_everything_and_names_every_figure(trained):
    out, summary = trained
    for name in ("config.json", "vocabulary.json", "labels.json", "metrics.jsonl", "loss.png", "confusion.png"):
        assert (out / name).stat().st_size > 0
    assert summary["test_accuracy"] == 1.0
    assert summary["test_f1"] == 1.0
    assert summary["validation_accuracy"] == 1.0
    for name in ("majority", "linear", "mlp", "elman", "gru"):
        assert 0.0 <= summary[f"baseline_{name}_test_accuracy"] <= 1.0
    assert summary["baseline_majority_test_accuracy"] == 0.5
    records = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert {"validation_loss", "validation_accuracy", "validation_f1"} <= records[-1].keys()


def test_a_trained_model_is_ready_to_use(trained):
    model, meaning = load_model(trained[0])
    assert meaning.labels.names == ("no", "yes")
    symbols = meaning.vocabulary.encode("a great film")
    assert meaning.labels.names[int(model(symbols[None]).argmax())] == "yes"


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("same.tsv", "review\tverdict\ngreat great\tno\ndull film\tyes\n\tno\n"),
        ("bare.tsv", "great great\ndull film\n\x20\n"),
        ("unnamed.tsv", "great great\tno\ndull film\tyes\n\tno\n"),
        ("named.csv", "verdict,review\nno,great great\n?,dull film\n?,\n"),
        ("more.csv", "id,Review ,verdict\n1,great great,no\n2,dull film,?\n3,,?\n"),
    ],
)
def test_predictions_are_one_row_a_text_whatever_stands_beside_it(
    trained, name, content, tmp_path, monkeypatch, capsys
):
    path, out = tmp_path / name, tmp_path / "said.csv"
    path.write_text(content)
    arguments = ["--checkpoint", trained[0], "--predict", path, "--out", out]
    code, printed, err = call(arguments, monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert printed == f"3 predictions in {out}\n"
    rows = rows_of(out)
    assert [row["prediction"] for row in rows[:2]] == ["yes", "no"]
    for row in rows:
        np.testing.assert_allclose(float(row["probability_yes"]) + float(row["probability_no"]), 1.0, atol=1e-5)


def test_stopped_and_resumed_is_uninterrupted(trained, tmp_path, monkeypatch, capsys):
    data = reviews(tmp_path / "reviews.tsv")
    whole, part = tmp_path / "whole", tmp_path / "part"
    arguments = [*TINY.split(), "--data", data]
    assert call([*arguments, "--out", whole], monkeypatch, capsys)[0] == 0
    save = study.training.Checkpoints.save
    with monkeypatch.context() as patch:

        def fail(self, state, *rest, **named):
            save(self, state, *rest, **named)
            if int(state.step) >= 20:
                raise KeyboardInterrupt

        patch.setattr(study.training.Checkpoints, "save", fail)
        assert call([*arguments, "--out", part], patch, capsys)[0] == 130
    assert call(["--resume", "--out", part], monkeypatch, capsys)[0] == 0
    assert (part / "metrics.jsonl").read_text() == (whole / "metrics.jsonl").read_text()
    figures = [json.loads((folder / "summary.json").read_text()) for folder in (whole, part)]
    assert figures[0]["test_loss"] == figures[1]["test_loss"]


def test_series_of_numbers(tmp_path, monkeypatch, capsys):
    data, test = series(tmp_path / "a_TRAIN.ts", 40), series(tmp_path / "a_TEST.ts", 10)
    out = tmp_path / "run"
    arguments = [*TINY.split(), "--data", data, "--test", test, "--out", out, "--balance", "--choose-by", "accuracy"]
    code, printed, err = call(arguments, monkeypatch, capsys)
    assert code == 0, err
    assert "36 to train on, 4 to validate on, 10 to test on; 3 to 6 steps, 2 numbers a step; 2 classes" in printed
    assert json.loads((out / "summary.json").read_text())["test_accuracy"] == 1.0
    said = tmp_path / "said.csv"
    assert call(["--checkpoint", out, "--predict", test, "--out", said], monkeypatch, capsys)[0] == 0
    rows = rows_of(said)
    assert [row["prediction"] for row in rows] == ["down", "up"] * 5


def test_numbers_from_arrays(tmp_path, monkeypatch, capsys):
    rng = np.random.default_rng(0)
    x = rng.normal(5.0, 2.0, (60, 4, 1))
    np.savez(tmp_path / "sums.npz", x=x, y=100.0 + x.sum(axis=(1, 2)))
    out = tmp_path / "run"
    arguments = [*TINY.split(), "--data", tmp_path / "sums.npz", "--task", "regression", "--out", out, "--epochs", "40"]
    code, _, err = call(arguments, monkeypatch, capsys)
    assert code == 0, err
    summary = json.loads((out / "summary.json").read_text())
    assert summary["test_mse"] < 0.2 * np.var(x.sum(axis=(1, 2)))
    assert summary["test_mae"] < 2.0
    assert (out / "predictions.png").exists()
    said = tmp_path / "said.csv"
    assert call(["--checkpoint", out, "--predict", tmp_path / "sums.npz", "--out", said], monkeypatch, capsys)[0] == 0
    rows = [float(row["prediction"]) for row in rows_of(said)]
    assert np.corrcoef(rows, x.sum(axis=(1, 2)))[0, 1] > 0.9


def test_several_labels_a_text(tmp_path, monkeypatch, capsys):
    path, out = tmp_path / "films.tsv", tmp_path / "run"
    kinds = {"": "a film", "sad": "tears and rain", "long": "three hours", "sad|long": "tears for three hours"}
    path.write_text("".join(f"{text}\t{labels}\n" for labels, text in list(kinds.items()) * 12))
    arguments = [*TINY.split(), "--data", path, "--task", "multi-label", "--out", out, "--header", "no"]
    code, _, err = call(arguments, monkeypatch, capsys)
    assert code == 0, err
    summary = json.loads((out / "summary.json").read_text())
    assert (summary["test_accuracy"], summary["test_micro_f1"]) == (1.0, 1.0)
    said = tmp_path / "said.csv"
    assert call(["--checkpoint", out, "--predict", path, "--out", said], monkeypatch, capsys)[0] == 0
    assert [row["prediction"] for row in rows_of(said)][:4] == ["", "sad", "long", "long|sad"]


def test_pretrained_vectors_are_where_words_start(tmp_path):
    (tmp_path / "vectors.txt").write_text("great 1 2 3\ndull -1 -2 -3\nunheard 9 9 9\n")
    data = reviews(tmp_path / "reviews.tsv")
    config = classify.ClassifyConfig(
        data=str(data),
        vectors=tmp_path / "vectors.txt",
        model=classify.SequenceToOneConfig(embed_features=3, train_embedding=False),
    )
    loaded = classify.load(config)
    model = sequence_config.build(loaded.model, nnx.Rngs(0))
    loaded.prepare(model)
    embedding = np.asarray(model.encoder.embed.embed.embedding[...])
    folder = training.RunFolder(tmp_path)
    loaded.save_companion(folder)
    words = load_vocabulary(folder.vocabulary)
    np.testing.assert_array_equal(embedding[words.encode("great dull")], [[1, 2, 3], [-1, -2, -3]])


MISTAKES = {
    "no data": ([], "--data must name a file, or one of japanese-vowels, sst2"),
    "no file": (["--data", "nowhere.tsv"], "nowhere.tsv is neither a file nor one of japanese-vowels"),
    "suffix": (["--data", "{folder}/a.xlsx"], "a.xlsx is not known as a table"),
    "column": (
        ["--data", "{data}", "--text-column", "txt"],
        "must name one column 'txt'; its columns are 'review', 'verd",
    ),
    "task": (["--data", "{data}", "--task", "regression"], "reviews.tsv, row 2, column 2: expected a finite number"),
    "test label": (
        ["--data", "{data}", "--test", "{folder}/odd.tsv"],
        "odd.tsv, row 1 has the label 'perhaps'; expected",
    ),
    "one label": (["--data", "{folder}/one.tsv"], "has the labels 'yes'; expected at least 2"),
    "outputs": (["--data", "{data}", "--model.num-outputs", "5"], "--model.num-outputs must be the data's 2, got 5"),
    "dropout": (["--data", "{data}", "--model.hidden-dropout", "0.5"], "hidden_dropout acts between recurrent layers"),
    "fraction": (["--data", "{data}", "--test-fraction", "1.0"], "test_fraction must be in (0, 1), got 1.0"),
    "set": (["--data", "sst"], "is neither a file nor one of japanese-vowels, sst2, names"),
    "weights": (
        ["--data", "{data}", "--model.class-weights", "1", "2", "3"],
        "class_weights must be 2, one a class",
    ),
    "memory": (["--data", "{data}", "--model.longest-memory", "2"], "longest_memory must be at least 3, got 2"),
    "numbers": (["--data", "{data}", "--model.in-features", "2"], "--model.in-features is not for these data, got 2"),
    "separator": (["--data", "{data}", "--label-separator="], "label_separator must be at least one character"),
    "no labels": (["--data", "{folder}/bare.tsv", "--task", "multi-label"], "has the labels none; expected at least 1"),
    "large": (
        ["--data", "{folder}/large.tsv", "--task", "regression"],
        "has the target 1e+300; expected at most",
    ),
    "few": (["--data", "{folder}/few.tsv"], "few.tsv: too few examples to split, 2: a fraction of 0.2"),
    "no steps": (["--data", "{folder}/none.npz"], "can't be standardised: sequences must hold at least one step"),
    "vectors": (["--data", "{data}", "--vectors", "{data}"], "reviews.tsv, row"),
}


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_a_mistake_is_a_sentence_and_leaves_nothing(arguments, sentence, tmp_path, monkeypatch, capsys):
    data = reviews(tmp_path / "reviews.tsv")
    (tmp_path / "odd.tsv").write_text("great\tperhaps\n")
    (tmp_path / "one.tsv").write_text("great\tyes\n" * 20)
    (tmp_path / "a.xlsx").write_text("")
    (tmp_path / "bare.tsv").write_text("great\t\n" * 20)
    (tmp_path / "large.tsv").write_text("great\t1\n" * 19 + "dull\t1e300\n")
    np.savez(tmp_path / "none.npz", x=np.ones((20, 3)), y=[0, 1] * 10, lengths=np.zeros(20, int))
    (tmp_path / "few.tsv").write_text("great\tyes\ndull\tno\n")
    given = [argument.format(data=data, folder=tmp_path) for argument in arguments]
    code, _, err = call([*given, "--out", tmp_path / "run"], monkeypatch, capsys)
    assert code == 2
    assert sentence in err
    assert not (tmp_path / "run" / "config.json").exists()


def test_what_cannot_be_predicted_is_a_sentence_and_writes_nothing(trained, tmp_path, monkeypatch, capsys):
    out = tmp_path / "said.csv"
    np.savez(tmp_path / "x.npz", x=np.ones((2, 3, 1)))
    (tmp_path / "wide.csv").write_text("1,great,no\n2,dull,no\n")
    for arguments, sentence in (
        (
            ["--checkpoint", trained[0], "--predict", tmp_path / "x.npz"],
            "x.npz, example 0 holds numbers; expected a text",
        ),
        (["--checkpoint", trained[0], "--predict", tmp_path / "none.tsv"], "none.tsv can't be read"),
        (["--checkpoint", tmp_path, "--predict", tmp_path / "x.npz"], "is not the folder of a training run"),
        (
            ["--checkpoint", trained[0], "--predict", tmp_path / "wide.csv"],
            "none named 'review', unlike the training file",
        ),
        (["--checkpoint", trained[0], "--predict", out], "out must be another file than the one to predict"),
        (["--checkpoint", trained[0], "--predict", tmp_path / "wide.csv", "--step", "-1"], "step must be at least 0"),
        (["--checkpoint", trained[0], "--predict", tmp_path / "wide.csv", "--step", "7"], "no checkpoint at step 7"),
    ):
        code, _, err = call([*arguments, "--out", out], monkeypatch, capsys)
        assert code == 2
        assert sentence in err
        assert not out.exists()


def test_no_label_of_ones_own_file_is_lost(tmp_path):
    """Where labels are rare, where a column of arrays has no 1, and where only a part is looked at."""
    path = tmp_path / "films.tsv"
    path.write_text("".join(f"film {n}\t{'sad' if n % 2 else 'long'}{'|rare' if n == 7 else ''}\n" for n in range(40)))
    for seed in range(4):
        loaded = classify.load(classify.ClassifyConfig(data=str(path), task="multi-label", header="no", seed=seed))
        assert loaded.model.num_outputs == 3
    np.savez(tmp_path / "y.npz", x=np.ones((40, 3, 1)), y=np.tile([1, 0, 0], (40, 1)))
    assert (
        classify.load(classify.ClassifyConfig(data=str(tmp_path / "y.npz"), task="multi-label")).model.num_outputs == 3
    )
    path.write_text("".join(f"film {n}\t{'rare' if n == 300 else n % 2}\n" for n in range(900)))
    assert classify.load(classify.ClassifyConfig(data=str(path), quick=True)).model.num_outputs == 3


def test_every_class_counts_the_same(tmp_path):
    path = tmp_path / "films.tsv"
    path.write_text("".join(f"film {n}\t{'rare' if n % 10 == 0 else 'usual'}\n" for n in range(100)))
    rare, usual = classify.load(classify.ClassifyConfig(data=str(path), balance=True)).model.class_weights
    np.testing.assert_allclose([rare, usual], [5.0, 5 / 9], rtol=0.05)
    path.write_text("".join(f"film {n}\tall{'|rare' if n % 10 == 0 else ''}\n" for n in range(100)))
    config = classify.ClassifyConfig(data=str(path), balance=True, task="multi-label", header="no")
    assert classify.load(config).model.class_weights[1] > 5 > classify.load(config).model.class_weights[0] > 0


def test_what_became_of_the_first_row_is_told(tmp_path):
    for header, told in (("review\tverdict\n", "header: review, verdict"), ("", "no header: the first row is data")):
        loaded = classify.load(classify.ClassifyConfig(data=str(reviews(tmp_path / "reviews.tsv", header=header))))
        assert loaded.description.endswith("\n" + told)
    path = tmp_path / "films.tsv"
    path.write_text("".join(f"film {n}\t{'a|b|c' if n == 0 else 'abc'[n % 3]}\n" for n in range(40)))
    loaded = classify.load(classify.ClassifyConfig(data=str(path), task="multi-label"))
    assert sum(loaded.identity["sequences"]) == 40


def test_a_classifier_writes_no_text(trained, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["program", "--checkpoint", str(trained[0])])
    with pytest.raises(InputError, match="holds a SequenceClassifier; expected a LanguageModel"):
        sample.main()


def test_empty_texts_and_unknown_words_are_predicted(trained):
    model, meaning = load_model(trained[0])
    inputs = [meaning.vocabulary.encode(text) for text in ("", "zzz", "great")]
    together = predictions.predict(model, "class", inputs, batch_size=2)
    np.testing.assert_allclose(together.sum(axis=1), 1.0, rtol=1e-5)
    alone = [predictions.predict(model, "class", [sequence], batch_size=2)[0] for sequence in inputs]
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_a_model_of_a_named_set_answers_tables_as_wide_as_they_like(tmp_path):
    """Nothing is known of the columns it was trained on: the text is the first."""
    path = tmp_path / "more.tsv"
    path.write_text("great\tyes\nsource\tno\n")
    fields = {field.name: field.default for field in dataclasses.fields(files.FilesConfig)}
    settings = fields | {"identity": {"header": None, "width": None}}
    assert files.read_like(path, settings, None, "auto").sequences == ["great", "source"]


def test_a_test_file_is_laid_out_as_the_training_file(tmp_path):
    """Its first row is a header if that is the training file's, and else a row like any other, rare label or not."""
    config = classify.ClassifyConfig(data=str(reviews(tmp_path / "reviews.tsv")))
    test = tmp_path / "test.tsv"
    for header in ("review\tverdict\n", " Review\tVERDICT\n", ""):
        test.write_text(header + "great\tyes\ndull\tno\n")
        assert files.read_more(test, config, ["review", "verdict"]).sequences == ["great", "dull"]
    test.write_text("verdict\treview\nyes\tgreat\nno\tdull\n")
    assert files.read_more(test, config, ["review", "verdict"]).sequences == ["great", "dull"]
    test.write_text("text\tlabel\ngreat\tyes\n")
    assert files.read_more(test, config, ["review", "verdict"]).sequences[0] == "text"
