"""The command that translates: files, standard input, many ways to decode, and a sentence for mistakes."""

import csv
import dataclasses
import gzip
import io
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from experiments import cli
from experiments.translate import __main__ as command
from experiments.translate import pictures, predictions, scores, surprises
from experiments.translate.options import TranslateOptions
from lstmjax import load_model
from lstmjax.data import Characters, Words
from lstmjax.decoding import (
    Alignment,
    BeamSettings,
    GNMTLength,
    PlainLength,
    alignments,
    sample_translations,
    translate_text,
)
from lstmjax.decoding.translated_text import together
from lstmjax.errors import InputError
from lstmjax.saved import average, load_average
from tests import cases

pytestmark = pytest.mark.usefixtures("lenient_promotion")

TINY = "--symbols characters --no-share-symbols --no-baselines --epochs 5 --keep 3 --batch-size 16 --num-buckets 1 "
TINY += "--longest 12 --model.embed-features 8 --model.out-features 8 --model.encoder-features 8 "
TINY += "--model.decoder-features 16 --optimizer.learning-rate 0.03 "
TINY += "--model.input-dropout 0 --model.memory-dropout 0 --model.output-dropout 0 --model.label-smoothing 0"
PNG = b"\x89PNG\r\n"


def call(arguments, monkeypatch, capsys, stdin=b""):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
    return cases.call(command.main, arguments, monkeypatch, capsys)


def letters(count, seed, longest=6):
    """Words of the letters a to d, and the same in capitals."""
    rng = np.random.default_rng(seed)
    words = ["".join(rng.choice(list("abcd"), size=rng.integers(1, longest + 1))) for _ in range(count)]
    return words, [word.upper() for word in words]


def write(path, lines):
    content = "".join(line + "\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


def train(folder, name, seed, count):
    more = ["--seed", seed, "--out", folder / name]
    for number, (part, size) in enumerate({"train": count, "dev": 16, "test": 16}.items()):
        source, target = letters(size, number)
        more += [f"--{part}-source", write(folder / f"{part}.src.gz", source)]
        more += [f"--{part}-target", write(folder / f"{part}.trg", target)]
    without_end = dataclasses.replace(command.STUDY, finish=lambda *_: {})
    assert cases.run_quietly(without_end.main, [*TINY.split(), *more]) == 0
    return folder / name


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The folders of two runs on the same letters."""
    folder = tmp_path_factory.mktemp("letters")
    return [train(folder, name, seed, 800) for seed, name in enumerate(("one", "two"))]


@pytest.fixture(scope="module")
def model(trained):
    return load_model(trained[0])


LINES = ["abc", "", "dd", "  ", "abcd", "a"]
SHORT = BeamSettings(beam=5, steps=24, length_penalty=GNMTLength(0.6))


def texts(models, vocabulary, lines=LINES, settings=SHORT, batch_size=1):
    found = translate_text(models, vocabulary, lines, settings=settings, batch_size=batch_size)
    return [best.text for best, *_ in found]


def test_a_file_is_translated_line_by_line(trained, model, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.de.txt.gz", LINES)
    code, out, err = call(["--checkpoint", trained[0], "--translate", "a.de.txt.gz"], monkeypatch, capsys)
    assert (code, err) == (0, "")
    assert out.startswith("6 lines translated in ")
    assert out.endswith("compile: a.de-translated.txt\n")
    written = Path("a.de-translated.txt").read_text()
    assert written == "".join(line.strip().upper() + "\n" for line in LINES)
    assert texts(*model) == written.splitlines()


def test_standard_input_is_translated_as_it_comes(trained, model, tmp_path, monkeypatch, capsys):
    stdin = "\n".join(LINES).replace("abc\n", "abc\r\n", 1).encode()  # no end of the last line
    code, out, err = call(["--checkpoint", trained[0]], monkeypatch, capsys, b"\xef\xbb\xbf" + stdin)
    assert (code, err, out.split("\n")) == (0, "", [*texts(*model), ""])
    assert call(["--checkpoint", trained[0]], monkeypatch, capsys) == (0, "", "")
    file = tmp_path / "said.txt"
    assert call(["--checkpoint", trained[0], "--out", file], monkeypatch, capsys, stdin) == (0, "", "")
    assert file.read_text() == out
    code, out, err = call(["--checkpoint", trained[0]], monkeypatch, capsys, b"abc\n\xe4\n")
    assert (code, out.count("\n")) == (2, 1)  # the first line was there already
    assert err == "error: standard input is not UTF-8 text: invalid continuation byte at byte 0 of the line, line 2"


def test_each_translation_is_there_before_the_next_line_is_read(trained, monkeypatch, capsys):
    out, seen = io.BytesIO(), []

    class Keyboard(io.BytesIO):
        def readline(self, *_):
            seen.append(out.getvalue())
            if len(seen) == 4:
                raise KeyboardInterrupt
            return super().readline()

    monkeypatch.setattr(sys, "argv", ["program", "--checkpoint", str(trained[0])])
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=Keyboard(b"abc\n\ndd\na\n")))
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding="utf-8"))
    with pytest.raises(SystemExit) as stop:
        cli.run(command.main)
    assert seen == [b"", b"ABC\n", b"ABC\n\n", b"ABC\n\nDD\n"]
    assert (stop.value.code, capsys.readouterr().err) == (130, "error: stopped\n")


def test_what_training_never_saw_is_told(trained, tmp_path, monkeypatch, capsys):
    lines = ["abc", "xab", "a" * 12, "", "yz x", "abcd" * 3]
    file = write(tmp_path / "a.txt", lines)
    code, _, err = call(["--checkpoint", trained[0], "--translate", file, "--out", tmp_path / "b"], monkeypatch, capsys)
    assert code == 0
    long = "longer than the 12 symbols of any source in training"
    strange = "4 characters never seen in training, 'x', ' ', 'y', 'z' in 2 lines, 2, 5"
    assert err == f"warning: {file}: {long}: 2 lines, 3, 6 warning: {file}: {strange}"
    assert len((tmp_path / "b").read_text().splitlines()) == 6
    code, out, err = call(["--checkpoint", trained[0]], monkeypatch, capsys, b"abc\nx" + b"a" * 12)
    assert (code, len(out.splitlines())) == (0, 2)
    assert err == f"warning: line 2: {long}, 14 warning: line 2: 1 character never seen in training, 'x'"


def test_surprises_are_counted_in_words_or_characters():
    lines = ["ein Hund", "zwei  Hunde", "", "Hund drei " * 3, "vier fünf sechs sieben acht"]
    found = surprises.of_file("a.de", lines, Words.train(["ein Hund"]), longest=5)
    assert found == [
        "a.de: longer than the 5 symbols of any source in training: 2 lines, 4, 5",
        "a.de: 8 words never seen in training, 'Hunde', 'zwei', 'drei', 'acht', 'fünf', ... in 3 lines, 2, 4, 5",
    ]
    of_line = surprises.of_line(7, "Hündin", Characters.train(["Hund in"]), longest=9)
    assert of_line == ["line 7: 1 character never seen in training, 'ü'"]
    assert surprises.of_file("a.de", ["Hund"], Words.train(["ein Hund"]), longest=2) == []


def test_the_n_best_and_what_they_looked_at_are_written(trained, model, tmp_path, monkeypatch, capsys):
    file, out = write(tmp_path / "a.txt", LINES), tmp_path / "said.txt"
    arguments = ["--translate", file, "--out", out, "--n-best", "3", "--beam", "3", "--attention", tmp_path / "maps"]
    arguments += ["--penalty", "plain", "--length-penalty", "1", "--max-length", "7", "--min-length", "2"]
    code, _, err = call(["--checkpoint", trained[0], *arguments], monkeypatch, capsys)
    assert (code, err) == (0, "")
    settings = BeamSettings(beam=3, n_best=3, steps=7, min_steps=2, length_penalty=PlainLength(1.0))
    found = translate_text(*model, LINES, settings=settings)
    rows = list(
        csv.reader((tmp_path / "said.nbest.tsv").read_text().splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    )
    assert rows.pop(0) == ["line", "rank", "score", "log_probability", "translation"]
    wanted = [(n, rank, one) for n, best in enumerate(found, 1) for rank, one in enumerate(best, 1)]
    assert [(int(n), int(rank), text) for n, rank, _, _, text in rows] == [(n, r, one.text) for n, r, one in wanted]
    for (*_, score, log_probability, _), (*_, one) in zip(rows, wanted, strict=True):
        assert float(score) == pytest.approx(one.score, abs=1e-4)
        assert float(log_probability) == pytest.approx(one.log_probability, abs=1e-4)
    assert out.read_text().splitlines() == [best.text for best, *_ in found]
    maps = json.loads((tmp_path / "maps" / "attention.json").read_text())
    assert [one["line"] for one in maps] == [1, 2, 3, 4, 5, 6]
    assert maps[1] == {"line": 2, "source": [], "target": [], "weights": []}
    assert maps[0]["source"] == ["a", "b", "c", "</s>"]
    assert maps[0]["target"] == [*found[0][0].text, "</s>"]
    weights = np.array(maps[0]["weights"])
    assert weights.shape == (len(maps[0]["target"]), 4)
    np.testing.assert_allclose(weights.sum(axis=1), 1.0, atol=1e-4)
    pictures_there = {path.name for path in (tmp_path / "maps").glob("*.png")}
    assert pictures_there == {"line-1.png", "line-3.png", "line-5.png", "line-6.png"}
    assert (tmp_path / "maps" / "line-1.png").read_bytes().startswith(PNG)


def test_an_alignment_is_what_decoding_step_by_step_looks_at(model):
    network, vocabulary = model
    (best,), *_ = translate_text(*model, ["abcd"], settings=SHORT)
    (found,) = alignments(network, vocabulary, ["abcd"], [best.symbols])
    source = np.append(vocabulary.source.encode("abcd"), 3)
    memory, state = network.encode(jnp.asarray(source)[None])
    for symbol, weights in zip([2, *best.symbols], found.weights, strict=True):
        _, state = network.step(memory, jnp.array([symbol], jnp.int32), state)
        np.testing.assert_allclose(state.weights[0], weights, atol=1e-6)
    of_text = alignments(network, vocabulary, ["", "abcd"], ["", vocabulary.target.decode(best.symbols)], batch_size=2)
    assert of_text[0].weights.shape == (0, 0)
    np.testing.assert_allclose(of_text[1].weights, found.weights, atol=1e-6)
    twice = alignments([network, network], vocabulary, ["abcd"], [best.symbols])
    np.testing.assert_allclose(twice[0].weights, found.weights, atol=1e-6)
    with pytest.raises(ValueError, match="targets must be as many as sources, 1, got 0"):
        alignments(network, vocabulary, ["abcd"], [])


def test_several_models_translate_together(trained, model, tmp_path, monkeypatch, capsys):
    other, file = load_model(trained[1]), write(tmp_path / "a.txt", LINES[4:])
    arguments = ["--translate", file, "--out", tmp_path / "b.txt", "--n-best", "2", "--beam", "2"]
    assert call(["--checkpoint", *trained, *arguments], monkeypatch, capsys)[0] == 0
    rows = csv.DictReader((tmp_path / "b.nbest.tsv").read_text().splitlines(), delimiter="\t")
    said = [(row["translation"], float(row["log_probability"])) for row in rows]

    def best(*models):
        settings = BeamSettings(beam=2, n_best=2, steps=24)
        found = translate_text(models, model.companion, LINES[4:], settings=settings)
        return [(one.text, pytest.approx(one.log_probability, abs=1e-4)) for best in found for one in best]

    assert said == best(model.model, other.model)
    assert said != best(model.model)
    assert said != best(other.model)


def test_newest_checkpoints_are_averaged(trained, model, monkeypatch, capsys):
    steps = sorted(int(path.name) for path in (trained[0] / "checkpoints").iterdir() if path.name.isdigit())
    assert len(steps) == 3
    each = [nnx.to_pure_dict(nnx.state(load_model(trained[0], step).model, nnx.Param)) for step in steps[-2:]]
    mean = load_average(trained[0], 2)
    jax.tree.map(
        lambda got, a, b: np.testing.assert_array_equal(got, ((np.float64(a) + np.float64(b)) / 2).astype(a.dtype)),
        nnx.to_pure_dict(nnx.state(mean.model, nnx.Param)),
        *each,
    )
    assert mean.companion == model.companion
    code, out, err = call(["--checkpoint", trained[0], "--average", "2"], monkeypatch, capsys, b"abc\ndd\n")
    assert (code, err, out.splitlines()) == (0, "", texts(*mean, lines=["abc", "dd"]))
    code, _, err = call(["--checkpoint", trained[0], "--average", "4"], monkeypatch, capsys)
    assert (code, err) == (2, f"error: {trained[0]} has too few checkpoints to average 4 of them, 3")


def test_an_average_keeps_what_is_no_parameter_of_the_newest():
    old, new = nnx.BatchNorm(2, rngs=nnx.Rngs(0)), nnx.BatchNorm(2, rngs=nnx.Rngs(0))
    old.scale[...], new.scale[...] = jnp.array([1.0, 4.0]), jnp.array([2.0, 0.0])
    old.mean[...], new.mean[...] = jnp.array([5.0, 5.0]), jnp.array([7.0, 8.0])
    mean = average([old, new])
    assert mean.scale[...].tolist() == [1.5, 2.0]
    assert mean.mean[...].tolist() == [7.0, 8.0]
    assert old.scale[...].tolist() == [1.0, 4.0]
    with pytest.raises(ValueError, match="models must have the same parameters"):
        average([old, nnx.BatchNorm(3, rngs=nnx.Rngs(0))])
    with pytest.raises(ValueError, match="models must be at least one, got none"):
        average([])


def test_symbols_are_drawn_where_there_is_a_temperature(trained, model, tmp_path, monkeypatch, capsys):
    network, vocabulary = model
    hot = ["--checkpoint", trained[0], "--temperature", "20", "--max-length", "9"]
    lines = b"abc\n\n" + b"abc\n" * 6
    code, out, err = call([*hot, "--seed", "5"], monkeypatch, capsys, lines)
    assert (code, err) == (0, "")
    assert call([*hot, "--seed", "5"], monkeypatch, capsys, lines)[1] == out
    assert call([*hot, "--seed", "6"], monkeypatch, capsys, lines)[1] != out
    drawn = out.splitlines()
    assert drawn.pop(1) == ""
    assert len(set(drawn)) > 3  # the same line again is drawn anew
    assert max(map(len, drawn)) <= 9
    padded, lengths = together([np.append(vocabulary.source.encode("abc"), 3)], 1)
    key = jax.random.fold_in(jax.random.key(5), 2)
    symbols, counts = sample_translations(
        network, padded, lengths=lengths, key=key, sampling=predictions.Sampling(20.0), steps=9
    )
    assert drawn[1] == vocabulary.target.decode(np.asarray(symbols)[0, : int(counts[0])])
    cold = call([*hot[:2], "--temperature", "0", "--max-length", "9"], monkeypatch, capsys, b"abc\ndd\n")[1]
    assert cold.splitlines() == texts(*model, lines=["abc", "dd"], settings=BeamSettings(beam=1, steps=9))
    file = write(tmp_path / "a.txt", LINES)
    for _ in range(2):
        assert call([*hot, "--translate", file, "--out", tmp_path / "b.txt"], monkeypatch, capsys)[0] == 0
    assert [not line for line in (tmp_path / "b.txt").read_text().splitlines()][1:4:2] == [True, True]


def test_references_say_how_good_translations_are(trained, model, tmp_path, monkeypatch, capsys):
    said = texts(*model)
    references = [said[0], *("ABCD" for _ in said[1:])]
    file, true = write(tmp_path / "a.txt", LINES), write(tmp_path / "true.txt", references)
    arguments = ["--checkpoint", trained[0], "--translate", file, "--out", tmp_path / "b.txt", "--reference", true]
    code, out, err = call(arguments, monkeypatch, capsys)
    assert (code, err) == (0, "")
    found = {line.split()[0]: line.split()[1:] for line in out.splitlines()[1:]}
    assert {name: float(words[0]) for name, words in found.items()} == pytest.approx(
        scores.figures(said, references), abs=1e-3
    )
    assert found["bleu"][1].startswith("nrefs:1|case:mixed|")
    assert found["bleu_lowercase"][1].startswith("nrefs:1|case:lc|")
    write(true, references[1:])
    code, _, err = call(arguments, monkeypatch, capsys)
    assert (code, err) == (2, f"error: {true} has 5 lines, and {file}, which it is the reference of, 6")


def test_scores_are_those_of_worked_examples():
    perfect = ["a man in a red hat", "two dogs run"]
    assert scores.figures(perfect, perfect) == pytest.approx(
        {"bleu": 100.0, "bleu_lowercase": 100.0, "chrf": 100.0, "exact": 1.0}
    )
    capitals = scores.figures(["A MAN IN A RED HAT", "two dogs run"], perfect)
    assert capitals["bleu"] < capitals["bleu_lowercase"] == pytest.approx(100.0)
    assert capitals["exact"] == 0.5
    # of 5 words 4, of 4 pairs 3, of 3 threes 2, of 2 fours 1, and as long as the reference
    by_hand = 100 * (4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25
    assert scores.bleu(["the cat sat on it"], ["the cat sat on mats"]).value == pytest.approx(by_hand)
    shorter = 100 * np.exp(1 - 6 / 5)
    assert scores.bleu(["the cat sat on a"], ["the cat sat on a mat"]).value == pytest.approx(shorter)
    for said in ([], ["a"]):
        with pytest.raises(ValueError, match="expected a reference for each text"):
            scores.figures(said, ["a", "b"] if said else [])


def test_sacrebleu_is_asked_for_where_it_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(InputError, match=r"pip install 'lstmjax\[experiments\]'"):
        scores.bleu(["a"], ["a"])


def test_pictures_are_drawn_of_any_pieces(tmp_path):
    odd = Alignment([" Männer", "$x$", "\n", "漢" * 40], ["a", "</s>"], np.full((2, 4), 0.25, np.float32))
    pictures.plot_attentions(tmp_path / "maps.png", [odd] * 3)
    systems = {"first": ["a b c d e"] * 30, "$other$": ["x"] * 30}
    sources = [" ".join("w" * (1 + number % 12)) for number in range(30)]
    pictures.plot_bleu_by_length(tmp_path / "lengths.png", sources, systems, ["a b c d e"] * 30)
    for name in ("maps.png", "lengths.png"):
        assert (tmp_path / name).read_bytes().startswith(PNG)


def test_every_length_is_in_one_bin():
    rng = np.random.default_rng(0)
    for lengths in ([0, 3], [7], rng.integers(0, 60, 100).tolist(), [5] * 50, [30] * 20):
        bins = pictures.bins_of(lengths, 5)
        assert sorted(row for rows in bins.values() for row in rows) == list(range(len(lengths)))
        assert len(bins) == 1 or all(len(rows) >= pictures.LEAST_PAIRS for rows in bins.values())
        for name, rows in bins.items():
            first, last = map(int, name.split("-"))
            assert all(first <= max(1, lengths[row]) <= last for row in rows)


def test_what_would_break_a_line_becomes_a_blank(monkeypatch):
    broken = [[predictions.Translation("a\nb\tc\r", np.zeros(0, np.int32), -1.0, -2.0)]]
    assert predictions.nbest_table(broken).splitlines()[1] == "1\t1\t-1.000000\t-2.000000\ta b c "


MISTAKES = {
    "another family": (["--checkpoint", "{tagger}"], "names the family"),
    "no run": (["--checkpoint", "{folder}/nowhere"], "nowhere"),
    "no file": (["--checkpoint", "{run}", "--translate", "{folder}/no.txt"], "no.txt can't be read"),
    "empty file": (["--checkpoint", "{run}", "--translate", "{folder}/empty"], "empty is empty; expected UTF-8 text"),
    "encoding": (
        ["--checkpoint", "{run}", "--translate", "{folder}/latin.txt"],
        "latin.txt is not UTF-8 text",
    ),
    "encoded line": (["--checkpoint", "{run}", "--translate", "{folder}/latin.txt"], ", line 2"),
    "same file": (["--checkpoint", "{run}", "--translate", "{file}", "--out", "{file}"], "out must be another file"),
    "packed out": (["--checkpoint", "{run}", "--out", "{folder}/b.gz"], "out is written unpacked"),
    "n-best": (["--checkpoint", "{run}", "--translate", "{file}", "--n-best", "6"], "at most the 5 of --beam, got 6"),
    "n-best of a stream": (["--checkpoint", "{run}", "--n-best", "2"], "n_best is of files, so it needs translate"),
    "reference of a stream": (["--checkpoint", "{run}", "--reference", "{file}"], "reference is of files"),
    "seed": (["--checkpoint", "{run}", "--seed", "1"], "seed is of drawing, so it needs temperature"),
    "drawing": (["--checkpoint", "{run}", "--temperature", "1", "--beam", "2"], "beam is of the search, which temp"),
    "cold": (["--checkpoint", "{run}", "--temperature", "-1"], "temperature must be at least 0"),
    "which": (["--checkpoint", "{run}", "--step", "1", "--average", "2"], "step and average must not be given togeth"),
    "step": (["--checkpoint", "{run}", "--step", "1"], "has no checkpoint at step 1"),
    "lengths": (["--checkpoint", "{run}", "--min-length", "9", "--max-length", "8"], "at most the 8 of --max-length"),
    "coverage": (["--checkpoint", "{run}", "--coverage-penalty", "-1"], "coverage_penalty must be at least 0, got -1"),
    "beam": (["--checkpoint", "{run}", "--beam", "0"], "beam must be at least 1, got 0"),
    "counts": (
        ["--train-source", "{file}", "--train-target", "{folder}/latin.txt"],
        "latin.txt is not UTF-8 text",
    ),
    "line counts": (
        ["--train-source", "{file}", "--train-target", "{folder}/one.txt"],
        "have different numbers of lines, 6 and 1",
    ),
    "partner": (["--train-source", "{file}"], "train_source and train_target must be given together"),
    "dev partner": (["--data", "dates", "--dev-source", "{file}"], "data has parts of its own, so dev_source"),
    "set": (["--data", "klingon"], "data must be one of"),
    "nothing": ([], "--train-source and --train-target must name files, or --data one of"),
    "few": (["--train-source", "{folder}/one.txt", "--train-target", "{folder}/one.txt"], "too few pairs to hold out"),
    "long": (
        ["--train-source", "{pairs}", "--train-target", "{pairs}", "--longest", "1", "--symbols", "characters"],
        "no pair has at most 1 symbols a side, see --longest",
    ),
    "for the data": (
        ["--train-source", "{pairs}", "--train-target", "{pairs}", "--model.source-vocab-size", "3"],
        "--model.source-vocab-size is for the data to decide; leave it out",
    ),
}


@pytest.mark.parametrize(("arguments", "sentence"), MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes_are_one_sentence(trained, arguments, sentence, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.txt", LINES)
    write(tmp_path / "one.txt", ["a"])
    write(tmp_path / "pairs.txt", letters(60, 1)[0])
    (tmp_path / "latin.txt").write_bytes(b"abc\nM\xe4nner\n")
    (tmp_path / "empty").touch()
    (tmp_path / "tagger").mkdir()
    settings = json.loads((trained[0] / "config.json").read_text())
    (tmp_path / "tagger" / "config.json").write_text(json.dumps(settings | {"family": "unheard-of"}))
    names = {"run": trained[0], "folder": tmp_path, "tagger": tmp_path / "tagger"}
    names |= {"file": tmp_path / "a.txt", "pairs": tmp_path / "pairs.txt"}
    code, out, err = call([part.format(**names) for part in arguments], monkeypatch, capsys)
    assert (code, out) == (2, "")
    assert sentence in err
    assert "Traceback" not in err


def test_blank_pairs_are_left_out_and_told(tmp_path):
    source, target = letters(60, 1)
    source[3], target[7] = "", "  "
    files = [write(tmp_path / "a.src", source), write(tmp_path / "a.trg", target)]
    config = cli.parse(
        command.TranslateConfig, "", [*TINY.split(), "--train-source", str(files[0]), "--train-target", str(files[1])]
    )
    loaded = command.load(config)
    assert "lines 4, 8" in loaded.description
    assert sum(part.text.pairs for part in loaded.parts) == 58


def test_what_is_not_asked_for_is_as_in_the_run():
    run = {"beam": 3, "length_penalty": 0.2, "longest": 7}
    folders = (Path("run"),)
    assert TranslateOptions(folders).search(run) == BeamSettings(beam=3, steps=14, length_penalty=GNMTLength(0.2))
    asked = TranslateOptions(
        folders,
        beam=4,
        penalty="plain",
        length_penalty=0.0,
        coverage_penalty=0.3,
        block_ngrams=2,
        min_length=1,
        max_length=5,
    )
    assert asked.search(run) == BeamSettings(4, 1, 5, 1, PlainLength(0.0), 0.3, 2)


def test_a_model_that_never_looks_back_has_no_attention_to_write(trained, model, tmp_path, monkeypatch, capsys):
    settings = json.loads((trained[0] / "config.json").read_text())
    settings["model"]["attention"] = "none"
    (tmp_path / "config.json").write_text(json.dumps(settings))
    monkeypatch.setattr(predictions, "load_model", lambda *_: model)
    file = write(tmp_path / "a.txt", LINES)
    for option, value in (("--attention", tmp_path / "maps"), ("--coverage-penalty", "0.1")):
        arguments = ["--checkpoint", tmp_path, "--translate", file, "--out", tmp_path / "b", option, value]
        code, _, err = call(arguments, monkeypatch, capsys)
        assert (code, err) == (2, f"error: {option} needs attention, which the model in {tmp_path} has not")


def test_folders_that_do_not_belong_are_refused(trained, model, tmp_path, monkeypatch, capsys):
    arguments = ["--checkpoint", trained[0], trained[1]]

    def loading(kind, vocabulary):
        return lambda folder, step: (
            load_model(trained[0])
            if folder == trained[0]
            else load_model(trained[0])._replace(model=kind, companion=vocabulary)
        )

    with monkeypatch.context() as patch:
        patch.setattr(predictions, "load_model", loading(nnx.Linear(1, 1, rngs=nnx.Rngs(0)), None))
        code, _, err = call(arguments, patch, capsys)
    assert (code, err) == (2, f"error: {trained[1]} holds a Linear; expected a Seq2Seq")
    with monkeypatch.context() as patch:
        swapped = type(model.companion)(model.companion.target, model.companion.source)
        patch.setattr(predictions, "load_model", loading(model.model, swapped))
        code, _, err = call(arguments, patch, capsys)
    assert code == 2
    assert f"{trained[1]} has another vocabulary.json than {trained[0]}" in err
