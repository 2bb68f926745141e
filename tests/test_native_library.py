"""The library of the native backend: what is wrong with it is a reason and no error; building says what it lacks."""

import re
import shutil
import subprocess
from pathlib import Path

import jax
import jax.numpy as jnp
import pytest

from lstmjax.kernels.native import compile as building
from lstmjax.kernels.native import library

DEFAULTS = {"target": None, "sanitize": ()}
HERE, ROOT = building.host(), Path(__file__).parents[1]
needs_compiler = pytest.mark.skipif(not any(map(shutil.which, ("g++", "clang++", "c++"))), reason="no C++ compiler")

LIBRARY = """
#define SHOWN extern "C" __attribute__((visibility("default")))
SHOWN const char* lstmjax_native_digest() { return LSTMJAX_SOURCE_DIGEST; }
SHOWN const char* lstmjax_native_isa() { return "none"; }
"""
KERNELS = "#define NAME_(isa) kernel_##isa\n#define NAME(isa) NAME_(isa)\nint NAME(LSTMJAX_ISA)() { return 0; }\n"


@pytest.fixture
def sources(tmp_path):
    """A folder of sources that make a library without handlers."""
    folder = tmp_path / "source"
    folder.mkdir()
    (folder / "dispatch.cc").write_text(LIBRARY)
    (folder / "kernels.cc").write_text(KERNELS)
    (folder / "kernels.h").write_text("")
    return folder


@pytest.fixture
def reason(monkeypatch):
    """Why a file can't serve as the library."""

    def ask(path):
        monkeypatch.setenv("LSTMJAX_NATIVE", str(path))
        return library.why_not()

    return ask


def test_switched_off(reason):
    assert reason("off") == "switched off by the environment variable LSTMJAX_NATIVE"
    for ask in (library.load, library.isa, lambda: library.lanes(jnp.float32)):
        with pytest.raises(RuntimeError, match="the native library can't be used: switched off"):
            ask()


def test_no_library(reason, tmp_path):
    assert reason(tmp_path / "no.so").startswith(f"there is no no.so in {tmp_path}; build it by `python -m lstmjax.k")


def test_a_file_that_is_no_library(reason, tmp_path):
    (tmp_path / "text.so").write_text("no library")
    assert re.match(r"text\.so could not be loaded: .*text\.so.*; build it by", reason(tmp_path / "text.so"))


@needs_compiler
def test_a_library_of_another_kind(reason, sources, tmp_path):
    (sources / "dispatch.cc").write_text("")
    built = building.compile_library(tmp_path / "stranger.so", sources=sources)
    assert re.search(r"could not be loaded: .*lstmjax_native_digest; build it by", reason(built))


@needs_compiler
def test_a_library_of_other_sources(reason, sources, tmp_path):
    built = building.compile_library(tmp_path / "other.so", sources=sources)
    assert re.match(r"other\.so was built of other sources than those beside it; build it by", reason(built))


@needs_compiler
def test_a_library_that_xla_does_not_take(reason, sources, tmp_path, monkeypatch):
    built = building.compile_library(tmp_path / "bare.so", sources=sources)
    digest = building.source_digest(HERE, sources)
    monkeypatch.setattr(building, "source_digest", lambda target: digest)
    assert re.match(rf"JAX {jax.__version__} can't use the library: .*LstmjaxPack; build it by", reason(built))
    assert jnp.ones(2).sum() == 2  # CPUs go on


def test_the_digest_is_of_all_that_is_compiled(sources):
    def digest():
        return building.source_digest(HERE, sources)

    digests = {digest()}
    for name in ("kernels.h", "kernels.cc", "dispatch.cc"):
        (sources / name).write_text("// " + name)
        digests.add(digest())
    (sources / "kernels.h").rename(sources / "other.h")
    digests |= {digest(), *(building.source_digest(target, sources) for target in building.TARGETS)}
    assert len(digests) == 4 + len(building.TARGETS)
    (sources / "notes.txt").write_text("not compiled")
    assert digest() in digests


@needs_compiler
def test_building_is_all_or_nothing(sources, tmp_path, monkeypatch):
    built = tmp_path / "built.so"
    assert building.compile_library(built, sources=sources) == built
    assert building.source_digest(HERE, sources).encode() in built.read_bytes()
    before = built.read_bytes()
    (sources / "dispatch.cc").write_text("int f() { return nothing; }")
    with pytest.raises(building.BuildError, match=r"(?s)failed with status 1 and said .*nothing.*\nas .*dispatch\.cc"):
        building.compile_library(built, sources=sources)
    (sources / "dispatch.cc").write_text("")
    monkeypatch.setitem(building.EXPORTS, HERE.partition("-")[2], "no exports {")
    with pytest.raises(building.BuildError, match="failed with status"):
        building.compile_library(built, sources=sources)
    assert built.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["built.so", "source"]


@needs_compiler
def test_the_command(sources, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(
        building.compile_library, "__kwdefaults__", {"target": None, "sanitize": (), "sources": sources}
    )
    out = tmp_path / "built.so"
    assert building.main(["--out", str(out), "--sanitize", "undefined"]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    assert building.main(["--out", str(tmp_path / "no" / "built.so")]) == 1
    assert "the native library was not built: [Errno 2] No such file" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--target", "vax"], "invalid choice: 'vax'"),
        (["--sanitize", "memory", "--out", "x"], "--sanitize must be some of address, undefined, thread, got 'memory'"),
        (["--sanitize", "address"], "--target and --sanitize need --out"),
        (["--target", HERE], "--target and --sanitize need --out"),
    ],
)
def test_what_the_command_refuses(arguments, sentence, capsys):
    with pytest.raises(SystemExit):
        building.main(arguments)
    assert sentence in capsys.readouterr().err


def test_nothing_to_compile(tmp_path):
    with pytest.raises(building.BuildError, match=r"nothing to compile: expected kernels\.cc and others in .*"):
        building.compile_library(tmp_path / "out.so", sources=tmp_path)
    with pytest.raises(building.BuildError, match=r"target must be one of x86_64-linux-gnu, .* got 'vax'"):
        building.compile_library(tmp_path / "out.so", sources=tmp_path, target="vax")


def without(monkeypatch, *packages):
    found = building.importlib.util.find_spec
    monkeypatch.setattr(building.importlib.util, "find_spec", lambda name: None if name in packages else found(name))


def test_no_compiler_and_no_headers(sources, tmp_path, monkeypatch):
    monkeypatch.delenv("CXX", raising=False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    without(monkeypatch, "ziglang")
    with pytest.raises(building.BuildError, match=r"expected \$CXX, g\+\+, .* or the Python package ziglang"):
        building.compile_library(tmp_path / "out.so", sources=sources)
    monkeypatch.setenv("CXX", "no-such-compiler -v")
    with pytest.raises(building.BuildError, match="compiler no-such-compiler can't be run: No such file"):
        building.compile_library(tmp_path / "out.so", sources=sources)
    without(monkeypatch, "jaxlib")
    with pytest.raises(building.BuildError, match=r"headers .* not found: expected them in jaxlib"):
        building.compile_library(tmp_path / "out.so", sources=sources)


@pytest.mark.parametrize(("system", "machine"), [("Windows", "AMD64"), ("Linux", "ppc64le")])
def test_machines_it_is_not_made_for(system, machine, monkeypatch):
    monkeypatch.setattr(building.platform, "system", lambda: system)
    monkeypatch.setattr(building.platform, "machine", lambda: machine)
    with pytest.raises(building.BuildError, match=f"this machine is {machine} under {system}"):
        building.host()


def test_apples_machines(monkeypatch):
    monkeypatch.setattr(building.platform, "system", lambda: "Darwin")
    monkeypatch.setattr(building.platform, "machine", lambda: "arm64")
    assert building.host() == "aarch64-macos"


@needs_compiler
def test_the_sources_raise_no_warning(tmp_path):
    """For every instruction set of this machine."""
    strict = (*building.FLAGS, "-Wall", "-Wextra", "-Werror", "-fsyntax-only")
    commands = building.compile_commands(building.find_compiler(), strict, HERE, building.SOURCES, tmp_path)
    assert len(commands) > len(building.TARGETS[HERE].instructions)
    for command in commands.values():
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


@pytest.fixture
def hook(monkeypatch):
    """The step of installing, of which only decisions are asked for."""
    pytest.importorskip("hatchling")
    for name in ("CXX", "LSTMJAX_NATIVE", "LSTMJAX_NATIVE_TARGET"):
        monkeypatch.delenv(name, raising=False)
    spec = building.importlib.util.spec_from_file_location("hatch_build", ROOT / "hatch_build.py")
    module = building.importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def new(hook, directory):
    return hook.NativeLibrary(str(ROOT), {}, None, None, str(directory), "wheel")


def test_what_installing_needs(hook, monkeypatch):
    monkeypatch.setattr(building, "source_digest", lambda target: "digest")
    monkeypatch.setattr(building, "is_current", lambda: False)
    monkeypatch.setattr(building, "find_compiler", lambda: ["g++"])
    assert hook.requirements(building, {}) == [hook.HEADERS]
    assert hook.requirements(building, {"LSTMJAX_NATIVE_TARGET": "aarch64-macos"}) == [hook.HEADERS, hook.ZIG]
    assert hook.requirements(building, {"LSTMJAX_NATIVE": "off"}) == []
    assert hook.HEADERS in (ROOT / "constraints" / "oldest.txt").read_text().split()
    monkeypatch.setattr(building, "is_current", lambda: True)
    assert hook.requirements(building, {}) == []


def test_what_installing_needs_without_a_compiler(hook, monkeypatch):
    monkeypatch.setattr(building, "source_digest", lambda target: "digest")
    monkeypatch.setattr(building, "is_current", lambda: False)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    without(monkeypatch, "ziglang")
    assert hook.requirements(building, {}) == [hook.HEADERS, hook.ZIG]
    monkeypatch.setattr(building.platform, "system", lambda: "Windows")
    assert hook.requirements(building, {}) == []


def test_installing_goes_on_without_it(hook, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("LSTMJAX_NATIVE", "off")
    data = {"force_include": {}, "pure_python": True}
    new(hook, tmp_path).initialize("standard", data)
    assert data == {"force_include": {}, "pure_python": True}
    assert "lstmjax goes without its native backend: switched off by LSTMJAX_NATIVE=off" in "".join(capsys.readouterr())


@pytest.mark.parametrize("version", ["standard", "editable"])
def test_a_wheel_with_the_library(hook, tmp_path, monkeypatch, version):
    monkeypatch.setattr(hook, "load_compile", lambda root: building)
    monkeypatch.setattr(building, "source_digest", lambda target: "digest")
    monkeypatch.setattr(building, "is_current", lambda: True)
    data = {"force_include": {}}
    new(hook, tmp_path).initialize(version, data)
    inside = {"force_include": {str(building.LIBRARY): "lstmjax/kernels/native/liblstmjax_native.so.1"}}
    tagged = {"pure_python": False, "tag": f"py3-none-{hook.local_platform()}"}
    assert data == ({**inside, **tagged} if version == "standard" else {"force_include": {}})


def test_a_wheel_for_other_machines(hook, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(hook, "load_compile", lambda root: building)
    monkeypatch.setattr(building, "source_digest", lambda target: "digest")
    monkeypatch.setattr(building, "compile_library", lambda out, target: asked.append(target) or out)
    monkeypatch.setenv("LSTMJAX_NATIVE_TARGET", "aarch64-linux-gnu")
    data = {"force_include": {}}
    new(hook, tmp_path).initialize("standard", data)
    assert asked == ["aarch64-linux-gnu"]
    assert data["tag"] == "py3-none-manylinux_2_28_aarch64"
    assert list(data["force_include"].values()) == ["lstmjax/kernels/native/liblstmjax_native.so.1"]


def test_a_wheel_asked_for_by_name_is_whole_or_an_error(hook, tmp_path, monkeypatch):
    monkeypatch.setenv("LSTMJAX_NATIVE_TARGET", "vax")
    with pytest.raises(RuntimeError, match=r"the target must be one of .*, got 'vax'"):
        new(hook, tmp_path).initialize("standard", {})
