"""Weights go out and come back with the same bits; what does not fit is refused in one sentence that names it."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx
from experiments.peers.common import foreign
from lstmjax import interop
from lstmjax.errors import InputError
from lstmjax.interop.layouts import LAYOUTS, read, write

IN, HIDDEN = 3, 4


def cell_of(kind, dtype=jnp.float32, **fields):
    make = {"lstm": lx.cells.LSTM, "gru": lx.cells.GRU, "elman": lx.cells.ElmanRNN, "projected": lx.cells.ProjectedLSTM}
    zeros = {"kernel_init": lx.initializers.zeros, "recurrent_init": lx.initializers.zeros}
    return lambda i, h: make[kind](i, h, param_dtype=dtype, **zeros, **fields)


def random_stack(make_cell, **stacking):
    """A stack with random weights, every bias among them."""
    return randomized(lx.stack(make_cell, IN, HIDDEN, rngs=nnx.Rngs(0), **stacking))


def randomized(layer, seed=0):
    rng = np.random.default_rng(seed)
    table = interop.state_dict(layer)
    drawn = {name: rng.normal(size=array.shape).astype(array.dtype) for name, array in table.items()}
    interop.load_state_dict(layer, drawn)
    return layer


def assert_same_bits(ours, theirs):
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for mine, other in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        mine, other = np.asarray(mine), np.asarray(other)
        assert (mine.dtype, mine.shape) == (other.dtype, other.shape)
        assert mine.tobytes() == other.tobytes()


def through_safetensors(arrays, folder):
    numpy = pytest.importorskip("safetensors.numpy")
    numpy.save_file(arrays, folder / "weights.safetensors")
    return interop.read_safetensors(folder / "weights.safetensors")


def each(write, read):
    """A round trip for libraries whose cells go one by one."""
    return lambda layer: read([write(one) for one in layer.layers])


def flax(style):
    return each(lambda one: interop.to_flax(one, style), interop.from_flax)


def torch_trip(layer):
    return interop.from_torch(interop.to_torch_arrays(layer))


def keras_trip(layer):
    return interop.from_keras(interop.to_keras(layer), bidirectional=isinstance(layer.layers[0], lx.Bidirectional))


haiku_trip = each(interop.to_haiku, interop.from_haiku)

TRIPS = {
    "torch LSTM": (cell_of("lstm"), {"bidirectional": True}, torch_trip),
    "torch LSTM without biases": (cell_of("lstm", use_bias=False), {}, torch_trip),
    "torch LSTM with proj_size": (cell_of("projected", proj_features=2), {"bidirectional": True}, torch_trip),
    "torch GRU": (cell_of("gru"), {"bidirectional": True}, torch_trip),
    "torch GRU without biases": (cell_of("gru", use_bias=False), {}, torch_trip),
    "torch RNN": (cell_of("elman"), {}, torch_trip),
    "keras LSTM": (cell_of("lstm"), {"bidirectional": True}, keras_trip),
    "keras LSTM without biases": (cell_of("lstm", use_bias=False), {}, keras_trip),
    "keras GRU": (cell_of("gru"), {"bidirectional": True}, keras_trip),
    "keras GRU, original": (cell_of("gru", reset_after=False), {}, keras_trip),
    "keras SimpleRNN": (cell_of("elman"), {}, keras_trip),
    "nnx LSTMCell": (cell_of("lstm"), {}, flax("nnx.LSTMCell")),
    "nnx OptimizedLSTMCell": (cell_of("lstm"), {}, flax("nnx.OptimizedLSTMCell")),
    "nnx SimpleCell": (cell_of("elman"), {}, flax("nnx.SimpleCell")),
    "linen LSTMCell": (cell_of("lstm"), {}, flax("linen.LSTMCell")),
    "linen OptimizedLSTMCell": (cell_of("lstm"), {}, flax("linen.OptimizedLSTMCell")),
    "linen GRUCell": (cell_of("gru"), {}, flax("linen.GRUCell")),
    "linen SimpleCell": (cell_of("elman"), {}, flax("linen.SimpleCell")),
    "haiku GRU": (cell_of("gru", reset_after=False), {}, haiku_trip),
    "haiku VanillaRNN": (cell_of("elman", activation_fn=jax.nn.relu), {}, haiku_trip),
}


@pytest.mark.parametrize(("make_cell", "stacking", "trip"), TRIPS.values(), ids=TRIPS.keys())
def test_ours_to_theirs_and_back_are_the_same_bits(make_cell, stacking, trip):
    layer = random_stack(make_cell, num_layers=2, **stacking)
    back = trip(layer)
    assert_same_bits(interop.state_dict(layer), interop.state_dict(back))
    ours, theirs = layer.layers[0], back.layers[0]
    if isinstance(ours, lx.Bidirectional):
        ours, theirs = ours.backward, theirs.backward
    for field in ("in_features", "hidden_features", "use_bias", "activation_fn", "param_dtype", "compute_dtype"):
        assert getattr(ours.cell, field) == getattr(theirs.cell, field)


@pytest.mark.parametrize("dtype", [jnp.float64, jnp.float16, jnp.bfloat16], ids=["float64", "float16", "bfloat16"])
def test_every_float_survives(dtype, x64):
    layer = random_stack(cell_of("gru", dtype), bidirectional=True)
    for trip in (torch_trip, keras_trip):
        assert_same_bits(interop.state_dict(layer), interop.state_dict(trip(layer)))


def test_fresh_haiku_lstms_are_exact_and_others_to_the_last_bit():
    layer = lx.LSTM(IN, HIDDEN, rngs=nnx.Rngs(0))
    assert_same_bits(interop.state_dict(layer), interop.state_dict(haiku_trip(layer)))
    layer = random_stack(cell_of("lstm"))
    there, back = interop.state_dict(layer), interop.state_dict(haiku_trip(layer))
    b = "layers.0.weights.b"
    np.testing.assert_allclose(back.pop(b), there.pop(b), rtol=0, atol=2.0**-23)
    assert_same_bits(there, back)


def test_an_nnx_gru_has_no_second_bias():
    layer = lx.GRU(IN, HIDDEN, rngs=nnx.Rngs(0))
    assert_same_bits(interop.state_dict(layer), interop.state_dict(flax("nnx.GRUCell")(layer)))
    with pytest.raises(ValueError, match="layer's b_h must be zero"):
        interop.to_flax(randomized(layer), "nnx.GRUCell")


def test_biases_that_a_library_insists_on_are_zeros():
    layer = random_stack(cell_of("lstm", use_bias=False))
    back = flax("linen.LSTMCell")(layer)
    assert not np.any(back.layers[0].params.b)
    assert_same_bits(layer.layers[0].params[:2], back.layers[0].params[:2])


FLAX_CELLS = ("LSTMCell", "OptimizedLSTMCell", "GRUCell", "SimpleCell")


@pytest.mark.parametrize("kind", FLAX_CELLS)
def test_nnx_cells_to_ours_and_back(kind):
    cell = getattr(nnx, kind)(IN, HIDDEN, rngs=nnx.Rngs(0))
    parameters = nnx.to_pure_dict(nnx.state(cell, nnx.Param))
    rng = np.random.default_rng(0)
    parameters = jax.tree.map(lambda array: rng.normal(size=array.shape).astype("float32"), parameters)
    nnx.update(cell, parameters)
    assert_same_bits(parameters, interop.to_flax(interop.from_flax(cell), f"nnx.{kind}"))
    assert_same_bits(parameters, interop.to_flax(interop.from_flax(parameters), f"nnx.{kind}"))


@pytest.mark.parametrize("kind", FLAX_CELLS)
def test_linen_parameters_to_ours_and_back(kind):
    import flax.linen as nn

    rnn = nn.RNN(getattr(nn, kind)(HIDDEN))
    shapes = jax.eval_shape(rnn.init, jax.random.key(0), jnp.ones((1, 2, IN)))["params"]["cell"]
    rng = np.random.default_rng(0)
    parameters = jax.tree.map(lambda array: rng.normal(size=array.shape).astype("float32"), shapes)
    assert_same_bits(parameters, interop.to_flax(interop.from_flax(parameters), f"linen.{kind}"))


@pytest.mark.parametrize("kind", ["LSTMCell", "GRUCell"])
@pytest.mark.parametrize("use_bias", [True, False], ids=["biases", "no biases"])
def test_equinox_cells_to_ours_and_back(kind, use_bias, lenient_promotion):
    eqx = pytest.importorskip("equinox")
    cell = getattr(eqx.nn, kind)(IN, HIDDEN, use_bias, key=jax.random.key(0))
    layer = interop.from_equinox(cell)
    back = interop.to_equinox(layer)
    assert type(back) is type(cell)
    assert_same_bits(cell, back)
    assert_same_bits(interop.state_dict(layer), interop.state_dict(interop.from_equinox(back)))


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("LSTM", {"num_layers": 2, "bidirectional": True, "dropout": 0.25}),
        ("LSTM", {"proj_size": 2, "bias": False}),
        ("GRU", {"num_layers": 2}),
        ("RNN", {"nonlinearity": "relu"}),
    ],
)
@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_torch_modules_to_ours_and_back(kind, options, dtype):
    torch = pytest.importorskip("torch")
    module = getattr(torch.nn, kind)(IN, HIDDEN, dtype=getattr(torch, dtype), **options)
    layer = interop.from_torch(module)
    assert layer.dropout.drop.rate == options.get("dropout", 0.0)
    once = interop.to_torch(layer)
    module.load_state_dict(once)  # raises if a name or shape is not its own
    again = interop.to_torch(interop.from_torch(module))
    assert once.keys() == again.keys()
    assert all(torch.equal(once[name], again[name]) and once[name].dtype == again[name].dtype for name in once)


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "VanillaRNN"])
def test_fresh_haiku_parameters_to_ours_and_back(kind):
    hk = pytest.importorskip("haiku")
    model = hk.transform(lambda x: (core := getattr(hk, kind)(HIDDEN))(x, core.initial_state(2)))
    with foreign():
        parameters = dict(model.init(jax.random.key(0), jnp.ones((2, IN))))
    assert_same_bits(parameters, interop.to_haiku(interop.from_haiku(parameters)))


def test_torch_s_two_biases_are_added_up():
    rng = np.random.default_rng(0)
    arrays = {
        name: rng.normal(size=array.shape).astype("float32")
        for name, array in interop.to_torch_arrays(random_stack(cell_of("gru"))).items()
    }
    b, b_h = interop.from_torch(arrays).layers[0].params[2:]
    ih, hh = arrays["bias_ih_l0"], arrays["bias_hh_l0"]
    assert_same_bits(b, np.concatenate([(ih + hh)[: 2 * HIDDEN], ih[2 * HIDDEN :]]))
    assert_same_bits(b_h, hh[2 * HIDDEN :])


def test_a_module_inside_a_model_is_found_by_its_prefix(tmp_path):
    layer = random_stack(cell_of("lstm", jnp.bfloat16), num_layers=2)
    arrays = {f"encoder.{name}": array for name, array in interop.to_torch_arrays(layer).items()}
    arrays = through_safetensors(arrays | {"head.weight": np.ones((2, 2), "float32")}, tmp_path)
    assert_same_bits(interop.state_dict(layer), interop.state_dict(interop.from_torch(arrays, prefix="encoder.")))


def test_weights_are_copies():
    arrays = interop.to_torch_arrays(random_stack(cell_of("elman")))
    layer = interop.from_torch(arrays)
    before = interop.state_dict(layer)
    for array in arrays.values():
        array[...] = 0
    assert_same_bits(before, interop.state_dict(layer))


def built(layer, features=IN):
    with foreign():
        layer.build((2, 5, features))
    return layer


def kernels(layer):
    return [np.asarray(variable.value) for variable in layer.trainable_variables]


@pytest.mark.parametrize("merge", ["concat", "sum", "mul", "ave", None])
def test_keras_layers_to_ours_and_back(keras, merge):
    options = {"activation": "relu", "recurrent_activation": "hard_sigmoid", "return_sequences": True}
    below = built(keras.layers.GRU(HIDDEN, **options))
    above = built(keras.layers.Bidirectional(keras.layers.LSTM(2), merge_mode=merge), HIDDEN)
    ours = interop.from_keras([below, above])
    assert ours.layers[1].merge == (merge or "none")
    cell = ours.layers[0].cell
    assert (cell.gate_fn, cell.activation_fn) == (jax.nn.hard_sigmoid, jax.nn.relu)
    assert_same_bits(kernels(below) + kernels(above), interop.to_keras(ours))
    randomized(ours.layers[1])
    with foreign():
        above.set_weights(interop.to_keras(ours.layers[1]))
    assert_same_bits(interop.state_dict(ours), interop.state_dict(interop.from_keras([below, above])))


def test_keras_functions_compute_the_same(keras):
    xs = np.linspace(-4, 4, 33, dtype="float32")
    for name, function in interop.layouts.KERAS_FUNCTIONS.items():
        with foreign():
            theirs = keras.activations.get(name)(xs)
        np.testing.assert_allclose(function(jnp.array(xs)), theirs, rtol=0, atol=1e-6, err_msg=name)


def test_a_mixed_precision_keras_layer_keeps_both_dtypes(keras):
    layer = built(keras.layers.LSTM(HIDDEN, dtype="mixed_bfloat16"))
    cell = interop.from_keras(layer).layers[0].cell
    assert (cell.param_dtype, cell.compute_dtype) == (jnp.float32, jnp.bfloat16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"go_backwards": True}, "a layer without go_backwards, got rnn with go_backwards=True"),
        ({"activation": "gelu"}, "activation must be one of 'tanh', .*, got 'gelu'"),
        ({"activation": lambda x: x}, "activation must be one of 'tanh', .*, got '<function"),
        ({"dropout": 0.5}, r"source must have dropout off .*, got 0.5"),
        ({"recurrent_dropout": 0.5}, r"source must have recurrent_dropout off .*, got 0.5"),
        ({"stateful": True}, r"source must have stateful off .*, got True"),
    ],
)
def test_keras_layers_that_ours_can_t_be(keras, options, message):
    layer = built(keras.layers.LSTM(HIDDEN, name="rnn", **options))
    with pytest.raises(ValueError, match=message):
        interop.from_keras(layer)


def test_arguments_that_a_keras_layer_contradicts_or_has_no_use_for(keras):
    lstm = built(keras.layers.LSTM(HIDDEN))
    with pytest.raises(ValueError, match="activation must be left out or be the source's own 'tanh', got 'relu'"):
        interop.from_keras(lstm, activation="relu")
    with pytest.raises(ValueError, match="reset_after is a GRU's"):
        interop.from_keras(lstm, reset_after=False)
    with pytest.raises(ValueError, match="recurrent_activation is for gates"):
        interop.from_keras(built(keras.layers.SimpleRNN(HIDDEN)), recurrent_activation="sigmoid")
    with pytest.raises(ValueError, match="merge is for weights, and layers know their own"):
        interop.from_keras(lstm, merge="sum")


def test_keras_layers_without_weights_or_of_another_kind(keras):
    with pytest.raises(ValueError, match="source must be built, so that it has weights, got rnn"):
        interop.from_keras(keras.layers.LSTM(HIDDEN, name="rnn"))
    with pytest.raises(TypeError, match=r"source must be a keras LSTM, .* or Bidirectional, got Dense"):
        interop.from_keras(keras.layers.Dense(HIDDEN))


ARRAYS = {
    "torch": (interop.from_torch, lambda: interop.to_torch_arrays(random_stack(cell_of("gru")))),
    "keras": (
        interop.from_keras,
        lambda: dict(
            zip(("kernel", "recurrent_kernel", "bias"), interop.to_keras(random_stack(cell_of("gru"))), strict=True)
        ),
    ),
    "flax": (interop.from_flax, lambda: interop.to_flax(random_stack(cell_of("lstm")), "nnx.OptimizedLSTMCell")),
    "haiku": (interop.from_haiku, lambda: interop.to_haiku(random_stack(cell_of("lstm")), "core")),
}


def set_at(tree, path, value):
    """Put a value, or with None nothing, at a path of keys."""
    *branches, last = path
    for key in branches:
        tree = tree[key]
    tree.pop(last) if value is None else tree.update({last: value})


F32 = {"dtype": "float32"}
DAMAGES = [
    ("torch", ["weight_hh_l0"], None, ValueError, "source must hold weight_hh_l0, got weight_ih_l0, bias_ih_l0"),
    ("torch", ["bias_hh_l0"], None, ValueError, "source must hold bias_hh_l0, got weight_ih_l0"),
    ("torch", ["extra"], np.ones(3), ValueError, "source must hold nothing but weight_ih_l0 and its like, got extra"),
    ("torch", ["weight_hh_l1"], np.ones((12, 4)), ValueError, "source must hold weight_ih_l1, got weight_hh_l1"),
    ("torch", ["bias_ih_l0"], np.ones(1, **F32), ValueError, r"bias_ih_l0 must have shape \[12\], got \[1\]"),
    ("torch", ["weight_ih_l0"], np.ones(12, **F32), ValueError, r"weight_ih_l0 must have two axes, got shape \[12\]"),
    ("torch", ["bias_ih_l0"], np.ones(12, "float16"), TypeError, "bias_ih_l0 must have dtype float32, got float16"),
    ("torch", ["bias_ih_l0"], np.ones(12, "int32"), TypeError, "bias_ih_l0 must have dtype floating, got int32"),
    ("torch", ["bias_ih_l0"], [0.0] * 12, TypeError, "bias_ih_l0 must be an array, got list"),
    ("keras", ["recurrent_kernel"], None, ValueError, "source must hold recurrent_kernel, got kernel, bias"),
    ("keras", ["gamma"], np.ones(3), ValueError, "source must hold nothing but kernel, .*, got gamma too"),
    ("keras", ["kernel"], np.ones((3, 11), **F32), ValueError, r"kernel must have shape \[3, 12\], got \[3, 11\]"),
    ("flax", ["dense_h", "bias"], None, ValueError, "source must hold dense_h.bias, got dense_"),
    ("flax", ["dense_i", "bias"], np.ones(16), ValueError, "source must hold nothing but .*, got dense_i.bias too"),
    ("flax", ["dense_h", "bias"], np.ones((1, 16), **F32), ValueError, r"dense_h.bias must have shape \[16\], got"),
    ("haiku", ["core/linear", "b"], None, ValueError, "source must hold core/linear.b, got core/linear.w"),
    ("haiku", ["core/linear", "b"], np.ones(15, **F32), ValueError, r"core/linear.b must have shape \[16\], got"),
    ("haiku", ["other"], {"w": np.ones(3)}, ValueError, "source must hold one core's parameters, got core, other"),
]


@pytest.mark.parametrize(("library", "path", "value", "error", "message"), DAMAGES)
def test_entries_that_are_missing_extra_or_misshapen(library, path, value, error, message):
    read, make = ARRAYS[library]
    arrays = make()
    set_at(arrays, path, value)
    with pytest.raises(error, match=message):
        read(arrays)


def test_float64_is_never_cut_short():
    arrays = {name: array.astype("float64") for name, array in ARRAYS["torch"][1]().items()}
    with pytest.raises(TypeError, match="unless jax_enable_x64 is set, got float64"):
        interop.from_torch(arrays)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: interop.from_torch(3), TypeError, "source must be a torch LSTM, GRU or RNN or a dict .*, got int"),
        (lambda: interop.from_torch({}), ValueError, "source must hold weight_ih_l0 and its like, got none"),
        (lambda: interop.from_torch(ARRAYS["torch"][1](), nonlinearity="relu"), ValueError, "nonlinearity is an RNN's"),
        (lambda: interop.from_keras(3), TypeError, "source must be keras layers, a list of arrays or .*, got int"),
        (lambda: interop.from_keras([np.ones((3, 4))]), ValueError, "source must hold kernel and .*, got 1 arrays"),
        (lambda: interop.from_keras(ARRAYS["keras"][1](), merge="sum"), ValueError, "merge needs bidirectional=True"),
        (
            lambda: interop.from_keras(ARRAYS["keras"][1](), reset_after=False),
            ValueError,
            r"shape \[12\], got \[2, 12\]",
        ),
        (
            lambda: interop.from_keras(interop.to_keras(random_stack(cell_of("lstm"))), reset_after=True),
            ValueError,
            "reset_after is a GRU's",
        ),
        (lambda: interop.from_flax(nnx.Linear(3, 4, rngs=nnx.Rngs(0))), TypeError, "source must be an nnx LSTMCell"),
        (
            lambda: interop.from_flax(nnx.SimpleCell(3, 4, residual=True, rngs=nnx.Rngs(0))),
            ValueError,
            "source must be a cell without residual",
        ),
        (
            lambda: interop.from_flax(nnx.LSTMCell(3, 4, rngs=nnx.Rngs(0)), gate_fn=jax.nn.relu),
            ValueError,
            "gate_fn must be left out or be the source's own",
        ),
        (
            lambda: interop.from_equinox(3),
            TypeError,
            "source must be an equinox LSTMCell or GRUCell or a dict, got int",
        ),
        (lambda: interop.from_haiku({"lstm": 3}), TypeError, "source must be one haiku core's parameters"),
    ],
)
def test_sources_that_are_none(call, error, message):
    with pytest.raises(error, match=message):
        call()


def stack_of(kind, **options):
    fields = {name: options.pop(name) for name in ("gate_fn", "reset_after") if name in options}
    return random_stack(cell_of(kind, **fields), **options)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (
            lambda: interop.to_torch_arrays(stack_of("gru", reset_after=False)),
            TypeError,
            r"got GRU\(reset_after=False\)",
        ),
        (lambda: interop.to_haiku(stack_of("gru")), TypeError, r"haiku's LSTM, GRU, .* got GRU\(reset_after=True\)"),
        (
            lambda: interop.to_torch_arrays(stack_of("lstm", gate_fn=jax.nn.hard_sigmoid)),
            ValueError,
            "layer's gate_fn must be sigmoid to go to torch, got hard_sigmoid",
        ),
        (
            lambda: interop.to_torch_arrays(stack_of("lstm", bidirectional=True, merge="sum")),
            ValueError,
            "layer's merge must be 'concat' to go to torch, got 'sum'",
        ),
        (
            lambda: interop.to_torch_arrays(lx.LSTM(3, [4, 5], rngs=nnx.Rngs(0))),
            ValueError,
            "layer must have cells of one kind, width and dtype",
        ),
        (
            lambda: interop.to_torch_arrays(stack_of("lstm", initial_state="learned")),
            ValueError,
            "layer must start from zeros",
        ),
        (
            lambda: interop.to_torch_arrays(stack_of("lstm", num_layers=2, residual=True)),
            (TypeError, ValueError),
            "layer must be made of Recurrent and Bidirectional layers, got Residual",
        ),
        (
            lambda: interop.to_keras(stack_of("lstm", gate_fn=jax.nn.gelu)),
            ValueError,
            "layer's gate_fn must be tanh or .* to go to keras, got gelu",
        ),
        (lambda: interop.to_flax(stack_of("lstm", num_layers=2), "nnx.LSTMCell"), TypeError, "one cell, .* got 2"),
        (lambda: interop.to_flax(stack_of("lstm"), "nnx.GRUCell"), TypeError, "nnx's GRUCell can hold, got LSTM"),
        (lambda: interop.to_flax(stack_of("lstm"), "flax.LSTMCell"), ValueError, "style must be one of"),
        (
            lambda: interop.to_keras(lx.Recurrent(lx.cells.PeepholeLSTM(3, 4), rngs=nnx.Rngs(0))),
            TypeError,
            "layer must have a cell that keras's .* can hold, got PeepholeLSTM",
        ),
    ],
)
def test_layers_that_others_can_t_be(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_a_state_dict_fills_any_module_or_leaves_it_as_it_is(tmp_path):
    layer = lx.LSTM(IN, HIDDEN, num_layers=2, bidirectional=True, initial_state="learned", rngs=nnx.Rngs(0))
    table = interop.state_dict(randomized(layer))
    assert "layers.1.backward.weights.w_x" in table
    for name, value, error, message in [
        (
            "layers.0.forward.weights.b",
            None,
            ValueError,
            r"arrays must hold layers.0.forward.weights.b \[16\], got none",
        ),
        ("b", np.ones(3), ValueError, "arrays must hold nothing but the layer's 20 entries, got b too"),
        ("layers.0.forward.weights.b", np.ones(4, **F32), ValueError, r"weights.b must have shape \[16\], got \[4\]"),
        ("layers.0.forward.weights.b", np.ones(16, "float16"), TypeError, "must have dtype float32, got float16"),
        ("layers.0.forward.weights.b", 3.0, TypeError, "layers.0.forward.weights.b must be an array, got float"),
    ]:
        damaged = dict(table)
        set_at(damaged, [name], value)
        with pytest.raises(error, match=message):
            interop.load_state_dict(layer, damaged)
    assert_same_bits(table, interop.state_dict(layer))


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16], ids=["float32", "bfloat16"])
def test_safetensors_keep_every_bit(dtype, tmp_path):
    pytest.importorskip("safetensors")
    path = tmp_path / "layer.safetensors"
    layer = random_stack(cell_of("gru", dtype), num_layers=2)
    interop.save_safetensors(layer, path)
    other = random_stack(cell_of("gru", dtype, bias_init=jax.nn.initializers.ones), num_layers=2)
    interop.load_safetensors(other, path)
    assert_same_bits(interop.state_dict(layer), interop.state_dict(other))
    assert [file.name for file in tmp_path.iterdir()] == ["layer.safetensors"]


def test_files_that_are_missing_damaged_or_not_to_be_written(tmp_path):
    pytest.importorskip("safetensors")
    layer = random_stack(cell_of("elman"))
    path = tmp_path / "layer.safetensors"
    with pytest.raises(InputError, match=r"layer.safetensors can't be read: No such file"):
        interop.load_safetensors(layer, path)
    interop.save_safetensors(layer, path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match=r"layer.safetensors is no sound safetensors file: "):
        interop.load_safetensors(layer, path)
    with pytest.raises(InputError, match="can't be written: No such file"):
        interop.save_safetensors(layer, tmp_path / "absent" / "layer.safetensors")


def test_nothing_is_imported_before_it_is_needed():
    others = "{'torch', 'keras', 'equinox', 'haiku', 'safetensors', 'tensorflow'}"
    check = f"import sys, lstmjax.interop; assert not {others} & sys.modules.keys(), {others} & sys.modules.keys()"
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize(
    ("library", "call", "message"),
    [
        ("torch", interop.to_torch, "to_torch needs torch, which is not installed; to_torch_arrays does without"),
        ("equinox", interop.to_equinox, "to_equinox needs equinox, which is not installed"),
        ("safetensors.numpy", lambda layer: interop.save_safetensors(layer, "x"), "save_safetensors needs safetensors"),
    ],
)
def test_a_library_that_is_absent_is_named(monkeypatch, library, call, message):
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(ImportError, match=message):
        call(random_stack(cell_of("lstm")))


def test_a_layer_that_has_lost_its_biases_is_noticed():
    arrays = interop.to_torch_arrays(stack_of("lstm", num_layers=2))
    del arrays["bias_ih_l1"], arrays["bias_hh_l1"]
    with pytest.raises(ValueError, match="source must hold bias_ih_l1, as other layers have it, got none"):
        interop.from_torch(arrays)


def test_layers_of_two_dtypes_are_no_torch_module():
    rngs = nnx.Rngs(0)
    cells = [lx.cells.LSTM(3, 3, param_dtype=dtype) for dtype in (jnp.float32, jnp.float16)]
    with pytest.raises(ValueError, match="layer must have cells of one kind, width and dtype"):
        interop.to_torch_arrays(lx.Stacked([lx.Recurrent(cell, rngs=rngs) for cell in cells]))


def test_weights_that_could_be_two_things_are_asked_about():
    kernels = [np.ones((3, 6), np.float32)] + [np.ones((2, 6), np.float32)] * 5
    with pytest.raises(ValueError, match="source must be layers or dicts where a bias looks like a kernel"):
        interop.from_keras(kernels)


@pytest.mark.parametrize(
    ("call", "sentence"),
    [
        (lambda: interop.state_dict({"a": 1}), "layer must be an nnx module, got dict"),
        (lambda: interop.load_state_dict(lx.cells.LSTM(3, 4), {}), "layer must be an nnx module, got LSTM"),
        (lambda: interop.load_state_dict(stack_of("lstm"), None), "arrays must be a dict of arrays, got NoneType"),
    ],
)
def test_what_has_no_state_dict(call, sentence):
    with pytest.raises(TypeError, match=sentence):
        call()


EVERY_LAYOUT = [(library, name) for library, layouts in LAYOUTS.items() for name in layouts]


@pytest.mark.parametrize(("library", "name"), EVERY_LAYOUT)
def test_reading_is_the_inverse_of_writing(library, name):
    layout = LAYOUTS[library][name]
    projected = HIDDEN - 1 if "w_p" in layout.places else HIDDEN
    shapes = layout.shapes(IN, HIDDEN, projected)
    assert layout.sizes(shapes) == (IN, HIDDEN, projected)
    rng = np.random.default_rng(0)
    entries = {name: rng.integers(-9, 9, shape).astype("float32") for name, shape in shapes.items()}
    parts = read(layout, entries)
    assert parts.keys() == layout.parts
    assert_same_bits(entries, write(layout, parts))
