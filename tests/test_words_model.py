"""Language models of words: the command that trains them, recipes, baselines by hand, folders of earlier formats."""

import json
import math
import shlex
from collections import Counter

import jax
import numpy as np
import pytest

from experiments import ngrams, recipes, sample, study, train
from experiments.corpora import NAMED
from lstmjax import load_model
from lstmjax.data import downloads
from lstmjax.data.lines import LineVocabulary
from lstmjax.saved import SINCE_FORMAT_2
from tests.cases import call

pytestmark = pytest.mark.usefixtures("lenient_promotion")

SMALL = "--symbols words --steps 4 --eval-every 2 --batch-size 2 --chunk-length 4 --sample-length 5 "
SMALL += "--model.embed-features 3 --model.hidden-features 4 --model.num-layers 1 --optimizer.learning-rate 0.05"
TEXT = "the cat sat on the mat\nthe dog sat on the cat\n\n" * 6


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run on three files, one of which has a word that is nowhere else."""
    folder = tmp_path_factory.mktemp("words")
    for name, content in (("train", TEXT), ("valid", "the bird sat\n" * 3), ("test", "on the mat\n" * 5)):
        (folder / name).write_text(content)
    parts = f"--data {folder}/train --validation {folder}/valid --test {folder}/test --out {folder}/run"
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam mixes
        assert study.run(train.STUDY, f"{SMALL} {parts}".split()) == 0
    return folder / "run"


def test_the_summary_has_both_parts_and_their_baselines(trained):
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["perplexity"] == pytest.approx(math.exp(summary["validation_loss"]))
    assert summary["test_perplexity"] == pytest.approx(math.exp(summary["test_loss"]))
    for name in ("unigram", "bigram", "trigram"):
        assert summary[f"baseline_{name}_test_perplexity"] > 1.0 < summary[f"baseline_{name}_perplexity"]
    assert summary["baseline_trigram_test_perplexity"] < summary["baseline_unigram_test_perplexity"]
    assert set((trained / "sample.txt").read_text().split()) <= {*TEXT.split(), "<unk>"}


def test_words_never_seen_are_told(tmp_path, monkeypatch, capsys):
    (tmp_path / "train").write_text(TEXT)
    (tmp_path / "valid").write_text("a cat sat on a bird\n")
    parts = f"--data {tmp_path}/train --validation {tmp_path}/valid --no-baselines --quick --out {tmp_path}/run"
    code, out, _ = call(train.main, f"{SMALL} {parts} --min-count 7 --max-words 4".split(), monkeypatch, capsys)
    assert code == 0
    assert "the validation text has 2 symbols that the vocabulary lacks: 'a bird'" in out
    _, vocabulary = load_model(tmp_path / "run")
    assert vocabulary.words == ("the", "cat", "on", "sat")


def test_samples_have_blanks_between_words(trained, monkeypatch, capsys):
    call_it = f"--checkpoint {trained} --prompt 'the  cat' --length 4 --temperature 0"
    code, out, _ = call(sample.main, shlex.split(call_it), monkeypatch, capsys)
    assert code == 0
    assert out.startswith("the cat ")
    assert len(LineVocabulary.of(out).encode(out)) >= 6
    code, _, err = call(sample.main, ["--checkpoint", trained, "--prompt", "the bird"], monkeypatch, capsys)
    assert (code, "--prompt has symbols that the model has never seen: 'bird'" in err) == (2, True)
    for option in ("prompt", "stop"):
        words = f"--checkpoint {trained} --prompt the --stop the".replace(f"--{option} the", f"--{option} ' '")
        code, _, err = call(sample.main, shlex.split(words), monkeypatch, capsys)
        assert (code, f"--{option} has no word, got ' '" in err) == (2, True)


def test_a_folder_of_format_1_takes_defaults_for_what_it_could_not_have(trained, tmp_path):
    for name in ("checkpoints", "vocabulary.json"):
        (tmp_path / name).symlink_to(trained / name)
    settings = json.loads((trained / "config.json").read_text()) | {"format": 1}
    for name in SINCE_FORMAT_2["language-model"]:
        del settings["model"][name]
    (tmp_path / "config.json").write_text(json.dumps(settings))
    tokens = np.array([[1, 2, 3]])
    old, new = load_model(tmp_path)[0], load_model(trained)[0]
    np.testing.assert_array_equal(old(tokens)[0], new(tokens)[0])
    (tmp_path / "config.json").write_text(json.dumps(settings | {"format": 2}))
    with pytest.raises(downloads.InputError, match="it lacks activation_penalty"):
        load_model(tmp_path)


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_recipes_are_settings_that_others_win_over(name):
    arguments = recipes.expanded(["--recipe", name, "--steps", "7", "--model.hidden-features", "11"])
    config = study.read_settings(train.STUDY, arguments)
    assert (config.recipe, config.symbols, config.steps, config.model.hidden_features) == (name, "words", 7, 11)
    assert recipes.expanded([f"--recipe={name}"])[:-1] == recipes.expanded(["--recipe", name])[:-2]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("--recipe large", "--recipe must be one of tied-small, zaremba-small, zaremba-medium, awd-lstm, got 'large'"),
        ("--min-count 2", "min_count and max_words need symbols words, got characters"),
        ("--data ptb --test x", "ptb has parts of its own, so validation and test must not be given"),
        ("--symbols words --max-words 0", "max_words must be at least 1, got 0"),
        ("--data nothing.txt", "nothing.txt can't be read: No such file"),
    ],
)
def test_commands_that_cannot_be_used(arguments, sentence, monkeypatch, capsys):
    code, _, err = call(train.main, shlex.split(arguments), monkeypatch, capsys)
    assert code == 2
    assert sentence in err


def test_a_licensed_text_must_be_brought(tmp_path, monkeypatch):
    monkeypatch.setenv("LSTMJAX_DATA", str(tmp_path))
    with pytest.raises(downloads.InputError, match="must be in a folder that LSTMJAX_DATA names: the Penn"):
        downloads.find(NAMED["ptb"][0], packed=True)


@pytest.mark.parametrize("order", [1, 2, 3])
def test_kneser_ney_by_hand_and_to_one(order):
    rng = np.random.default_rng(order)
    ids, text = rng.integers(0, 4, 50), rng.integers(0, 5, 12)
    pieces = ngrams.in_a_row(ids, order)
    found = ngrams.kneser_ney(pieces, ngrams.in_a_row(text, order), 5)
    expected = [by_hand(ids, tuple(text[k : k + order]), 5) for k in range(len(text) - order + 1)]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    every = ngrams.kneser_ney(pieces, np.array([[*text[: order - 1], word] for word in range(5)]), 5)
    assert sum(every) == pytest.approx(1.0, rel=1e-12)


def by_hand(ids, gram, num_symbols):
    """The last symbol's probability after the others, with dictionaries; the highest order is the gram's."""
    order = len(gram)
    counts = Counter(tuple(ids[k : k + order].tolist()) for k in range(len(ids) - order + 1))
    probability = 1.0 / num_symbols
    levels = [counts]
    while len(levels) < order:
        levels.append(Counter(each[1:] for each in levels[-1]))
    for size, level in enumerate(reversed(levels), 1):
        history, word = tuple(gram[order - size : -1]), gram[-1]
        after = {each: count for each, count in level.items() if each[:-1] == history}
        ones, twos = (sum(count == n for count in level.values()) for n in (1, 2))
        discount = min(ones / max(ones + 2 * twos, 1) or 0.5, 0.99)
        if after:
            kept = max(after.get((*history, word), 0) - discount, 0.0)
            probability = (kept + discount * len(after) * probability) / sum(after.values())
    return probability
