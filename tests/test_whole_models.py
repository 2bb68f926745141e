"""A model filled from a whole one of another library computes the same; what does not fit changes nothing."""

import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import lstmjax as lx
from experiments.peers.common import foreign
from lstmjax import interop

IDS = np.array([[1, 2, 3, 0], [4, 5, 0, 0]])
XS = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
NAMES = {"embed": "embed", "rnn": "lstm", "norm": "norm", "fc": "head"}


class Tagger(nnx.Module):
    def __init__(self, epsilon=1e-5, **lstm):
        rngs = nnx.Rngs(0)
        self.embed = nnx.Embed(10, 4, rngs=rngs)
        self.lstm = lx.LSTM(4, 3, bidirectional=True, rngs=rngs, recurrent_init=lx.initializers.zeros, **lstm)
        self.norm = nnx.LayerNorm(6, epsilon=epsilon, rngs=rngs)
        self.head = nnx.Linear(6, 2, rngs=rngs)

    def __call__(self, ids):
        return self.head(self.norm(self.lstm(self.embed(ids))[0]))


def window_model(epsilon=1e-5, **conv):
    """A convolution, normalised over the batch, below an LSTM."""
    rngs = nnx.Rngs(0)
    return nnx.Sequential(
        nnx.Conv(4, 6, 3, **conv, rngs=rngs),
        nnx.BatchNorm(6, epsilon=epsilon, rngs=rngs),
        lx.Outputs(lx.LSTM(6, 3, rngs=rngs)),
        nnx.Linear(3, 2, rngs=rngs),
    )


WINDOW_NAMES = {"conv": "layers.0", "bn": "layers.1", "rnn": "layers.2.layer", "fc": "layers.3"}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture(scope="module")
def torch_tagger(torch):
    class TorchTagger(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.embed = torch.nn.Embedding(10, 4, padding_idx=0)
            self.rnn = torch.nn.LSTM(4, 3, bidirectional=True, batch_first=True)
            self.norm = torch.nn.LayerNorm(6)
            self.fc = torch.nn.Linear(6, 2)

        def forward(self, ids):
            return self.fc(self.norm(self.rnn(self.embed(ids))[0]))

    return randomized(torch, TorchTagger())


def randomized(torch, module):
    """Numbers that are not what anything starts from, running statistics among them."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in module.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + (0.5 if name.endswith("var") else -0.5))
    return module.eval()


def assert_close(ours, theirs):
    theirs = theirs.detach().numpy() if hasattr(theirs, "detach") else np.asarray(theirs)
    assert np.abs(theirs).max() > 0.01
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5)


def sources_of(torch, module, folder):
    """The same weights in every form that is taken."""
    tensors = module.state_dict()
    torch.save(tensors, folder / "model.pt")
    yield module
    yield tensors
    yield {name: tensor.numpy() for name, tensor in tensors.items()}
    yield str(folder / "model.pt")
    if importlib.util.find_spec("safetensors"):
        importlib.import_module("safetensors.torch").save_file(tensors, folder / "model.safetensors")
        yield folder / "model.safetensors"


def test_a_torch_tagger_in_every_form(torch, torch_tagger, tmp_path):
    first, bits = Tagger(), None
    for source in sources_of(torch, torch_tagger, tmp_path):
        model = Tagger()
        report = interop.load_torch(model, source, NAMES)
        assert report.loaded.keys() == torch_tagger.state_dict().keys()
        assert (report.loaded["fc.weight"], report.loaded["rnn.bias_hh_l0_reverse"]) == ("head.kernel", "lstm")
        assert (report.left_out, report.kept) == ([], [])
        table = {name: array.tobytes() for name, array in interop.state_dict(model).items()}
        bits = bits or table
        assert table == bits
    interop.load_torch(first, torch_tagger, NAMES)
    assert_close(first(IDS), torch_tagger(torch.tensor(IDS)))


def test_notes_say_what_arrays_do_not(torch_tagger):
    (note,) = interop.load_torch(Tagger(), torch_tagger, NAMES).notes
    assert note.startswith("embed has padding_idx 0")
    report = interop.load_torch(Tagger(epsilon=1e-6), torch_tagger.state_dict(), NAMES)
    assert report.notes == ["norm has epsilon 1e-06; arrays don't say what norm has"]
    assert "fc.bias -> head.bias\nnote: norm has" in str(report)


@pytest.mark.parametrize(("padding", "ours"), [(1, "SAME"), (0, "VALID"), ("same", 1)])
def test_a_torch_convolution_and_running_statistics(torch, padding, ours):
    class TorchWindows(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv1d(4, 6, 3, padding=padding, groups=2)
            self.bn = torch.nn.BatchNorm1d(6)
            self.rnn = torch.nn.LSTM(6, 3, batch_first=True)
            self.fc = torch.nn.Linear(3, 2)

        def forward(self, xs):
            return self.fc(self.rnn(self.bn(self.conv(xs.mT)).mT)[0])

    module, model = randomized(torch, TorchWindows()), window_model(padding=ours, feature_group_count=2)
    report = interop.load_torch(model, module, WINDOW_NAMES)
    model.eval()
    assert_close(model(XS), module(torch.tensor(XS)))
    assert report.left_out == ["bn.num_batches_tracked"]
    (note,) = report.notes
    assert note == "to be trained on as it was, layers.1 must have momentum 0.9, as bn has it, got 0.99"


def over_time(layer, xs):
    return layer(xs)[0]


def cell_over_time(cell, xs):
    """A cell of torch, stepped."""
    state, ys = None, []
    for x in xs.unbind(1):
        state = cell(x, state)
        ys.append(state[0] if isinstance(state, tuple) else state)
    return ys[0].new_tensor(np.stack([y.detach().numpy() for y in ys], 1))


def plain(layer, xs):
    return layer(xs)


def channels_first(layer, xs):
    return layer(xs.movedim(-1, 1)).movedim(1, -1)


RNGS = nnx.Rngs(0)
GRIDS = np.random.default_rng(0).normal(size=(2, 6, 5, 4)).astype("float32")
ONE_LAYER = {
    "Conv2d": (
        lambda nn: nn.Conv2d(4, 3, (3, 2), stride=2, padding=(2, 1), dilation=(1, 2), bias=False),
        lambda: nnx.Conv(4, 3, (3, 2), 2, padding=[2, 1], kernel_dilation=(1, 2), use_bias=False, rngs=RNGS),
        (channels_first, plain, GRIDS),
    ),
    "Conv1d around a circle": (
        lambda nn: nn.Conv1d(4, 3, 3, padding=1, padding_mode="circular"),
        lambda: nnx.Conv(4, 3, 3, padding="CIRCULAR", rngs=RNGS),
        (channels_first, plain, XS),
    ),
    "GroupNorm": (
        lambda nn: nn.GroupNorm(2, 4),
        lambda: nnx.GroupNorm(4, 2, epsilon=1e-5, rngs=RNGS),
        (channels_first, plain, GRIDS),
    ),
    "RMSNorm": (lambda nn: nn.RMSNorm(4, 0.1), lambda: nnx.RMSNorm(4, epsilon=0.1, rngs=RNGS), (plain, plain, XS)),
    "LSTMCell": (lambda nn: nn.LSTMCell(4, 3), lambda: lx.LSTM(4, 3, rngs=RNGS), (cell_over_time, over_time, XS)),
    "GRUCell": (lambda nn: nn.GRUCell(4, 3), lambda: lx.GRU(4, 3, rngs=RNGS), (cell_over_time, over_time, XS)),
    "LSTM with proj_size": (
        lambda nn: nn.LSTM(4, 5, proj_size=3, batch_first=True),
        lambda: lx.LSTM(4, 5, proj_features=3, rngs=RNGS),
        (over_time, over_time, XS),
    ),
    "RNN with relu": (
        lambda nn: nn.RNN(4, 3, nonlinearity="relu", batch_first=True),
        lambda: lx.ElmanRNN(4, 3, activation_fn=jax.nn.relu, rngs=RNGS),
        (over_time, over_time, XS),
    ),
    "GRU under weight drop": (
        lambda nn: nn.GRU(4, 3, batch_first=True),
        lambda: lx.Recurrent(lx.regularizers.WeightDrop(lx.cells.GRU(4, 3), 0.5), rngs=RNGS),
        (over_time, over_time, XS),
    ),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported")  # by one of torch's own ways to run it
@pytest.mark.parametrize(("theirs", "ours", "run"), ONE_LAYER.values(), ids=ONE_LAYER.keys())
@pytest.mark.parametrize("form", ["module", "arrays"])
def test_one_layer_of_torch_is_a_whole_model(torch, theirs, ours, run, form):
    module, layer = randomized(torch, theirs(torch.nn)), ours()
    run_theirs, run_ours, xs = run
    interop.load_torch(layer, module if form == "module" else module.state_dict(), {"": ""})
    assert_close(run_ours(layer, xs), run_theirs(module, torch.tensor(xs)))


def test_parts_go_where_names_say_and_the_rest_is_reported(torch):
    class Parts(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.start = torch.nn.Parameter(torch.rand(1, 3))
            self.encoder = torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.Linear(3, 3))
            self.drop = torch.nn.Dropout(0.5)

    class Model(nnx.Module):
        def __init__(self):
            self.start = nnx.Param(jnp.zeros((1, 3)))
            self.dense = nnx.Linear(4, 3, rngs=nnx.Rngs(0))
            self.head = nnx.Linear(3, 3, rngs=nnx.Rngs(1))

    source, model = Parts(), Model()
    before = model.head.kernel[...]
    names = {"start": "start", "encoder": None, "encoder.0": "dense"}
    report = interop.load_torch(model, source, names, keep=["head"])
    np.testing.assert_array_equal(model.start[...], source.start.detach())
    np.testing.assert_array_equal(model.dense.kernel[...], source.encoder[0].weight.detach().T)
    np.testing.assert_array_equal(model.head.kernel[...], before)
    assert report.left_out == ["encoder.1.weight", "encoder.1.bias"]
    assert sorted(report.kept) == ["head.bias", "head.kernel"]


def changed(**changes):
    return {name: path for name, path in (NAMES | changes).items() if path != "absent"}


REFUSED = {
    "a name of nothing": (changed(rnnn="lstm"), "names must be among the source's 'embed', 'rnn', .*, got 'rnnn'"),
    "a path of nothing": (changed(rnn="lsm"), "names must lead 'rnn' to a layer of the model, one of .*, got 'lsm'"),
    "a layer left out": (changed(fc="absent"), "names must say where each layer goes, .*, got nothing for 'fc'"),
    "a place left out": (changed(fc=None), "names must fill all of the model but .*, got nothing for 'head'"),
    "a place taken twice": (changed(norm=None, fc="norm"), "fc must be of torch's LayerNorm to fill norm, got Linear"),
    "another class": (changed(fc="lstm", rnn="head"), "rnn must be of torch's Linear to fill head, got LSTM"),
    "a whole for a part": ({"": "lstm"}, "source must be of torch's LSTM, .* to fill lstm, got TorchTagger"),
    "no path": (changed(fc=3), r"names\['fc'\] must be of the class str or NoneType, got int"),
}


@pytest.mark.parametrize(("names", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_tables_that_do_not_fit_change_nothing(torch_tagger, names, message):
    model = Tagger()
    before = interop.state_dict(model)
    with pytest.raises((TypeError, ValueError), match=message):
        interop.load_torch(model, torch_tagger, names)
    for name, array in interop.state_dict(model).items():
        np.testing.assert_array_equal(array, before[name])


def half(arrays):
    return {name: array.astype("float16") if name == "fc.bias" else array for name, array in arrays.items()}


UNFIT = {
    "a shape": (
        lambda: Tagger(),
        lambda arrays: arrays | {"fc.weight": np.ones((6, 2), "float32")},
        r"fc.weight, for head.kernel, must have shape \[2, 6\], got \[6, 2\]",
    ),
    "a dtype": (lambda: Tagger(), half, "fc.bias, for head.bias, must have dtype float32, got float16"),
    "an array too many": (
        lambda: Tagger(),
        lambda arrays: arrays | {"fc.scale": np.ones(2, "float32")},
        "fc must hold nothing but weight, bias, got scale too",
    ),
    "an array missing": (
        lambda: Tagger(),
        lambda arrays: {name: array for name, array in arrays.items() if name != "norm.bias"},
        "source must have norm.bias as there is norm.bias, got none",
    ),
    "no arrays": (lambda: Tagger(), lambda arrays: {"model": arrays}, "source must be .*; its 'model' may be what to"),
    "layers": (lambda: Tagger(num_layers=2), dict, "lstm must have as many layers as rnn, 1, got 2"),
    "gates": (
        lambda: Tagger(gate_fn=jax.nn.hard_sigmoid),
        dict,
        "lstm.layers.0.forward must have gate_fn sigmoid, as rnn has it, got hard_sigmoid",
    ),
    "merging": (lambda: Tagger(merge="sum"), dict, "must have merge concat, as rnn has it, got sum"),
    "biases": (lambda: Tagger(use_bias=False), dict, "must have use_bias True, as rnn has it, got False"),
    "a start": (
        lambda: Tagger(initial_state="learned"),
        dict,
        "names must fill all .* nothing for 'lstm.layers.0.backward.initial.c', 'lstm",
    ),
}


@pytest.mark.parametrize(("make", "damage", "message"), UNFIT.values(), ids=UNFIT.keys())
def test_arrays_that_do_not_fit_change_nothing(torch_tagger, make, damage, message):
    arrays = {name: tensor.numpy() for name, tensor in torch_tagger.state_dict().items()}
    model = make()
    before = interop.state_dict(model)
    with pytest.raises((TypeError, ValueError), match=message):
        interop.load_torch(model, damage(arrays), NAMES)
    for name, array in interop.state_dict(model).items():
        np.testing.assert_array_equal(array, before[name])


def test_settings_and_wishes_that_contradict(torch, torch_tagger):
    with pytest.raises(ValueError, match="norm must have epsilon 1e-05, as norm has it, got 1e-06"):
        interop.load_torch(Tagger(epsilon=1e-6), torch_tagger, NAMES)
    conv, ours = torch.nn.Conv1d(4, 3, 3), nnx.Conv(4, 3, 3, rngs=RNGS)
    with pytest.raises(ValueError, match=r"model must have padding \(\(0, 0\),\), as source has it, got \(\(1, 1\),\)"):
        interop.load_torch(ours, conv, {"": ""})
    circle = torch.nn.Conv1d(4, 3, 3, padding=2, padding_mode="circular")
    with pytest.raises(ValueError, match=r"model must have padding CIRCULAR \(2,\), as source has it, got CIRCULAR"):
        interop.load_torch(nnx.Conv(4, 3, 3, padding="CIRCULAR", rngs=RNGS), circle, {"": ""})
    with pytest.raises(ValueError, match=r"keep must name what nothing is loaded into, got head.kernel,"):
        interop.load_torch(Tagger(), torch_tagger, NAMES, keep=["head"])
    with pytest.raises(ValueError, match="keep must be paths of the model that hold variables, got 'heat'"):
        interop.load_torch(Tagger(), torch_tagger, NAMES, keep=["heat"])
    with pytest.raises(ValueError, match=r"names must lead to each place once, got head.kernel for x.weight and"):
        interop.load_torch(Tagger(), torch_tagger.state_dict() | {"x.weight": torch.ones(2, 6)}, NAMES | {"x": "head"})


def drawn(model):
    """A Keras model with weights that are not what anything starts from."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        low = 0.5 if "variance" in weight.path else -0.5
        weight.assign(rng.uniform(low, low + 1, weight.shape).astype("float32"))
    return model


def test_a_functional_keras_model(keras):
    layers = keras.layers
    with foreign():
        ids = keras.Input((4,))
        ys = layers.Embedding(10, 4, name="embed", mask_zero=True)(ids)
        recurrent = layers.LSTM(3, dropout=0.5, recurrent_dropout=0.2, return_sequences=True)
        ys = layers.Bidirectional(recurrent, name="rnn")(ys)
        ys = layers.Dropout(0.5)(layers.LayerNormalization(name="norm")(ys))
        inner = keras.Sequential([layers.Dense(2, name="fc", activation="softmax")], name="top")
        source = drawn(keras.Model(ids, inner(ys)))
        theirs = source(IDS + 1)
    model = Tagger(epsilon=1e-3)
    names = {"embed": "embed", "rnn": "lstm", "norm": "norm", "top.fc": "head"}
    report = interop.load_keras(model, source, names)
    assert_close(jax.nn.softmax(model(IDS + 1)), theirs)
    assert len(report.loaded) == len(source.weights)
    assert [note.split(",")[0] for note in report.notes] == [
        "embed has mask_zero True",
        "top.fc has activation softmax",
    ]


@pytest.mark.parametrize("padding", ["same", "causal", "valid"])
def test_a_sequential_keras_model(keras, padding):
    layers = keras.layers
    with foreign():
        source = keras.Sequential(
            [
                layers.Input((5, 4)),
                layers.Conv1D(6, 3, padding=padding, groups=2, name="conv"),
                layers.BatchNormalization(name="bn"),
                layers.LSTM(3, return_sequences=True, name="rnn"),
                layers.TimeDistributed(layers.Dense(2), name="fc"),
            ]
        )
        theirs = drawn(source)(XS)
    model = window_model(epsilon=1e-3, padding=padding.upper(), feature_group_count=2)
    report = interop.load_keras(model, source, WINDOW_NAMES)
    model.eval()
    assert_close(model(XS), theirs)
    assert (len(report.loaded), report.notes) == (len(source.weights), [])


def test_keras_models_that_do_not_fit_change_nothing(keras):
    layers = keras.layers
    with foreign():
        source = keras.Sequential([layers.Input((5, 4)), layers.LSTM(3, name="rnn"), layers.Dense(2, name="fc")])
        backward = keras.Sequential([layers.Input((5, 4)), layers.LSTM(3, go_backwards=True, name="rnn")])
        norms = keras.Sequential([layers.Input((5, 4)), layers.LayerNormalization(name="norm")])
        across = keras.Sequential([layers.Input((5, 4)), layers.BatchNormalization(axis=1, name="norm")])
    rngs = nnx.Rngs(0)
    model = nnx.Sequential(lx.LSTM(4, 3, rngs=rngs), nnx.Linear(3, 2, rngs=rngs))
    before = interop.state_dict(model)
    for case, names, message in [
        (source, {"rnn": "layers.0", "fc": "layers.0"}, "fc must be of keras's LSTM, .* to fill layers.0, got Dense"),
        (source, {"rnn": "layers.0"}, "names must say where each layer goes, or None .*, got nothing for 'fc'"),
        (source, {"": None}, "names must fill all of the model but .*, got nothing for 'layers.0', 'layers.1'"),
        (backward, {"rnn": "layers.0"}, "must be a layer without go_backwards, got rnn"),
        (layers.Dense(2), {"": "layers.1"}, "source must be a keras model, got Dense"),
    ]:
        with pytest.raises((TypeError, ValueError), match=message):
            interop.load_keras(model, case, names)
    for name, array in interop.state_dict(model).items():
        np.testing.assert_array_equal(array, before[name])
    with pytest.raises(ValueError, match=r"must have epsilon 0.001, as norm has it, got 1e-06"):
        interop.load_keras(nnx.LayerNorm(4, rngs=rngs), norms, {"norm": ""})
    with pytest.raises(ValueError, match="norm must have its features last, axis -1, got axis 1"):
        interop.load_keras(nnx.BatchNorm(5, rngs=rngs), across, {"norm": ""})


FRAMES = np.random.default_rng(0).normal(size=(2, 2, 5, 6, 2)).astype("float32")


@pytest.mark.parametrize(
    "options",
    [
        {"padding": "same", "strides": 2, "use_bias": False},
        {"dilation_rate": (1, 2), "activation": "relu", "recurrent_activation": "hard_sigmoid"},
    ],
    ids=["strides", "dilation"],
)
def test_a_keras_convlstm_its_gradients_and_back(keras, options):
    with foreign():
        theirs = keras.layers.ConvLSTM2D(3, (3, 2), return_sequences=True, **options)
        theirs.build(FRAMES.shape)
        drawn(theirs)
        values = [weight.value for weight in theirs.trainable_variables]
        fixed = [weight.value for weight in theirs.non_trainable_variables]
        ys, backward = jax.vjp(lambda values: theirs.stateless_call(values, fixed, FRAMES)[0], values)
        wanted = backward(jnp.cos(ys))[0]
    layer = interop.from_keras(theirs).layers[0]
    ours, backward = jax.vjp(lambda params: lx.unroll(layer.cell, params, FRAMES)[0], layer.params)
    assert_close(ours, ys)
    gradients = [gradient for gradient in backward(jnp.cos(ours))[0] if gradient is not None]
    for mine, other in zip(gradients, wanted, strict=True):
        np.testing.assert_allclose(mine, other, rtol=0, atol=1e-5 * np.abs(other).max())
    for back, value in zip(interop.to_keras(layer), values, strict=True):
        np.testing.assert_array_equal(back, value)


def test_a_keras_model_of_convlstms(keras):
    layers = keras.layers
    with foreign():
        below = layers.ConvLSTM2D(3, (3, 2), padding="same", return_sequences=True, name="below")
        above = layers.ConvLSTM2D(2, (3, 2), padding="same", return_sequences=True, name="above")
        source = drawn(keras.Sequential([layers.Input(FRAMES.shape[1:]), below, above]))
    names = {"below": "layers.0", "above": "layers.1"}
    model = grids((3, 2))
    interop.load_keras(model, source, names)
    wanted = interop.state_dict(interop.from_keras([below, above]))
    for name, array in interop.state_dict(model).items():
        np.testing.assert_array_equal(array, wanted[name])
    with pytest.raises(ValueError, match=r"must have kernel_size \(3, 2\), as below has it, got \(3, 3\)"):
        interop.load_keras(grids(3), source, names)


def grids(kernel_size):
    options = {"spatial_shape": FRAMES.shape[2:4], "recurrent_init": lx.initializers.zeros}
    return lx.ConvLSTM(2, [3, 2], kernel_size=kernel_size, rngs=nnx.Rngs(0), **options)


def test_a_convlstm_with_its_channels_first_is_refused(keras):
    with foreign():
        layer = keras.layers.ConvLSTM2D(3, 3, data_format="channels_first")
        layer.build((2, 3, 2, 5, 6))
    with pytest.raises(ValueError, match="source must have its channels last, got data_format 'channels_first'"):
        interop.from_keras(layer)
