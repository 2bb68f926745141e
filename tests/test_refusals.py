"""What can't be done is refused in one sentence that says what to write instead; nothing is quietly done wrong."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx
from lstmjax import interop

IN, HIDDEN = 3, 4
XS = jnp.ones((2, 5, IN))


def lstm(**options):
    return lx.LSTM(IN, HIDDEN, rngs=nnx.Rngs(0), **options)


def test_sequential_can_not_hand_one_layers_final_state_to_the_next():
    rngs = nnx.Rngs(0)
    stack = nnx.Sequential(lx.LSTM(IN, HIDDEN, rngs=rngs), lx.LSTM(HIDDEN, HIDDEN, rngs=rngs))
    with pytest.raises(TypeError, match=r"state must be given by keyword, .* use lstmjax\.Stacked"):
        stack(XS)


@pytest.mark.parametrize(
    "make",
    [
        lambda one: one,
        lambda one: lx.Residual(one),
        lambda one: lx.Stacked([one]),
        lambda one: lx.Bidirectional(one, lx.Recurrent(one.cell, rngs=nnx.Rngs(1))),
    ],
    ids=["recurrent", "residual", "stacked", "bidirectional"],
)
def test_every_layer_takes_state_by_keyword_only(make):
    layer = make(lx.Recurrent(lx.cells.GRU(IN, IN), rngs=nnx.Rngs(0)))
    with pytest.raises(TypeError, match="state must be given by keyword"):
        layer(XS, layer.initial_state(2))


@pytest.mark.parametrize(
    ("keyword", "sentence"),
    [
        ("return_sequences", r"LSTM takes no keyword return_sequences: .* ys, state = layer\(xs\)"),
        ("stateful", r"layer\(xs, state=state\)"),
        ("batch_first", r"inputs are \[B, T, I\]"),
        ("recurrent_dropout_rate", "it is called recurrent_dropout"),
        ("cell", r"lstmjax\.stack\("),
        ("activation", "activation_fn="),
        ("recurrent_activation", "gate_fn="),
        ("hidden_size", "it is called hidden_features"),
        ("reset_after", "it takes .*forget_bias.*num_layers"),
    ],
)
def test_an_unknown_option_of_a_layer(keyword, sentence):
    with pytest.raises(TypeError, match=sentence):
        lstm(**{keyword: True})


@pytest.mark.parametrize(
    ("keyword", "sentence"),
    [
        ("initial_state", "takes no keyword initial_state: write state="),
        ("training", "give key= in training"),
        ("deterministic", "give key= in training"),
        ("rngs", r"write key=rngs\.dropout\(\)"),
        ("speed", "it takes backend, key, lengths"),
    ],
)
def test_an_unknown_keyword_of_a_call(keyword, sentence):
    with pytest.raises(TypeError, match=sentence):
        lstm()(XS, **{keyword: None})


def test_a_family_takes_its_cells_own_options():
    options = {"forget_bias": 2.0, "bias_init": jax.nn.initializers.ones, "gate_fn": jax.nn.hard_sigmoid}
    cell = lstm(**options, num_layers=2).layers[1].cell
    assert cell == lx.cells.LSTM(HIDDEN, HIDDEN, **options)
    gru = lx.GRU(IN, HIDDEN, kernel_init=jax.nn.initializers.zeros, activation_fn=jax.nn.relu, rngs=nnx.Rngs(0))
    assert gru.layers[0].cell.activation_fn is jax.nn.relu
    assert not np.any(gru.layers[0].params.w_x)
    conv = lx.ConvLSTM(IN, HIDDEN, spatial_shape=(3,), kernel_size=(2,), forget_bias=0.5, rngs=nnx.Rngs(0))
    assert conv.cells[0].forget_bias == 0.5


NO_BIAS = lx.cells.LSTM(IN, HIDDEN, use_bias=False)


@pytest.mark.parametrize(
    ("call", "error", "sentence"),
    [
        (lambda: lstm(bidirectional="no"), TypeError, "bidirectional must be True or False, got 'no'"),
        (lambda: lstm(num_layers=2, residual="no"), TypeError, "residual must be True or False, got 'no'"),
        (lambda: lx.cells.GRU(IN, HIDDEN, reset_after="False"), TypeError, "reset_after must be True or False"),
        (lambda: lstm(forget_bias=float("nan")), ValueError, "forget_bias must be finite, got nan"),
        (lambda: lstm()(XS, key=nnx.Rngs(0)), TypeError, r"key must be .* rngs\.dropout\(\), got Rngs"),
        (lambda: lstm()(XS.astype(jnp.bfloat16)), TypeError, "xs must have dtype float32, got bfloat16; dtype="),
        (lambda: lstm().initial_state((2,)), TypeError, r"batch_size must be a whole number, got \(2,\)"),
        (lambda: lx.LSTM(IN, HIDDEN, rngs=0), TypeError, r"rngs must be an nnx\.Rngs, .* got int"),
        (lambda: lx.LSTM(nnx.Rngs(0), HIDDEN, rngs=nnx.Rngs(0)), TypeError, "in_features must be .*, got Rngs"),
        (lambda: lx.Recurrent(nnx.Rngs(0), rngs=NO_BIAS), TypeError, r"cell must be a cell, .* got Rngs"),
        (lambda: lx.Recurrent(NO_BIAS, rngs=3), TypeError, r"^rngs must be an nnx\.Rngs, .* got int"),
        (
            lambda: lx.unroll(lx.cells.LSTM(IN, HIDDEN), NO_BIAS.init(jax.random.key(0)), XS),
            TypeError,
            r"LSTMParams\(w_x, w_h, b\), got LSTMParams\(w_x, w_h, b=None\)",
        ),
    ],
)
def test_a_sentence_that_names_the_argument(call, error, sentence):
    with pytest.raises(error, match=sentence) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_sizes_are_python_ints():
    cell = lx.cells.LSTM(np.int64(IN), np.int32(HIDDEN))
    assert cell == lx.cells.LSTM(IN, HIDDEN)
    assert type(cell.in_features) is type(cell.hidden_features) is int


def test_remat_may_be_an_integer_of_numpy():
    cell = lx.cells.LSTM(IN, HIDDEN)
    assert lx.unroll(cell, cell.init(jax.random.key(0)), XS, remat=np.int64(3))[0].shape == (2, 5, HIDDEN)


def test_a_whole_state_dict_names_its_prefixes():
    weights = interop.to_torch_arrays(lstm())
    entries = {f"encoder.rnn.{name}": array for name, array in weights.items()} | {"head.weight": np.ones((2, 4))}
    with pytest.raises(ValueError, match=r"prefix='encoder\.rnn\.' takes those of one module"):
        interop.from_torch(entries)
    assert interop.from_torch(entries, prefix="encoder.rnn.").out_shape == (HIDDEN,)


class OwnCall(nnx.LSTMCell):
    def __call__(self, carry, inputs):
        return super().__call__(carry, 2 * inputs)


class OwnName(nnx.LSTMCell):
    """The same cell by another name."""


def test_a_flax_cell_with_a_call_of_its_own():
    with pytest.raises(TypeError, match=r"source must compute what flax's LSTMCell does, got OwnCall with a __call__"):
        interop.from_flax(OwnCall(IN, HIDDEN, rngs=nnx.Rngs(0)))
    assert interop.from_flax(OwnName(IN, HIDDEN, rngs=nnx.Rngs(0))).in_shape == (IN,)


def test_a_torch_module_with_a_forward_of_its_own():
    torch = pytest.importorskip("torch")

    class Doubled(torch.nn.LSTM):
        def forward(self, xs, hx=None):
            return super().forward(2 * xs, hx)

    with pytest.raises(TypeError, match=r"torch's LSTM does, got Doubled with a forward"):
        interop.from_torch(Doubled(IN, HIDDEN))
    patched = torch.nn.LSTM(IN, HIDDEN)
    patched.forward = lambda xs: xs
    with pytest.raises(TypeError, match="got LSTM with a forward of its own"):
        interop.from_torch(patched)


def test_an_equinox_cell_with_a_call_of_its_own():
    equinox = pytest.importorskip("equinox")

    class Doubled(equinox.nn.GRUCell):
        def __call__(self, *args, **options):
            return super().__call__(*args, **options)

    with pytest.raises(TypeError, match=r"equinox's GRUCell does, got Doubled with a __call__"):
        interop.from_equinox(Doubled(IN, HIDDEN, key=jax.random.key(0)))


def test_a_keras_layer_with_a_call_of_its_own(monkeypatch):
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    keras = pytest.importorskip("keras")

    class Doubled(keras.layers.LSTM):
        def call(self, sequences, **options):
            return super().call(2 * sequences, **options)

    layer = Doubled(HIDDEN)
    with jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard"):
        layer.build((2, 5, IN))
    with pytest.raises(TypeError, match=r"keras's LSTM does, got Doubled with a call"):
        interop.from_keras(layer)


@pytest.mark.parametrize("to_other", [interop.to_torch_arrays, interop.to_equinox, interop.to_haiku])
def test_a_compute_dtype_that_the_other_library_has_no_place_for(to_other):
    if to_other is interop.to_equinox:
        pytest.importorskip("equinox")
    with pytest.raises(ValueError, match=r"layer must compute in the dtype of its parameters .* bfloat16 over float32"):
        to_other(lstm(dtype=jnp.bfloat16))
