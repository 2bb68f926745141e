"""The command that invents names: whole sequences, parts without a name in common, what it writes, mistakes."""

import json
import sys

import jax
import numpy as np
import pytest
from flax import nnx

from experiments import cli, names, study
from lstmjax import load_model
from lstmjax.data.text import CharVocabulary
from lstmjax.models import LanguageModel, LanguageModelConfig
from lstmjax.models.language_model import task

pytestmark = pytest.mark.usefixtures("lenient_promotion")

SMALL = "--steps 4 --eval-every 2 --batch-size 4 --invent 12 --model.embed-features 3 --model.hidden-features 4"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    rng = np.random.default_rng(0)
    made = ["".join(rng.choice(list("abé"), rng.integers(1, 6))) for _ in range(60)]
    (folder / "names").write_text("\n".join(["", *made]) + "\n", encoding="utf-8")
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam mixes
        assert study.run(names.STUDY, [*SMALL.split(), "--data", f"{folder}/names", "--out", f"{folder}/run"]) == 0
    return folder


def test_the_loss_is_each_name_s_own(trained):
    """Padded and batched as it may be, by hand: one name at a time from an empty state, its end included."""
    vocabulary = CharVocabulary.of("\nabc")
    model = LanguageModel(len(vocabulary), LanguageModelConfig(3, 4), rngs=nnx.Rngs(0))
    run = nnx.jit(lambda model, ids: model(ids))
    given, total, count = ["a", "cab", "bb"], 0.0, 0
    for name in given:
        ids = vocabulary.encode(f"\n{name}\n")
        scores = np.asarray(run(model, ids[None, :-1])[0][0], np.float64)
        scores -= np.log(np.exp(scores).sum(axis=-1, keepdims=True))
        total, count = total - scores[np.arange(len(ids) - 1), ids[1:]].sum(), count + len(ids) - 1
    batch = names.whole_sequences(vocabulary, given, longest=5)
    found = task(model.config).loss(model, batch, model.initial_state(3), None)[0]["loss"]
    assert float(found.weight) == count == 9
    assert float(found.total) == pytest.approx(total, rel=1e-6)


def test_the_summary_and_the_names(trained):
    summary = json.loads((trained / "run" / "summary.json").read_text())
    for prefix in ("", "baseline_bigram_", "baseline_trigram_"):
        assert summary[f"{prefix}test_nll_per_name"] > summary[f"{prefix}test_nll"] > 0
    invented = (trained / "run" / "names.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n")
    assert len(invented) == 12
    assert all(0 <= summary[name] <= 1 for name in ("novel_share", "in_test_share", "duplicate_share"))
    assert summary["duplicate_share"] == pytest.approx(1 - len(set(invented)) / 12)
    model, vocabulary = load_model(trained / "run")
    assert (vocabulary.symbols, model.vocab_size) == ("\nabé", 5)


def test_no_name_is_in_two_parts(trained):
    config = study.read_settings(names.STUDY, ["--data", f"{trained}/names"])
    parts = names.load(config).parts
    everything = [name for part in parts for name in part]
    assert len(everything) == len(set(everything))
    assert set(everything) == set((trained / "names").read_text(encoding="utf-8").split())
    assert len(parts.test) == len(parts.validation) == round(0.1 * len(everything))


@pytest.mark.parametrize(
    ("content", "arguments", "sentence"),
    [
        ("ada\n" * 30, "", "has 1 distinct names; expected at least 10"),
        ("ada\n" + "x" * 41, "", "line 2: expected a name of at most 40 characters, got 41"),
        ("", "", "is empty; expected UTF-8 text"),
        ("ada", "--test-fraction 0.95", "must leave names to train on"),
        (
            "\n".join("abcdefghij"),
            "--test-fraction 0.5 --validation-fraction 0.49",
            "10 distinct names are too few to learn from and to hold 10 of them out",
        ),
    ],
)
def test_what_cannot_be_used(tmp_path, content, arguments, sentence, monkeypatch, capsys):
    (tmp_path / "names").write_text(content)
    monkeypatch.setattr(sys, "argv", ["program", "--data", f"{tmp_path}/names", *arguments.split()])
    with pytest.raises(SystemExit) as stop:
        cli.run(names.main)
    assert stop.value.code == 2
    assert sentence in " ".join(capsys.readouterr().err.replace("│", " ").split())
