"""Train an LSTM language model on a text, and save it, its loss curve and a sample of what it writes.

Usage: python -m experiments.train [--data FILE] [--out DIR] [--resume] ...; see --help.
"""

import dataclasses
import hashlib
import json
import sys
from typing import Any

import jax
import numpy as np
import optax
from flax import nnx

from experiments import cli
from experiments.corpora import load_corpus
from experiments.observers import MetricsFile, ProgressLine, plot_curve
from experiments.settings import TrainConfig, config_to_json, read_settings
from experiments.signals import StopOnSignal
from lstmjax import load_model, training
from lstmjax.data import text
from lstmjax.decoding import Sampling, generate_text
from lstmjax.errors import InputError
from lstmjax.files import replace_text
from lstmjax.metrics import bits_per_symbol, perplexity
from lstmjax.models import LanguageModel
from lstmjax.training.checkpoint import stray_callbacks_silenced
from lstmjax.training.run_folder import identity_of


@dataclasses.dataclass(frozen=True)
class Corpus:
    """A text as symbols: streams to train on, what is kept for validation, and a digest that tells it from others."""

    vocabulary: text.Vocabulary
    batches: text.Streams
    validation: np.ndarray
    identity: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Run:
    """What a training run is made of."""

    config: TrainConfig
    folder: training.RunFolder
    corpus: Corpus
    model: LanguageModel
    optimizer: optax.GradientTransformation


def main() -> int:
    config, folder = read_settings(sys.argv[1:])
    cli.check_backend()
    corpus = load(config)
    model = LanguageModel(len(corpus.vocabulary), config.model, rngs=nnx.Rngs(config.seed))
    run = Run(config, folder, corpus, model, training.make_optimizer(config.optimizer, config.steps))
    state = training.initial_train_state(model, run.optimizer, config.batch_size, jax.random.key(config.seed))
    size = sum(leaf.nbytes for leaf in jax.tree.leaves((state.params, state.opt_state, state.carry)))
    folder.create(bytes_needed=size * (config.keep + 2), resume=config.resume)
    with folder.lock():
        prepare_folder(run)
        state, stopped, progress = train(run, state)
        if not stopped:
            finish(run, progress)
            return 0
    print(f"stopped at step {int(state.step)} of {config.steps}; everything is saved. To go on:")
    print(f"  {cli.command('experiments.train', '--resume', '--out', folder.path)}")
    return 130


def load(config: TrainConfig) -> Corpus:
    """Read, split and encode the text; characters that only the validation part has are unknown to the vocabulary."""
    whole = load_corpus(config.data)
    train_text, validation_text = text.split(whole, config.validation_fraction)
    vocabulary = text.CharVocabulary.of(train_text) if config.symbols == "characters" else text.ByteVocabulary()
    validation = vocabulary.encode(validation_text)
    if len(validation) < 2:
        raise InputError(f"the validation text has {len(validation)} symbols; expected at least 2")
    identity = {"characters": len(whole), "sha256": hashlib.sha256(whole.encode()).hexdigest()}
    batches = text.Streams(vocabulary.encode(train_text), config.batch_size, config.chunk_length)
    return Corpus(vocabulary, batches, validation, identity)


def prepare_folder(run: Run) -> None:
    """Write down what the run is, or make sure that a resumed one is the same run on the same text."""
    if not run.config.resume:
        settings = {"family": "language-model", **config_to_json(run.config), "text": run.corpus.identity}
        text.save_vocabulary(run.corpus.vocabulary, run.folder.vocabulary)
        run.folder.write_config(settings | {"run": identity_of({**settings, "data": None})})
    elif run.folder.read_config().get("text") != run.corpus.identity:
        raise InputError(f"the text is not the one that the run in {run.folder.path} was trained on")


def train(run: Run, state: training.TrainState) -> tuple[training.TrainState, bool, ProgressLine]:
    """Train to the end or to Ctrl-C; say which."""
    config, folder = run.config, run.folder
    checkpoints = training.Checkpoints(folder.checkpoints, config.keep, folder.run_to_resume())
    if config.resume:
        restored = checkpoints.restore(state)
        state = state if restored is None else restored
    announce(run, state)
    graphdef = training.split_model(run.model)[0]
    evaluate = training.make_evaluate(graphdef, training.EvaluationPlan())
    first, symbols_per_step = int(state.step), config.batch_size * config.chunk_length
    with (
        stray_callbacks_silenced(),
        checkpoints,
        MetricsFile(run.folder.metrics, first) as metrics,
        StopOnSignal() as stop,
        ProgressLine(config.steps, first, symbols_per_step) as progress,
    ):
        state = training.fit(
            state,
            run.corpus.batches,
            training.make_train_step(graphdef, run.optimizer),
            lambda params: evaluate(params, run.corpus.validation),
            checkpoints,
            training.Cadence(config.steps, config.log_every, config.eval_every),
            [metrics, progress],
            stop.is_set,
        )
    return state, int(state.step) < config.steps, progress


def announce(run: Run, state: training.TrainState) -> None:
    parameters = sum(leaf.size for leaf in jax.tree.leaves(state.params))
    streams, validation = run.corpus.batches, run.corpus.validation
    print(f"text: {len(streams.ids):,} {run.config.symbols} to train on, {len(validation):,} to validate on")
    print(f"model: {parameters:,} parameters, {len(run.corpus.vocabulary)} symbols; jax on {jax.default_backend()}")
    print(f"losses: nats per {run.config.symbol}")
    print(f"folder: {run.folder.path}" + (f", going on from step {int(state.step)}" if run.config.resume else ""))


def finish(run: Run, progress: ProgressLine) -> None:
    """Draw the curve, write a sample from the best checkpoint, and say how good it is and where everything lies."""
    folder, config = run.folder, run.config
    print("trained; everything is saved. Reading the whole validation text once more, with one carried state ...")
    plot_curve(folder.metrics, folder.curve, config.symbol)
    model, vocabulary = load_model(folder.path)
    graphdef, params, _ = training.split_model(model)
    loss = training.make_evaluate(graphdef, training.EXACT)(params, run.corpus.validation)
    written = sample_text(model, vocabulary, run.corpus, config)
    folder.sample.write_text(written + "\n", encoding="utf-8")
    summary = {
        "validation_loss": loss,
        f"bits_per_{config.symbol}": bits_per_symbol(loss),
        "perplexity": perplexity(loss),
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
        "from_step": progress.start_step,
        "minutes": progress.seconds / 60,
        "tokens_per_second": progress.speed(config.steps),
    }
    if progress.start_step < config.steps:  # a finished run that is resumed has nothing new to say
        replace_text(folder.summary, json.dumps(summary, indent=2) + "\n")
    print(f"\n{written}\n")
    print(
        f"best checkpoint: {loss:.4f} nats/{config.symbol} on the whole validation text, "
        f"{bits_per_symbol(loss):.3f} bits, perplexity {perplexity(loss):.2f}"
    )
    print(f"saved in {folder.path}: config.json, vocabulary.json, metrics.jsonl, summary.json, loss.png, sample.txt,")
    print("  and the newest and best checkpoints in checkpoints/")
    print(f"more text: {cli.command('experiments.sample', '--checkpoint', folder.path)}")


def sample_text(model: LanguageModel, vocabulary: text.Vocabulary, corpus: Corpus, config: TrainConfig) -> str:
    """Text that goes on from the first line of the validation text."""
    opening = vocabulary.decode(corpus.validation[:200]).split("\n")[0] or vocabulary.decode(corpus.validation[:1])
    sampling = Sampling(temperature=0.8)
    key = jax.random.key(config.seed)
    return (
        opening
        + generate_text(model, vocabulary, [opening], length=config.sample_length, key=key, sampling=sampling)[0]
    )


if __name__ == "__main__":
    cli.run(main)
