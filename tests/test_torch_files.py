"""What torch.save wrote is read bit by bit without torch; nothing in a file is run."""

import io
import os
import pickle
import sys
import zipfile

import jax.numpy as jnp
import numpy as np
import pytest

from lstmjax import interop
from lstmjax.errors import InputError

DTYPES = ("float64", "float32", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


@pytest.fixture
def read(monkeypatch, tmp_path):
    """Reading what torch saves, while there is no torch."""

    def saved_and_read(torch, value, **options):
        torch.save(value, tmp_path / "saved.pt", **options)
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, "torch", None)
            return interop.read_torch(tmp_path / "saved.pt")

    return saved_and_read


def bits(tensor):
    """A tensor's bytes in the order of its places, whatever its strides."""
    tensor = tensor.detach().contiguous()
    return bytes(tensor.untyped_storage())[tensor.storage_offset() * tensor.itemsize :][: tensor.nbytes]


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_bit_by_bit(torch, read, dtype):
    numbers = torch.randint(0, 255, (3, 16), dtype=torch.uint8)
    tensor = numbers > 99 if dtype == "bool" else numbers.view(getattr(torch, dtype))
    array = read(torch, {"t": tensor})["t"]
    assert (array.dtype, array.shape) == (jnp.dtype(dtype), tuple(tensor.shape))
    assert array.tobytes() == bits(tensor)


def test_views_and_shared_storages(torch, read):
    numbers = torch.arange(24, dtype=torch.float32).reshape(4, 6)
    views = {
        "whole": numbers,
        "turned": numbers.T,
        "columns": numbers[:, 1:6:2],
        "part": numbers[2, 3:],
        "spread": numbers[0, :1].expand(3, 2),
        "number": numbers[1, 1],
        "empty": numbers[:0],
        "parameter": torch.nn.Parameter(numbers[1:3].mT),
    }
    arrays = read(torch, views)
    for name, tensor in views.items():
        np.testing.assert_array_equal(arrays[name], tensor.detach().numpy(), strict=True)
    assert np.shares_memory(arrays["whole"], arrays["turned"])
    assert not arrays["whole"].flags.writeable


def test_a_checkpoint_keeps_its_form(torch, read):
    module = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    checkpoint = {
        "model": module.state_dict(),
        "epoch": 3,
        "rates": [0.1, (True, None)],
        "size": module[0].weight.shape,
    }
    back = read(torch, checkpoint)
    assert (back["epoch"], back["rates"], back["size"]) == (3, [0.1, (True, None)], (2, 3))
    assert list(back["model"]) == list(module.state_dict())
    assert int(back["model"]["1.num_batches_tracked"]) == 0


def refuse(path, message):
    with pytest.raises(InputError, match=message) as caught:
        interop.read_torch(path)
    assert "\n" not in str(caught.value)


def test_what_is_no_plain_data_says_what_to_save(torch, tmp_path):
    path = tmp_path / "saved.pt"
    torch.save(torch.nn.Linear(3, 2), path)
    refuse(path, r"saved.pt must hold tensors, .* alone, got torch.nn.modules.linear.Linear; .*state_dict\(\), path\)")
    torch.save(torch.ones(2, dtype=torch.complex64), path)
    refuse(path, r"alone, got torch.ComplexFloatStorage")
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=False)
    refuse(
        path, r"is of the format before PyTorch 1.6: torch.save\(torch.load\(path\), path\) in a newer one rewrites it"
    )


def archive(path, pickled, numbers=b"\0" * 16, **parts):
    """A file as torch writes it, with a pickle of one's own."""
    with zipfile.ZipFile(path, "w") as file:
        for name, content in ({"data.pkl": pickled, "data/0": numbers} | parts).items():
            file.writestr(f"archive/{name}", content)


class Call:
    """Pickled, it asks for a call."""

    def __init__(self, function, *args):
        self.reduced = function, args

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("function", [os.system, os.mkdir, eval, getattr, __import__, np.load, pickle.loads])
def test_calls_are_refused_and_not_made(tmp_path, function, protocol):
    path, made = tmp_path / "evil.pt", tmp_path / "made"
    code = {os.system: f"mkdir {made}", os.mkdir: str(made), eval: f"__import__('os').mkdir({str(made)!r})"}
    archive(path, pickle.dumps({"weight": Call(function, code.get(function, "os"))}, protocol))
    refuse(path, r"evil.pt must hold tensors, .* alone, got \w+\.\w+;")
    assert not made.exists()


def tensor_pickle(start, shape, strides, count=4, key="0", kind="FloatStorage"):
    """The opcodes of one tensor."""

    def of(value):
        return pickle.dumps(value, 2)[2:-1]

    storage = b"(" + of("storage") + f"ctorch\n{kind}\n".encode() + of(key) + of("cpu") + of(count) + b"tQ"
    return (
        b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"".join(map(of, (start, shape, strides))) + b"tR."
    )


def test_a_tensor_stays_inside_its_storage(tmp_path):
    path = tmp_path / "saved.pt"
    archive(path, tensor_pickle(0, (2, 2), (2, 1)))
    assert interop.read_torch(path).shape == (2, 2)
    for start, shape, strides in [
        (0, (5,), (1,)),
        (1, (2, 2), (2, 1)),
        (-1, (2,), (1,)),
        (0, (2,), (-1,)),
        (0, (2,), ()),
    ]:
        archive(path, tensor_pickle(start, shape, strides))
        refuse(path, "saved.pt is no sound file of torch.save: a tensor ")
    archive(path, tensor_pickle(0, (2,), (1,), count=5))
    refuse(path, "data/0 is no FloatStorage of 5")
    archive(path, tensor_pickle(0, (2,), (1,), key="../0"))
    refuse(path, "is no sound file of torch.save: .*no item named 'archive/data/../0'")


def test_a_pickle_cut_short_anywhere_is_a_sentence(torch, tmp_path):
    torch.save({"a": torch.ones(2), "b": [1, 2.5, "c"]}, tmp_path / "whole.pt")
    with zipfile.ZipFile(tmp_path / "whole.pt") as whole:
        pickled = whole.read("whole/data.pkl")
        numbers = whole.read("whole/data/0")
    path = tmp_path / "cut.pt"
    for end in range(len(pickled)):
        archive(path, pickled[:end], numbers)
        refuse(path, "is no sound file of torch.save: ")
    archive(path, pickled, numbers)
    assert interop.read_torch(path)["b"] == [1, 2.5, "c"]


def test_files_that_torch_does_not_write(tmp_path):
    path = tmp_path / "saved.pt"
    refuse(path, "saved.pt can't be read: No such file or directory")
    path.write_text("weights")
    refuse(path, "saved.pt is no sound file of torch.save: File is not a zip file")
    archive(path, tensor_pickle(0, (2,), (1,)), byteorder=b"big")
    refuse(path, "saved.pt must have its bytes in little-endian order, got big")
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("archive/data.pkl", tensor_pickle(0, (2,), (1,)))
    path.write_bytes(content.getvalue())
    refuse(path, "saved.pt must be as torch.save writes files, not compressed")


def test_a_pickle_can_change_nothing_of_ours(tmp_path):
    """`BUILD` sets attributes: of what a pickle gets, none outlive the reading."""
    path = tmp_path / "saved.pt"
    for target in ("torch._utils\n_rebuild_tensor_v2", "torch\nFloatStorage", "collections\nOrderedDict"):
        archive(path, b"\x80\x02c" + target.encode() + b"\n(N}U\x0c__defaults__K\x05stb.")
        refuse(path, "is no sound file of torch.save: ")
        archive(path, tensor_pickle(0, (2, 2), (2, 1)))
        assert interop.read_torch(path).shape == (2, 2)
