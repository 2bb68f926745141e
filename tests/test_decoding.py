"""Decoding: filters against definitions, frequencies against probabilities, the compiled loop against a plain one."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st
from jax.tree_util import Partial

import lstmjax as lx
from lstmjax import decoding, sampling
from lstmjax.data.text import ByteVocabulary, CharVocabulary
from lstmjax.decoding import BernoulliSampling, GaussianMixture, MixtureSampling
from lstmjax.sampling import GREEDY, Sampling
from tests import reference

PROBABILITIES = np.array([0.02, 0.3, 0.08, 0.25, 0.05, 0.2, 0.1])
LOGITS = jnp.log(jnp.array(PROBABILITIES, jnp.float32))
VOCAB = 11


@pytest.fixture(scope="module")
def model():
    """Untrained, but with scores far enough apart that it has opinions."""
    model = lx.models.LanguageModel(VOCAB, lx.models.LanguageModelConfig(8, 8), rngs=nnx.Rngs(0))
    model.head.kernel[...] = 20.0 * model.head.kernel[...]
    return model


@nnx.jit
def scores_of(model, ids):
    return model(ids)[0]


def by_hand(model, prompt, length):
    """Greedy decoding that reads the whole text again for each symbol; what stands after it reaches nothing before."""
    ids = list(prompt)
    longest = 20  # one shape for every text, so one program
    for end in range(len(prompt), len(prompt) + length):
        padded = np.pad(ids, (0, longest - end)).astype(np.int32)
        ids.append(int(np.argmax(scores_of(model, padded[None])[0, end - 1])))
    return ids[len(prompt) :]


@given(k=st.integers(1, 9))
def test_top_k_is_its_definition(k):
    kept = jax.nn.softmax(sampling.keep_top_k(LOGITS, k))
    np.testing.assert_allclose(kept, reference.top_k(PROBABILITIES, min(k, len(PROBABILITIES))), atol=1e-6)


@given(p=st.floats(0.01, 1.0).filter(lambda p: np.abs(np.cumsum(np.sort(PROBABILITIES)[::-1]) - p).min() > 1e-4))
def test_top_p_is_its_definition(p):
    kept = jax.nn.softmax(sampling.keep_top_p(LOGITS, p))
    np.testing.assert_allclose(kept, reference.top_p(PROBABILITIES, p), atol=1e-6)


def test_top_p_of_one_keeps_all():
    many = 5.0 * jax.random.normal(jax.random.key(0), (20, 2000))
    np.testing.assert_array_equal(sampling.keep_top_p(many, 1.0), many)


@pytest.mark.parametrize(
    ("keep", "value"), [(sampling.keep_top_k, 0), (sampling.keep_top_p, 0.0), (sampling.keep_top_p, 1.1)]
)
def test_filters_that_cannot_be(keep, value):
    with pytest.raises(ValueError, match="must be"):
        keep(LOGITS, value)


def test_streaming_compiles_once_whatever_the_length(model):
    before = decoding.loop._run._cache_size()
    for length in (5, 9, 11):
        list(decoding.stream(model, [[1, 2, 3]], length=length, key=jax.random.key(0), piece=4))
    assert decoding.loop._run._cache_size() == before + 1


def test_filters_work_row_by_row():
    rows = jnp.stack([LOGITS, LOGITS[::-1]])
    for keep in (lambda x: sampling.keep_top_k(x, 3), lambda x: sampling.keep_top_p(x, 0.6)):
        np.testing.assert_array_equal(keep(rows), jnp.stack([keep(rows[0]), keep(rows[1])]))


@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (Sampling(), PROBABILITIES),
        (Sampling(temperature=0.5), PROBABILITIES**2 / (PROBABILITIES**2).sum()),
        (Sampling(temperature=2.0), PROBABILITIES**0.5 / (PROBABILITIES**0.5).sum()),
        (Sampling(top_k=3), reference.top_k(PROBABILITIES, 3)),
        (Sampling(top_p=0.7), reference.top_p(PROBABILITIES, 0.7)),
        (Sampling(top_k=4, top_p=0.6), reference.top_p(reference.top_k(PROBABILITIES, 4), 0.6)),
    ],
    ids=["plain", "cold", "hot", "top-k", "top-p", "both"],
)
def test_frequencies_are_the_probabilities(how, expected):
    draws = 20_000
    keys = jax.random.split(jax.random.key(0), draws)
    drawn = sampling.sample(keys, jnp.broadcast_to(LOGITS, (draws, len(LOGITS))), how)
    counts = np.bincount(drawn, minlength=len(expected))
    assert (counts[expected == 0] == 0).all()
    error = np.abs(counts / draws - expected)
    assert (error <= 4.5 * np.sqrt(expected * (1 - expected) / draws)).all()  # 4.5 standard deviations


def test_temperature_zero_is_greedy():
    assert sampling.sample(jax.random.split(jax.random.key(0), 1), LOGITS[None], GREEDY).tolist() == [1]


def test_greedy_is_what_rereading_gives(model):
    tokens, lengths = decoding.generate(model, [[3, 1, 4]], length=12, key=jax.random.key(0), sampling=GREEDY)
    assert tokens[0].tolist() == by_hand(model, [3, 1, 4], 12)
    assert lengths.tolist() == [12]


def test_what_follows_a_symbol_by_any_step_function(model):
    first = jnp.array([1, 5])
    step = decoding.loop.one_step(model)
    symbols, lengths = decoding.decode_from(step, model.initial_state(2), first, 6)
    expected = [by_hand(model, [int(symbol)], 6) for symbol in first]
    assert symbols.tolist() == expected
    assert lengths.tolist() == [6, 6]
    stop = expected[1][2:4]
    _, lengths = decoding.decode_from(step, model.initial_state(2), first, 6, stop=stop)
    assert lengths.tolist() == [next((n for n in range(6) if row[n : n + 2] == stop), 6) for row in expected]
    with pytest.raises(ValueError, match=r"key must be given to draw with Sampling\(temperature=1"):
        decoding.decode_from(step, model.initial_state(2), first, 6, Sampling(1.0))


def test_prompts_of_different_lengths_do_not_see_each_other(model):
    prompts = np.array([[3, 1, 4, 1], [2, 7, 0, 0], [9, 0, 0, 0]])
    tokens, _ = decoding.generate(
        model, prompts, lengths=np.array([4, 2, 1]), length=8, key=jax.random.key(0), sampling=GREEDY
    )
    alone = [by_hand(model, prompt, 8) for prompt in ([3, 1, 4, 1], [2, 7], [9])]
    assert tokens.tolist() == alone


def test_a_seed_fixes_each_row_whatever_the_batch(model):
    def write(rows, seed):
        return decoding.generate(model, [[1, 2]] * rows, length=20, key=jax.random.key(seed))[0].tolist()

    assert write(2, 0) == write(2, 0) == write(5, 0)[:2]
    assert write(2, 0) != write(2, 1)
    assert write(2, 0)[0] != write(2, 0)[1]


def test_sampled_text_follows_the_model(model):
    rows = 20_000
    tokens, _ = decoding.generate(model, [[5]] * rows, length=1, key=jax.random.key(0))
    expected = np.asarray(jax.nn.softmax(model(jnp.array([[5]]))[0][0, -1]))
    error = np.abs(np.bincount(tokens[:, 0], minlength=VOCAB) / rows - expected)
    assert (error <= 4.5 * np.sqrt(expected * (1 - expected) / rows) + 1e-9).all()


def test_a_stop_sequence_ends_its_row_only(model):
    free, _ = decoding.generate(model, [[1], [2], [3]], length=40, key=jax.random.key(3))
    stop = free[1, 10:12].tolist()
    tokens, lengths = decoding.generate(model, [[1], [2], [3]], length=40, key=jax.random.key(3), stop=stop)
    for row, length, whole in zip(tokens, lengths, free.tolist(), strict=True):
        places = [t for t in range(39) if whole[t : t + 2] == stop]
        assert length == (places[0] if places else 40)
        assert row[:length].tolist() == whole[:length]


def test_the_prompt_is_no_part_of_a_stop_sequence(model):
    free, _ = decoding.generate(model, [[1]], length=6, key=jax.random.key(0), sampling=GREEDY)
    stop = [1, int(free[0, 0])]
    _, lengths = decoding.generate(model, [[1]], length=1, key=jax.random.key(0), sampling=GREEDY, stop=stop)
    assert lengths.tolist() == [1]


@pytest.mark.parametrize("piece", [1, 7, 64])
def test_streaming_gives_the_same_symbols(model, piece):
    prompts, key = [[1], [2]], jax.random.key(3)
    free, _ = decoding.generate(model, prompts, length=40, key=key)
    stop = free[1, 20:23].tolist()
    tokens, lengths = decoding.generate(model, prompts, length=40, key=key, stop=stop)
    pieces = list(decoding.stream(model, prompts, length=40, key=key, stop=stop, piece=piece))
    for row in range(2):
        joined = np.concatenate([part[row] for part in pieces])
        assert joined.tolist() == tokens[row, : lengths[row]].tolist()


@pytest.mark.parametrize("symbols", ["characters", "bytes"])
def test_streamed_text_is_the_generated_text(symbols):
    vocabulary = CharVocabulary.of("abcdefghé") if symbols == "characters" else ByteVocabulary()
    model = lx.models.LanguageModel(len(vocabulary), lx.models.LanguageModelConfig(8, 8), rngs=nnx.Rngs(0))
    how = {"length": 50, "key": jax.random.key(1)}
    [whole] = decoding.generate_text(model, vocabulary, ["abé"], **how)
    pieces = list(decoding.stream_text(model, vocabulary, "abé", piece=8, **how))
    assert "".join(pieces) == whole
    assert len(pieces) > 1


def test_each_prompt_is_continued_as_if_alone(model):
    vocabulary = CharVocabulary("abcdefghij")
    both = decoding.generate_text(model, vocabulary, ["abc", "j"], length=9, key=jax.random.key(0), sampling=GREEDY)
    alone = [
        decoding.generate_text(model, vocabulary, [prompt], length=9, key=jax.random.key(0), sampling=GREEDY)[0]
        for prompt in ("abc", "j")
    ]
    assert both == alone


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"temperature": -0.1}, "temperature must be at least 0, got -0.1"),
        ({"temperature": float("nan")}, "temperature must be finite"),
        ({"top_k": 0}, "top_k must be at least 1, got 0"),
        ({"top_p": 0.0}, r"top_p must be in \(0, 1\], got 0.0"),
        ({"top_p": 1.5}, r"top_p must be in \(0, 1\], got 1.5"),
    ],
)
def test_samplings_that_cannot_be(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Sampling(**arguments)


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"length": -3}, ValueError, "length must be at least 1, got -3"),
        ({"prompts": [1, 2]}, ValueError, r"prompts must have shape \[B, P\], got \[2\]"),
        ({"prompts": [[0.5]]}, TypeError, "prompts must have dtype integer, got float64"),
        ({"prompts": [[1, 2], [3]]}, ValueError, "prompts must have rows of one length"),
        ({"prompts": []}, ValueError, r"prompts must have shape \[B, P\], got \[0\]"),
        (
            {"prompts": np.array([[2**32 + 1]])},
            ValueError,
            "prompts must lie in .*, got values from 4294967297",
        ),
        ({"lengths": np.array([2**32 + 1])}, ValueError, r"lengths must lie in \[1, 2\], got values from 4294967297"),
        ({"length": 2**31}, ValueError, "length must be at most 2147483647"),
        ({"key": 0}, TypeError, "key must be a key of jax.random, .*, got int"),
        ({"sampling": 0.5}, TypeError, "sampling must be a Sampling, got 0.5"),
        ({"model": 3}, TypeError, r"model must be a LanguageModel \(decode goes over any other\), got int"),
        ({"prompts": [[VOCAB]]}, ValueError, r"prompts must lie in \[0, 10\], got values from 11 to 11"),
        ({"lengths": [0]}, ValueError, r"lengths must lie in \[1, 2\], got values from 0 to 0"),
        ({"lengths": [3]}, ValueError, r"lengths must lie in \[1, 2\], got values from 3 to 3"),
        ({"stop": [1.7]}, TypeError, "stop must have dtype integer, got float64"),
        ({"stop": [[1, 2]]}, ValueError, r"stop must have shape \[S\], got \[1, 2\]"),
        ({"stop": [99]}, ValueError, r"stop must lie in \[0, 10\]"),
    ],
)
def test_requests_that_cannot_be_met(model, arguments, error, sentence):
    good = {"model": model, "prompts": [[1, 2]], "length": 3, "key": jax.random.key(0)}
    with pytest.raises(error, match=sentence):
        decoding.generate(**good | arguments)


def test_texts_that_cannot_be_met(model):
    vocabulary = CharVocabulary("abcdefghij")
    with pytest.raises(ValueError, match="each of at least one symbol, got \\['a', ''\\]"):
        decoding.generate_text(model, vocabulary, ["a", ""], length=3, key=jax.random.key(0))
    with pytest.raises(TypeError, match="prompts must be a list of texts, got the text 'abc'"):
        decoding.generate_text(model, vocabulary, "abc", length=3, key=jax.random.key(0))
    with pytest.raises(ValueError, match="vocabulary must have the model's 11 symbols, got 256"):
        decoding.generate_text(model, ByteVocabulary(), ["a"], length=3, key=jax.random.key(0))
    with pytest.raises(ValueError, match="stop has symbols the vocabulary lacks, so it could never come: '€'"):
        decoding.generate_text(model, vocabulary, ["a"], length=3, key=jax.random.key(0), stop="€")


def test_generating_in_float64(x64, model):
    how = {"length": 5, "key": jax.random.key(0), "sampling": Sampling(0.7, top_k=5, top_p=0.9)}
    tokens, lengths = decoding.generate(model, [[1, 2]], **how)
    pieces = [new[0] for new in decoding.stream(model, [[1, 2]], piece=2, **how)]
    assert np.concatenate(pieces).tolist() == tokens[0].tolist()
    assert (tokens.dtype, lengths.tolist()) == (np.int32, [5])


def test_tokens_are_looked_at_in_64_bits(model):
    with pytest.raises(ValueError, match=r"tokens must lie in \[0, 10\], got values from 4294967297"):
        model(np.array([[2**32 + 1]]))


def test_an_empty_batch(model):
    tokens, lengths = decoding.generate(model, np.zeros((0, 3), int), length=4, key=jax.random.key(0))
    assert (tokens.shape, lengths.shape) == ((0, 4), (0,))


def piano(symbols, state):
    """Scores of four notes from how often each has sounded."""
    state = state + symbols
    return state - 1.0, state


def piano_start(rows, seed=0):
    return decoding.start(jnp.zeros((rows, 4)), jnp.zeros((rows, 4)), jax.random.key(seed))


def draw_floats(key, logits):
    return BernoulliSampling()(key, logits).astype(logits.dtype)


def test_other_symbols_whole_in_pieces_and_in_any_batch():
    whole, end = decoding.decode(piano, piano_start(3), 6, draw_floats)
    first, now = decoding.decode(piano, piano_start(3), 4, draw_floats)
    rest, after = decoding.decode(piano, now, 4, draw_floats, limit=2)
    np.testing.assert_array_equal(whole, np.concatenate([first, rest[:, :2]], axis=1))
    np.testing.assert_array_equal(rest[:, 2:], 0.0)
    np.testing.assert_array_equal(end.state, after.state)
    np.testing.assert_array_equal(whole[:2], decoding.decode(piano, piano_start(2), 6, draw_floats)[0])
    assert whole.shape == (3, 6, 4)
    assert np.unique(whole).tolist() == [0.0, 1.0]
    assert end.lengths.tolist() == [6, 6, 6]


def test_symbols_of_several_parts():
    """Handwriting: where the pen moves and whether it is lifted."""

    def draw(key, scores):
        move, lift = jax.random.split(key)
        return {"move": MixtureSampling()(move, scores["move"]), "lift": BernoulliSampling()(lift, scores["lift"])}

    def step(symbols, state):
        spread = jnp.broadcast_to(0.5 * jnp.eye(2), (2, 1, 2, 2))
        return {"move": GaussianMixture(state[:, :1], symbols["move"][:, None], spread), "lift": state}, state

    rows = jnp.zeros((2, 1))
    begin, _ = step({"move": jnp.zeros((2, 2))}, rows)
    symbols, _ = decoding.decode(step, decoding.start(rows, begin, jax.random.key(0)), 3, draw)
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype.name), symbols) == {
        "move": ((2, 3, 2), rows.dtype.name),
        "lift": ((2, 3, 1), "bool"),
    }
    assert np.unique(symbols["move"]).size == 12


def count_up(offset, symbols, state):
    return jax.nn.one_hot((symbols + offset) % 5, 5), state


def counting(stop=()):
    return decoding.start((), jax.nn.one_hot(jnp.array([0, 3]), 5), jax.random.key(0), stop)


def test_stop_over_any_step_function():
    step = Partial(count_up, jnp.int32(1))
    symbols, end = decoding.decode(step, counting([2, 3]), 8, GREEDY, [2, 3])
    assert end.lengths.tolist() == [2, 4]
    assert [row[:n].tolist() for row, n in zip(symbols, end.lengths, strict=True)] == [[0, 1], [3, 4, 0, 1]]
    assert int(end.step) == 6
    assert end.recent.tolist()[1] == [2, 3]


def test_compiled_once_for_a_step_function_whatever_its_parameters():
    before = decoding.loop._run._cache_size()
    ends = [decoding.decode(Partial(count_up, jnp.int32(n)), counting(), 2, GREEDY)[0].tolist() for n in (1, 2, 1)]
    assert ends == [[[0, 1], [3, 4]], [[0, 2], [3, 0]], [[0, 1], [3, 4]]]
    assert decoding.loop._run._cache_size() == before + 1


def step_of_other_scores(symbols, state):
    return jnp.zeros((2, 4)), state


def step_of_other_state(symbols, state):
    return jnp.zeros((2, 5)), symbols


def step_of_scores_alone(symbols, state):
    return jnp.zeros((2, 5))


@pytest.mark.parametrize(
    ("arguments", "error", "sentence"),
    [
        ({"step": 3}, TypeError, "step must be a function, got 3"),
        ({"decoding": 3}, TypeError, "decoding must be what start or decode gave, got int"),
        ({"steps": 0}, ValueError, "steps must be at least 1, got 0"),
        ({"steps": 2**31}, ValueError, "steps must be at most 2147483647"),
        ({"draw": "greedy"}, TypeError, "draw must be a function, got 'greedy'"),
        ({"stop": [1]}, ValueError, "stop must have the 0 symbols that start had, got 1"),
        ({"stop": 1}, ValueError, r"stop must have shape \[S\], got \[\]"),
        ({"decoding": counting([1])}, ValueError, "stop must have the 1 symbols that start had, got 0"),
        ({"limit": 4}, ValueError, r"limit must lie in \[0, 3\], got values from 4"),
        ({"limit": 1.5}, TypeError, "limit must have dtype integer"),
        (
            {"step": step_of_other_scores},
            ValueError,
            r"that step returns must have shape \[2, 5\], got \[2, 4\]",
        ),
        ({"step": step_of_other_state}, TypeError, "the state that step returns must have the structure"),
        ({"step": step_of_scores_alone}, TypeError, "step must return scores and state, got"),
        (
            {"decoding": counting([1]), "stop": [1], "draw": BernoulliSampling()},
            TypeError,
            r"stop needs symbols that are one integer a row, got bool \[2, 5\]",
        ),
    ],
)
def test_decodings_that_cannot_be(arguments, error, sentence):
    good = {"step": Partial(count_up, jnp.int32(1)), "decoding": counting(), "steps": 3, "draw": GREEDY}
    with pytest.raises(error, match=sentence):
        decoding.decode(**good | arguments)


@pytest.mark.parametrize(
    ("scores", "key", "stop", "error", "sentence"),
    [
        ([0.5], jax.random.key(0), (), TypeError, "scores must be a tree of arrays, got float"),
        ((), jax.random.key(0), (), ValueError, "scores must be arrays"),
        ((np.zeros(2), np.zeros(3)), jax.random.key(0), (), ValueError, r"of one B, got shapes \[\[2\], \[3\]\]"),
        (np.zeros((2, 5)), 0, (), TypeError, "key must be a key of jax.random, .*, got int"),
        (np.zeros((2, 5)), jax.random.key(0), [0.5], TypeError, "stop must have dtype integer, got float64"),
        (np.zeros((2, 5)), jax.random.key(0), [-1], ValueError, "stop must lie in"),
    ],
)
def test_starts_that_cannot_be(scores, key, stop, error, sentence):
    with pytest.raises(error, match=sentence):
        decoding.start((), scores, key, stop)


def test_decoding_needs_no_training():
    """With the package's own `__init__` left out, which may import more."""
    program = (
        "import sys, types; package = types.ModuleType('lstmjax'); package.__path__ = sys.argv[1:]; "
        "sys.modules['lstmjax'] = package; import lstmjax.decoding; "
        "print([name for name in sys.modules if name.startswith(('orbax', 'lstmjax.training'))])"
    )
    found = subprocess.run([sys.executable, "-c", program, *lx.__path__], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
