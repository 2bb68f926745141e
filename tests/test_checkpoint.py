"""Checkpoints: the same bits back, the right ones kept, damage noticed and survived."""

import dataclasses
import json
import logging
import shutil
from pathlib import Path

import chex
import jax
import numpy as np
import orbax.checkpoint
import pytest
from flax import nnx

from lstmjax import load_model, training
from lstmjax.data.text import CharVocabulary, save_vocabulary
from lstmjax.errors import InputError
from lstmjax.models import LanguageModel
from tests.test_training import IDS, Setup, same_bits

pytestmark = pytest.mark.usefixtures("lenient_promotion")

VOCABULARY = CharVocabulary("abcd")


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """A run's folder with checkpoints at steps 1, 2, 3, the second one the best, and the states saved in them."""
    with jax.numpy_dtype_promotion("standard"):
        folder = training.RunFolder(tmp_path_factory.mktemp("run"))
        setup = Setup()
        save_vocabulary(VOCABULARY, folder.vocabulary)
        folder.write_config({"family": "language-model", "model": dataclasses.asdict(setup.model.config)})
        checkpoints = training.Checkpoints(folder.checkpoints, keep_last=3)
        state, states = setup.state(), {}
        for step, loss in ((1, 3.0), (2, 1.0), (3, 2.0)):
            state, _ = setup.train_step(state, setup.batches.batch(step))
            checkpoints.save(state, loss)
            states[step] = jax.tree.map(lambda leaf: leaf.copy(), state)
        checkpoints.close()
    return folder, setup, states


@pytest.fixture
def run(original, tmp_path):
    """A copy that may be damaged."""
    folder, setup, states = original
    shutil.copytree(folder.path, tmp_path / "run")
    return training.RunFolder(tmp_path / "run"), setup, states


def overwrite(folder, step, item):
    """Turn the bytes in the middle of every data file of an item around."""
    inside = (folder.checkpoints / str(step) / item).rglob("metadata" if item == "facts" else "d/*")
    files = [path for path in inside if path.is_file()]
    assert files
    for path in files:
        content = bytearray(path.read_bytes())
        middle = slice(len(content) // 3, 2 * len(content) // 3)
        content[middle] = bytes(255 - byte for byte in content[middle])
        path.write_bytes(content)


def truncate(folder, step, item):
    for path in (folder.checkpoints / str(step) / item).rglob("*"):
        if path.is_file():
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def remove(folder, step, item):
    shutil.rmtree(folder.checkpoints / str(step) / item)


def swap(folder, step, item):
    """Another step's bytes, each file sound in itself."""
    remove(folder, step, item)
    shutil.copytree(folder.checkpoints / "1" / item, folder.checkpoints / str(step) / item)


def test_the_newest_state_comes_back_bit_for_bit(run):
    folder, setup, states = run
    same_bits(training.Checkpoints(folder.checkpoints).restore(setup.state()), states[3])


def test_a_folder_without_checkpoints_has_nothing_to_restore(tmp_path):
    assert training.Checkpoints(tmp_path / "new").restore(Setup().state()) is None


def test_what_is_saved_is_what_was_handed_over(tmp_path):
    """The next step takes the state's buffers while it is still being written."""
    setup, checkpoints = Setup(), training.Checkpoints(tmp_path)
    state, _ = setup.train_step(setup.state(), setup.batches.batch(0))
    kept = jax.tree.map(lambda leaf: leaf.copy(), state)
    checkpoints.save(state, 1.0)
    for position in range(20):
        state, _ = setup.train_step(state, setup.batches.batch(position))
    checkpoints.close()
    same_bits(training.Checkpoints(tmp_path).restore(setup.state()), kept)


def test_the_last_few_and_the_best_are_kept(tmp_path):
    setup, checkpoints = Setup(), training.Checkpoints(tmp_path, keep_last=2)
    state = setup.state()
    for loss in (3.0, 1.0, 2.0, 4.0, 5.0, None):
        state, _ = setup.train_step(state, setup.batches.batch(0))
        checkpoints.save(state, loss)
    checkpoints.close()
    reopened = training.Checkpoints(tmp_path, read_only=True)
    assert reopened.steps() == [2, 5, 6]
    assert reopened.best_step() == 2


@pytest.mark.parametrize("damage", [overwrite, truncate, remove, swap])
@pytest.mark.parametrize("item", ["params", "training", "facts"])
def test_a_damaged_checkpoint_is_reported_and_passed_over(run, caplog, damage, item):
    folder, setup, states = run
    damage(folder, 3, item)
    with caplog.at_level(logging.WARNING, logger="lstmjax"):
        checkpoints = training.Checkpoints(folder.checkpoints)
        same_bits(checkpoints.restore(setup.state()), states[2])
    assert "checkpoint 3 is damaged" in caplog.text
    if damage is swap:
        assert "are not those that were saved" in caplog.text
    assert "falling back" in caplog.text
    assert checkpoints.steps() == [1, 2]
    assert [path.name for path in folder.path.glob("damaged-3-*/*")] == ["3"]
    checkpoints.save(states[3], 2.0)
    checkpoints.close()
    same_bits(training.Checkpoints(folder.checkpoints).restore(setup.state()), states[3])


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"validation_loss": "low"}'])
def test_facts_that_say_nothing_are_damage(run, content):
    folder, setup, states = run
    (folder.checkpoints / "2" / "facts" / "metadata").write_text(content)
    checkpoints = training.Checkpoints(folder.checkpoints)
    same_bits(checkpoints.restore(setup.state()), states[3])
    assert checkpoints.best_step() == 3
    load_model(folder.path)


def test_what_is_saved_is_on_disk_at_once(tmp_path):
    """A script may end after its last save without closing anything."""
    checkpoints = training.Checkpoints(tmp_path)
    checkpoints.save(Setup().state())
    assert [path.name for path in tmp_path.iterdir()] == ["0"]
    checkpoints.close()


def test_a_checkpoint_under_another_steps_name_is_damaged(run, caplog):
    folder, setup, states = run
    shutil.rmtree(folder.checkpoints / "3")
    shutil.copytree(folder.checkpoints / "1", folder.checkpoints / "3")
    with training.Checkpoints(folder.checkpoints) as checkpoints:
        same_bits(checkpoints.restore(setup.state()), states[2])
    assert "it was saved as the checkpoint of step 1" in caplog.text


def test_checkpoints_of_another_run_are_refused(tmp_path):
    state = Setup().state()
    with training.Checkpoints(tmp_path, identity="a run") as checkpoints:
        checkpoints.save(state)
    for identity in ("a run", None):
        with training.Checkpoints(tmp_path, identity=identity) as checkpoints:
            assert checkpoints.steps() == [0]
    with pytest.raises(InputError, match="holds the checkpoints of another run"):
        training.Checkpoints(tmp_path, identity="another")


def test_a_newer_format_is_refused(run):
    folder, _, _ = run
    facts = folder.checkpoints / "3" / "facts" / "metadata"
    facts.write_text(json.dumps(json.loads(facts.read_text()) | {"format": 3}))
    with pytest.raises(InputError, match=r"checkpoint 3 in .* has format 3, and this version of lstmjax reads 2"):
        training.Checkpoints(folder.checkpoints)


def test_variables_that_are_not_trained_come_back_too(tmp_path):
    """Running statistics, keys inside a model, and where an outside iterator stands."""
    key = jax.random.key(2)
    other = {"norm": {"mean": np.arange(3.0, dtype=np.float32)}, "dropout": {"key": key}}
    state = Setup().state()._replace(other=other)
    with training.Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(state, source_state={"shard": 3})
        restored = checkpoints.restore(state)
        params, found = checkpoints.restore_params(*jax.eval_shape(lambda: (state.params, other)))
        assert checkpoints.source_state(0) == {"shard": 3}
        with pytest.raises(InputError, match=r"norm.mean is float32 \[3\] in it, and absent"):
            checkpoints.restore_params(state.params, {"dropout": other["dropout"]})
    chex.assert_trees_all_equal(params, state.params)
    for tree in (restored.other, found):
        np.testing.assert_array_equal(tree["norm"]["mean"], other["norm"]["mean"])
        assert tree["dropout"]["key"] == key


def test_a_folder_opened_to_be_read_is_not_written_to(run):
    folder, _, states = run
    opened = training.Checkpoints(folder.checkpoints, read_only=True)
    with opened, pytest.raises(ValueError, match="read_only"):
        opened.save(states[3])


def test_a_folder_is_had_by_one_at_a_time(run):
    folder, _, _ = run
    with folder.lock(), pytest.raises(InputError, match="is in use by another process"), folder.lock():
        pass
    with folder.lock():
        pass


def test_a_new_run_does_not_take_over_checkpoints(run):
    folder, _, _ = run
    folder.create(bytes_needed=1, resume=True)
    with pytest.raises(InputError, match="checkpoints holds the checkpoints of another run"):
        folder.create(bytes_needed=1)
    shutil.rmtree(folder.checkpoints)
    folder.checkpoints.touch()
    with pytest.raises(InputError, match="checkpoints must be a folder, and is a file"):
        folder.create(bytes_needed=1)


def test_any_kind_of_key_comes_back(tmp_path):
    setup = Setup()
    state = setup.state()._replace(key=jax.random.key(5, impl="rbg"))
    checkpoints = training.Checkpoints(tmp_path)
    checkpoints.save(state, 1.0)
    checkpoints.close()
    template = setup.state()._replace(key=jax.random.key(0, impl="rbg"))
    same_bits(training.Checkpoints(tmp_path).restore(template), state)


def test_all_damaged_is_an_error(run):
    folder, setup, _ = run
    for step in (1, 2, 3):
        remove(folder, step, "params")
    with pytest.raises(InputError, match=r"no checkpoint in .* can be read; damaged: 3, 2, 1"):
        training.Checkpoints(folder.checkpoints).restore(setup.state())
    assert training.Checkpoints(folder.checkpoints).steps() == [1, 2, 3]


def test_a_half_written_checkpoint_is_never_picked_up(run):
    folder, setup, states = run
    whole = folder.checkpoints / "3"
    whole.rename(folder.checkpoints / "3.orbax-checkpoint-tmp")
    same_bits(training.Checkpoints(folder.checkpoints).restore(setup.state()), states[2])
    assert not list(folder.checkpoints.glob("*tmp*"))


def test_a_model_is_loaded_without_training_code(run):
    folder, _, states = run
    tokens = IDS[None, :10]
    for step, expected in ((2, 2), ("best", 2), ("latest", 3)):
        model, vocabulary = load_model(folder.path, step)
        assert vocabulary == VOCABULARY
        same = nnx.merge(training.split_model(model)[0], states[expected].params)
        np.testing.assert_array_equal(model(tokens)[0], same(tokens)[0])
    assert isinstance(model, LanguageModel)


GOLDEN = Path(__file__).parent / "golden" / "language-model-format-0"


def test_a_folder_of_format_0_still_loads():
    """Written before folders had a format; the logits are those of the code that wrote it."""
    expected = json.loads((GOLDEN / "expected.json").read_text())
    model, vocabulary = load_model(GOLDEN)
    logits, _ = model(vocabulary.encode(expected["text"])[None])
    np.testing.assert_allclose(logits[0, -1], expected["logits"], rtol=0, atol=1e-5)


def test_a_folder_of_format_0_cannot_be_gone_on_with():
    with pytest.raises(InputError, match="was written by an older version: its model can be loaded"):
        training.RunFolder(GOLDEN).run_to_resume()


def test_loading_is_silent_and_lets_go(run, caplog, monkeypatch):
    opened, closed = [], []
    manager = orbax.checkpoint.CheckpointManager

    class Watched(manager):
        def __init__(self, *arguments, **options):
            opened.append(self)
            super().__init__(*arguments, **options)

        def close(self):
            closed.append(self)
            super().close()

    monkeypatch.setattr(orbax.checkpoint, "CheckpointManager", Watched)
    load_model(run[0].path)
    assert opened == closed != []
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


def test_loading_changes_nothing_on_disk(run):
    folder, _, _ = run
    before = {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")}
    load_model(str(folder.path))
    assert {path: path.stat().st_mtime_ns for path in folder.path.rglob("*")} == before


def test_loading_passes_over_damage(run, caplog):
    folder, _, states = run
    overwrite(folder, 2, "params")
    with caplog.at_level(logging.WARNING, logger="lstmjax"):
        model, _ = load_model(folder.path)
    assert "checkpoint 2 is damaged" in caplog.text
    np.testing.assert_array_equal(model.head.kernel[...], states[3].params["head"]["kernel"])
    assert (folder.checkpoints / "2").is_dir()


def without(run, name):
    config = json.loads(run.config.read_text())
    del config["model"][name]
    run.config.write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda run: shutil.rmtree(run.path), "is not a folder; expected the folder of a training run"),
        (lambda run: run.config.unlink(), "is not the folder of a training run: it has no config.json"),
        (lambda run: run.config.write_text("{"), "config.json can't be read"),
        (lambda run: run.config.write_text("[" * 100_000), "config.json can't be read"),
        (lambda run: run.vocabulary.write_text("[" * 100_000), "vocabulary.json is not a readable vocabulary"),
        (
            lambda run: run.write_config({"family": "oracle"}),
            "names the family 'oracle'; .* has .'.*'forecaster', .*'language-model'",
        ),
        (lambda run: run.write_config({"format": 3}), "has format 3; this version of lstmjax reads up to 2"),
        (lambda run: run.config.write_text("[]"), "config.json must hold a JSON object, got list"),
        (lambda run: run.config.write_text("{}"), "config.json does not describe a model: 'model'"),
        (lambda run: run.config.write_text('{"model": {"layers": 2}}'), "does not describe a model: .*'layers'"),
        (lambda run: run.vocabulary.unlink(), "vocabulary.json is not a readable vocabulary"),
        (lambda run: run.vocabulary.write_text('{"kind": "bytes"}'), "vocab_size is 5, and there are 256 symbols"),
        (lambda run: without(run, "dtype"), "does not describe a model: it lacks dtype"),
        (lambda run: run.write_config({"family": []}), r"names the family \[\]"),
        (lambda run: shutil.rmtree(run.checkpoints), "has no checkpoint yet"),
        (
            lambda run: run.config.write_text(json.dumps({"model": {"hidden_features": 9}})),
            "is from another config: embed.embedding is float32",
        ),
        (
            lambda run: run.config.write_text(json.dumps({"model": {"hidden_features": 10**20}})),
            "config.json does not describe a model",
        ),
    ],
)
def test_folders_that_cannot_be_loaded(run, spoil, sentence):
    folder, _, _ = run
    spoil(folder)
    with pytest.raises(InputError, match=sentence):
        load_model(folder.path)


@pytest.mark.parametrize(("step", "error"), [("oldest", ValueError), (None, TypeError), (1.0, TypeError)])
def test_a_step_that_is_none(run, step, error):
    with pytest.raises(error, match="step must be a whole number"):
        load_model(run[0].path, step)


def test_a_step_that_was_not_kept(run):
    with pytest.raises(InputError, match=r"has no checkpoint at step 7; it has \[1, 2, 3\]"):
        load_model(run[0].path, 7)
