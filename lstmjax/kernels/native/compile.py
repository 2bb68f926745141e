"""Building the library of the native backend: `python -m lstmjax.kernels.native.compile`.

`kernels.cc` is compiled once for each instruction set of a target, everything else once; all is linked into one
library, which picks when it is loaded. Nothing but the standard library is imported here, so that an installer can load
this file by its path before anything that lstmjax needs is there.
"""

import argparse
import hashlib
import importlib.util
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

SOURCES = Path(__file__).with_name("source")
LIBRARY = Path(__file__).with_name("liblstmjax_native.so.1")
"""Called the same on every system: ctypes loads a library by its path. What ends in .so Python takes for a module."""

FLAGS = (
    "-std=c++17",
    "-O3",
    "-fPIC",
    "-fvisibility=hidden",
    "-pthread",
    "-fno-math-errno",
    "-fno-trapping-math",
    "-ffp-contract=fast",
)
AVX2 = ("-mavx2", "-mfma")
AVX512 = (*AVX2, "-mavx512f", "-mavx512bw", "-mavx512dq", "-mavx512vl")
X86: dict[str, tuple[str, ...]] = {"baseline": (), "avx2": AVX2, "avx512": AVX512}
ARM: dict[str, tuple[str, ...]] = {"baseline": ()}
SANITIZERS = ("address", "undefined", "thread")
EXPORTS = {"linux-gnu": "{ global: Lstmjax*; lstmjax_*; local: *; };\n", "macos": "_Lstmjax*\n_lstmjax_*\n"}
"""What a library shows, as linkers read it: ours, and nothing of the C++ library, which others brought too."""


class Target(NamedTuple):
    """A kind of machine that the library can be built for.

    Args:
      zig: what Zig calls it, with the oldest system that the library runs on.
      wheel: what wheels call the same.
      instructions: for each instruction set its flags; the first runs on all of these machines.
    """

    zig: str
    wheel: str
    instructions: dict[str, tuple[str, ...]]


TARGETS = {
    "x86_64-linux-gnu": Target("x86_64-linux-gnu.2.28", "manylinux_2_28_x86_64", X86),
    "aarch64-linux-gnu": Target("aarch64-linux-gnu.2.28", "manylinux_2_28_aarch64", ARM),
    "aarch64-macos": Target("aarch64-macos.11.0", "macosx_11_0_arm64", ARM),
}


class BuildError(RuntimeError):
    """The library can't be built; the message says why."""


def compile_library(
    out: str | Path = LIBRARY,
    *,
    target: str | None = None,
    sanitize: Sequence[str] = (),
    sources: str | Path = SOURCES,
) -> Path:
    """Build the library; it is replaced whole or, where anything fails, left as it was.

    Args:
      out: the file to write.
      target: one of `TARGETS`, which Zig builds for; by default this machine, with the compiler of `find_compiler`.
      sanitize: some of `SANITIZERS`.
      sources: the folder of the C++ files.

    Returns:
      The path of the library.

    Raises:
      BuildError: there is no compiler, no jaxlib with its headers or nothing to compile, or the compiler fails, with
        its own message.
      OSError: `out` can't be written.
    """
    out, sources, name = Path(out), Path(sources), target or host()
    compiler = zig(name) if target else find_compiler()
    flags = (*FLAGS, *sanitizing(sanitize))
    with tempfile.TemporaryDirectory(prefix=".build-", dir=out.parent) as folder:
        commands = compile_commands(compiler, flags, name, sources, Path(folder))
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            list(pool.map(_run, reversed(commands.values())))  # what takes longest comes last there
        linked = Path(folder, out.name)
        _run([*compiler, *flags, *_linking(compiler, name, linked, sanitize), *map(str, commands)])
        os.replace(linked, out)
    return out


def compile_commands(
    compiler: Sequence[str], flags: Sequence[str], target: str, sources: Path, folder: Path
) -> dict[Path, list[str]]:
    """For each object in `folder`, in the order of linking, the command that makes it.

    What is compiled for every machine comes first: of an inline function that several objects define the linker keeps
    the first, which must not be one made for newer machines.

    Raises:
      BuildError: see `compile_library`.
    """
    digest = f'-DLSTMJAX_SOURCE_DIGEST="{source_digest(target, sources)}"'
    common = [*compiler, *flags, "-isystem", str(ffi_headers()), digest]
    kernels = sources / "kernels.cc"
    units: dict[str, list[str]] = {path.stem: [str(path)] for path in sorted(sources.glob("*.cc")) if path != kernels}
    for isa, special in TARGETS[target].instructions.items():
        units[f"kernels-{isa}"] = [f"-DLSTMJAX_ISA={isa}", *special, str(kernels)]
    objects = {folder / f"{name}.o": unit for name, unit in units.items()}
    return {path: [*common, "-c", *unit, "-o", str(path)] for path, unit in objects.items()}


def source_digest(target: str, sources: str | Path = SOURCES) -> str:
    """What a library for `target` is made of, in 16 characters: every source, every header and the flags.

    Raises:
      BuildError: there is nothing to compile, or `target` is none of `TARGETS`.
    """
    _check_target(target)
    files = sorted(path for ending in ("*.cc", "*.h") for path in Path(sources).glob(ending))
    if Path(sources, "kernels.cc") not in files:
        raise BuildError(f"there is nothing to compile: expected kernels.cc and others in {sources}")
    whole = hashlib.sha256(repr((target, FLAGS, TARGETS[target].instructions)).encode())
    for path in files:
        whole.update(f"{path.name} {path.stat().st_size}\n".encode() + path.read_bytes())
    return whole.hexdigest()[:16]


def is_current(library: Path = LIBRARY) -> bool:
    """Whether `library` is there, for this machine and made of the sources as they are. It is not loaded for that."""
    try:
        return source_digest(host()).encode() in library.read_bytes()
    except (BuildError, OSError):
        return False


def host() -> str:
    """Which of `TARGETS` this machine is.

    Raises:
      BuildError: none of them.
    """
    machine, system = platform.machine(), platform.system()
    ours = {"arm64": "aarch64", "Linux": "linux-gnu", "Darwin": "macos"}
    name = f"{ours.get(machine, machine)}-{ours.get(system)}"
    if name not in TARGETS:
        raise BuildError(f"the library is made for {', '.join(TARGETS)}, and this machine is {machine} under {system}")
    return name


def find_compiler() -> list[str]:
    """The C++ compiler for this machine, as the start of a command: $CXX, else the first found.

    Raises:
      BuildError: there is none.
    """
    if named := os.environ.get("CXX"):
        return shlex.split(named)
    for name in ("g++", "clang++", "c++"):
        if found := shutil.which(name):
            return [found]
    return zig(host())


def zig(target: str) -> list[str]:
    """Zig's C++ compiler, which is a Python package and builds for any target, as the start of a command.

    The target is always named, for else Zig builds for the very processor it runs on.

    Raises:
      BuildError: the package is not installed, or `target` is none of `TARGETS`.
    """
    _check_target(target)
    if importlib.util.find_spec("ziglang") is None:
        raise BuildError("no C++ compiler found: expected $CXX, g++, clang++, c++ or the Python package ziglang")
    return [sys.executable, "-m", "ziglang", "c++", "-target", TARGETS[target].zig]


def ffi_headers() -> Path:
    """The folder of the headers of XLA's foreign functions, which jaxlib brings. JAX is not imported.

    Raises:
      BuildError: there are none.
    """
    jaxlib = importlib.util.find_spec("jaxlib")
    for place in jaxlib.submodule_search_locations or () if jaxlib else ():
        if Path(place, "include/xla/ffi/api/ffi.h").is_file():
            return Path(place, "include")
    raise BuildError("the headers xla/ffi/api/*.h were not found: expected them in jaxlib, which is to be installed")


def sanitizing(names: Sequence[str]) -> list[str]:
    """The flags that make a library stop at its first error of these kinds."""
    if not names:
        return []
    return ["-O1", "-g", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all", f"-fsanitize={','.join(names)}"]


def _check_target(target: str) -> None:
    if target not in TARGETS:
        raise BuildError(f"the target must be one of {', '.join(TARGETS)}, got {target!r}")


def _linking(compiler: Sequence[str], target: str, linked: Path, sanitize: Sequence[str]) -> list[str]:
    """Flags for linking, by which a library keeps to itself and needs little of the system that it is loaded on."""
    system = target.partition("-")[2]
    exports = linked.with_suffix(".exports")
    exports.write_text(EXPORTS[system])
    if system == "macos":
        shown = [f"-Wl,-exported_symbols_list,{exports}", f"-Wl,-install_name,@rpath/{LIBRARY.name}"]
    else:
        shown = [f"-Wl,--version-script={exports}"]
    return ["-shared", "-o", str(linked), *shown, *(() if sanitize else _standing_alone(compiler))]


def _standing_alone(compiler: Sequence[str]) -> list[str]:
    """Flags for bringing the C++ library along. Sanitizers replace functions of the one that all others use."""
    if "ziglang" in compiler:  # links its own by itself, with megabytes of names for debuggers
        return ["-s"]
    archive = _run([*compiler, "-print-file-name=libstdc++.a"]).strip()  # no path where there is none
    return ["-static-libstdc++", "-static-libgcc"] if os.path.isabs(archive) else []


def _run(command: Sequence[str]) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise BuildError(f"the compiler {command[0]} can't be run: {error.strerror}") from None
    if done.returncode:
        said = done.stderr.strip() or "nothing"
        raise BuildError(f"the compiler failed with status {done.returncode} and said {said}\nas {shlex.join(command)}")
    return done.stdout


def main(arguments: Sequence[str] | None = None) -> int:
    """The command.

    Args:
      arguments: of the command line; by default this process's.

    Returns:
      The exit status: 0, or 1 when the library can't be built.
    """
    parser = argparse.ArgumentParser(prog="python -m lstmjax.kernels.native.compile", description="Build the library.")
    parser.add_argument("--target", choices=TARGETS, help="a kind of machine, which Zig builds for (default: this one)")
    parser.add_argument("--sanitize", default="", help=f"some of {', '.join(SANITIZERS)}, with commas between")
    parser.add_argument("--out", type=Path, help=f"the file to write (default: {LIBRARY})")
    asked = parser.parse_args(arguments)
    sanitize = asked.sanitize.split(",") if asked.sanitize else []
    if unknown := [name for name in sanitize if name not in SANITIZERS]:
        parser.error(f"--sanitize must be some of {', '.join(SANITIZERS)}, got {unknown[0]!r}")
    if asked.out is None and (asked.target or sanitize):
        parser.error("--target and --sanitize need --out: such a library is not the one to be loaded by default")
    try:
        print(compile_library(asked.out or LIBRARY, target=asked.target, sanitize=sanitize))
    except (BuildError, OSError) as error:
        print(f"the native library was not built: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
