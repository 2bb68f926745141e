"""The examples in docs/ run, and do what they say."""

import re
from pathlib import Path

import jax
import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"
pytestmark = pytest.mark.usefixtures("lenient_promotion")


def blocks(name):
    return re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), re.DOTALL)


TRAINING = blocks("training.md")
(FORECASTING,) = blocks("forecasting.md")
(TAGGING,) = blocks("tagging.md")
(TRANSLATION,) = blocks("translation.md")
SERVING = blocks("serving.md")
REVIEWS, KERAS, OURS = blocks("coming-from-keras.md")
NUMBERS, TORCH, OUR_LOOP = blocks("coming-from-pytorch.md")
TORCH_SIDE, FROM_FILE, FROM_KERAS = blocks("bringing-weights.md")

WITH_TESTS_OF_THEIR_OWN = {
    *("training", "serving", "forecasting", "tagging", "translation"),
    *("coming-from-keras", "coming-from-pytorch", "bringing-weights"),
}
OTHERS = [page.name for page in sorted(DOCS.glob("*.md")) if page.stem not in WITH_TESTS_OF_THEIR_OWN and blocks(page)]


def run(*examples):
    names = {}
    for example in examples:
        exec(example, names)
    return names


@pytest.mark.parametrize("page", OTHERS)
def test_the_blocks_of_a_page_run_one_after_another(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = run(*blocks(page))
    assert names.get("accuracy", 1) > 0.9


def test_the_tutorial_is_as_short_as_it_says():
    (program,) = blocks("tutorial.md")
    assert len([line for line in program.splitlines() if line]) <= 25


def test_a_loop_of_ones_own_learns():
    losses = run(TRAINING[0])["losses"]
    assert losses[-1] < 0.1 * losses[0]


def test_fit_trains_a_model_that_is_not_ours():
    names = run(TRAINING[1])
    assert names["figures"]["loss"] < 0.5 * names["y"][200:].var()
    assert names["state"].other["norm"]["mean"].any()


def test_a_forecaster_by_hand_learns_and_forecasts():
    names = run(FORECASTING)
    came = names["series"][280:286]
    np.testing.assert_allclose(names["point"], came, atol=3.0)
    assert (names["low"] < names["high"]).all()


def test_a_tagger_by_hand_and_its_crf():
    names = run(TAGGING)
    assert names["tags"].shape == (2, 7)
    np.testing.assert_allclose(names["probabilities"][1].sum(axis=1), [1, 1, 1, 1, 0, 0, 0], atol=1e-5)
    np.testing.assert_allclose(names["scores"][:, 0], names["score"], rtol=1e-6)
    assert (np.diff(names["scores"], axis=1) <= 0).all()
    assert names["loss"] > 0


def test_a_translator_by_hand_and_beam_search():
    names = run(TRANSLATION)
    assert names["logits"].shape == (2, 3, len(names["both"]))
    assert (np.diff(names["beams"].scores, axis=1) <= 0).all()
    assert len(names["texts"]) == 2
    assert names["best"].scores[0, 0] >= names["greedy"].scores[0, 0]


@pytest.mark.parametrize(("library", "program"), [("keras", KERAS), ("lstmjax", OURS)], ids=["keras", "ours"])
def test_a_keras_script_and_its_twin_learn(library, program, monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip(library)
    with jax.numpy_rank_promotion("allow" if library == "keras" else "raise"):  # Keras broadcasts
        assert run(REVIEWS, program)["accuracy"] > 0.9


@pytest.mark.parametrize(("library", "program"), [("torch", TORCH), ("lstmjax", OUR_LOOP)], ids=["torch", "ours"])
def test_a_torch_loop_and_its_twin_learn(library, program):
    pytest.importorskip(library)
    names = run(NUMBERS, program)
    assert names["loss"].item() < 0.3 * np.var(names["targets"])


def test_a_torch_model_comes_over_from_its_file(tmp_path, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.chdir(tmp_path)
    names = run(TORCH_SIDE, FROM_FILE)
    theirs = names["trained"](names["torch"].tensor(names["ids"])).detach().numpy()
    np.testing.assert_allclose(names["scores"], theirs, rtol=0, atol=1e-5)
    assert (len(names["report"].loaded), names["report"].left_out) == (13, [])


def test_a_keras_model_comes_over(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    pytest.importorskip("keras")
    with jax.numpy_rank_promotion("allow"):  # Keras broadcasts
        names = run(FROM_KERAS)
        np.testing.assert_allclose(names["ours"], names["theirs"], rtol=0, atol=1e-5)


def test_a_served_model_gives_the_same_scores_on_every_way():
    names = run(*SERVING)
    for other in (names["scores_now"], names["served"], names["restored"](names["xs"], names["lengths"])):
        np.testing.assert_allclose(other, names["scores"], atol=1e-6)
    np.testing.assert_allclose(names["answers"][:1], names["scores"], atol=1e-6)
