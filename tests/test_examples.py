"""The well-known programs, each run in a small size: what they learn, and that they are as short as their page says."""

import ast
import io
import re
import sys
import tokenize
from pathlib import Path

import numpy as np
import pytest

FOLDER = Path(__file__).parents[1] / "examples"
pytestmark = pytest.mark.usefixtures("lenient_promotion", "on_path")


@pytest.fixture
def on_path(monkeypatch):
    monkeypatch.syspath_prepend(str(FOLDER))
    monkeypatch.setenv("MPLBACKEND", "Agg")
    yield
    for name in [name for name, module in sys.modules.items() if getattr(module, "__file__", None)]:
        if Path(sys.modules[name].__file__).parent == FOLDER:
            del sys.modules[name]


def test_sums_are_learned():
    import addition

    sizes = {"digits": 2, "examples": 2000, "hidden": 32, "batch_size": 50, "epochs": 5}
    assert addition.main(**sizes, rate=0.02) > 0.5  # the likeliest character at each place: 0.39


def test_good_reviews_are_told_from_bad_ones(tmp_path):
    import made_up
    import reviews

    file = made_up.reviews(tmp_path / "imdb.npz", count=300, telling=0.3)
    assert reviews.main(str(file), words=1400, longest=20, epochs=2, rate=0.01) > 0.7


def test_the_temperature_is_foreseen_better_than_by_its_mean(tmp_path):
    import made_up
    import weather

    sizes = {"past": 72, "future": 12, "hidden": 8, "batch_size": 64, "epochs": 2, "rate": 0.01}
    file = made_up.weather(tmp_path / "jena.csv", count=4000)
    errors = weather.main(file, tmp_path / "weather.png", **sizes)
    assert errors < 0.5
    assert (tmp_path / "weather.png").exists()


def test_translations_begin_as_they_should(tmp_path, capsys):
    import made_up
    import translation

    file = made_up.sentences(tmp_path / "fra.txt", count=300)
    assert translation.main(file, hidden=32, batch_size=20, epochs=4, rate=0.005) < 2.5  # of 3.3, all characters alike
    assert re.search(r"It's \d+\.  C'est", capsys.readouterr().out)


def test_frames_are_foreseen_better_than_by_a_coin(tmp_path):
    import made_up
    import next_frames

    clips = np.load(made_up.clips(tmp_path / "moving.npy", count=20))[:, :, ::4, ::4]
    np.save(tmp_path / "small.npy", clips)
    assert next_frames.main(tmp_path / "small.npy", tmp_path / "frames.png", filters=4, epochs=3, rate=0.01) < 0.6
    assert (tmp_path / "frames.png").exists()


def test_words_follow_one_another_better_than_by_chance(tmp_path, capsys):
    import word_language_model

    text = "the cat sat on the mat .\nthe dog sat on the cat .\n" * 100
    for part in ("train", "valid", "test"):
        (tmp_path / f"{part}.txt").write_text(text)
    sizes = {"embed": 16, "hidden": 16, "batch_size": 4, "length": 10, "rate": 5.0, "epochs": 2, "words": 8}
    assert word_language_model.main(tmp_path, **sizes) < 5.0  # of 9 words
    assert len(capsys.readouterr().out.splitlines()[-1]) > 0


def test_the_word_before_tells_a_person_from_a_place(tmp_path):
    import made_up
    import tagger

    sizes = {"embed": 32, "hidden": 32, "batch_size": 20, "epochs": 5, "shapes": 1}
    files = made_up.tagged(tmp_path / "train", count=600), made_up.tagged(tmp_path / "test", count=50, seed=1)
    assert tagger.main(*files, **sizes) > 0.7  # all O: 0.61


def test_waves_go_on(tmp_path):
    import sine_waves

    file = tmp_path / "waves.png"
    assert sine_waves.main(file, waves=10, length=100, hidden=8, steps=3, future=20) < 0.01  # of 0.5
    assert file.exists()


def test_only_a_kept_state_knows_the_value_before(tmp_path):
    import stateful

    errors = stateful.main(tmp_path / "stateful.png", length=500, epochs=4)
    assert errors["stateful"] < 0.5 * errors["stateless"]


def test_a_server_answers_as_pytorch_does(tmp_path):
    torch = pytest.importorskip("torch")
    import json
    import threading
    import urllib.request

    import jax
    import serving
    import serving_torch
    from flax import nnx

    import lstmjax as lx

    theirs = serving_torch.Reviewer(words=50, embed=6, hidden=5).eval()
    torch.save(theirs.state_dict(), tmp_path / "reviews.pt")
    ours = serving.Reviewer(50, 6, 5, nnx.Rngs(0))
    lx.interop.load_torch(ours, tmp_path / "reviews.pt", {"embed": "embed", "lstm": "lstm", "head": "head"})
    server = serving.server(serving.compiled(ours, longest=8, every=8), port=0)
    threading.Thread(target=server.handle_request).start()
    reviews = [[3, 1, 4, 1, 5], [9, 2], [6] * 20]
    with jax.default_matmul_precision("highest"):
        answer = urllib.request.urlopen(f"http://127.0.0.1:{server.server_port}", json.dumps(reviews).encode()).read()
    server.server_close()
    np.testing.assert_allclose(json.loads(answer), serving_torch.predict(theirs, reviews, longest=8), rtol=1e-5)


def code_lines(path: Path) -> int:
    """Without blank lines, comments, and texts that stand alone, such as docstrings."""
    text = path.read_text(encoding="utf-8")
    no_code = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)
    tokens = [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type not in no_code]
    lines = {line for token in tokens for line in range(token.start[0], token.end[0] + 1)}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            lines -= set(range(node.lineno, node.end_lineno + 1))
    return len(lines)


def test_programs_are_as_short_as_their_page_says_and_no_longer_than_the_originals():
    rows = re.findall(r"^\| \[`(\w+)\.py`\].*?\| (\d+) / (\d+) \|", (FOLDER / "README.md").read_text(), re.MULTILINE)
    assert len(rows) == 10
    for name, ours, theirs in rows:
        assert code_lines(FOLDER / f"{name}.py") == int(ours), name
        assert int(ours) <= int(theirs), name
