"""What every command line here shares: exit codes, and a sentence instead of a traceback for what a user can mend.

Exit codes: 0 done, 1 failed on the way, 2 the command or its input can't be used, 130 stopped by Ctrl-C.
"""

import contextlib
import itertools
import logging
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import jax
import tyro

from experiments.interrupts import STOPPED
from lstmjax.errors import InputError
from lstmjax.training.run_folder import check_writable

Config = TypeVar("Config")

SHORTEST_KEPT = 0.05
"""Seconds that compiling must take for the program to be kept; JAX's own 1.0 would leave out most of them."""


def parse(
    config: type[Config], description: str, arguments: Sequence[str] | None = None, default: Config | None = None
) -> Config:
    """Read a command line, by default this program's own, into a config.

    Raises:
      InputError: the config refuses its values (what can't be parsed at all, tyro itself reports, with exit code 2).
    """
    arguments = sys.argv[1:] if arguments is None else arguments
    if "--out=" in arguments or ("--out", "") in itertools.pairwise(arguments):  # Path("") is the current folder
        raise InputError("--out must name where to write, got ''")
    try:
        if default is None:
            return tyro.cli(config, prog=_program(), description=description, args=arguments)
        return tyro.cli(config, prog=_program(), description=description, args=arguments, default=default)
    except ValueError as error:
        raise InputError(str(error)) from error


def run(main: Callable[[], int]) -> None:
    """Run a program and exit with its code."""
    _check_streams()
    logging.basicConfig(format="%(message)s", level=logging.WARNING, force=True)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax logs a traceback for each failure it also raises
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
    keep_compiled_programs()
    try:
        code = main()
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read our output has had enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 1
    except InputError as error:
        code = _complain(error, 2)
    except (OSError, ArithmeticError) as error:
        code = _complain(error, 1)
    except (MemoryError, jax.errors.JaxRuntimeError) as error:
        if isinstance(error, jax.errors.JaxRuntimeError) and "RESOURCE_EXHAUSTED" not in str(error):
            raise
        code = _complain("out of memory; a smaller batch or model may fit", 1)
    except KeyboardInterrupt:
        code = _complain("stopped", STOPPED)
    sys.exit(code)


def keep_compiled_programs() -> None:
    """Let the next run of a program start sooner: what JAX compiles is kept in the user's cache.

    JAX_COMPILATION_CACHE_DIR names another folder, and JAX_ENABLE_COMPILATION_CACHE=false keeps nothing. Where the
    user's cache can't be written to, nothing is kept either.
    """
    if jax.config.jax_compilation_cache_dir is not None:  # type: ignore[attr-defined]
        return
    folder = Path(os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache"), "lstmjax", "compiled")
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True)
        jax.config.update("jax_compilation_cache_dir", str(folder))  # type: ignore[no-untyped-call]
        jax.config.update("jax_persistent_cache_min_compile_time_secs", SHORTEST_KEPT)  # type: ignore[no-untyped-call]


def check_backend() -> None:
    """Find out now whether JAX has the platform that it is told to run on.

    Raises:
      InputError: it has not.
    """
    try:
        jax.default_backend()
    except (RuntimeError, AssertionError) as error:  # the latter, bare, for a known platform without its plugin
        said = f": {error}" if str(error) else ""
        raise InputError(f"JAX can't run on JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}{said}") from error


def check_out(file: Path) -> None:
    """Find out now, and not after hours, whether a file can be written; makes its folder.

    Raises:
      InputError: it can't.
    """
    check_writable(file.parent)
    if file.is_dir():
        raise InputError(f"the output file {file} is a folder")
    if file.exists() and not os.access(file, os.W_OK):
        raise InputError(f"the output file {file} can't be written to")


def check_folder(folder: Path) -> None:
    """Find out now whether a folder can be made, or written to where it is there; makes nothing.

    Raises:
      InputError: it can't.
    """
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir():
        which = "it" if nearest == folder else nearest
        raise InputError(f"the output folder {folder} can't be written to: {which} is a file")
    if not os.access(nearest, os.W_OK):
        raise InputError(f"the output folder {folder} can't be written to: no permission to write to {nearest}")


def command(module: str, *arguments: object) -> str:
    """How to run a module of this project with the Python that runs now, ready to be pasted into a shell."""
    here = os.path.relpath(sys.executable)
    python = sys.executable if here.startswith(os.pardir) else here
    return shlex.join([python, "-m", module, *map(str, arguments)])


def _program() -> str | None:
    """How the program that runs now is called, as --help shows it; tyro's own choice where it is no module."""
    spec = sys.modules["__main__"].__spec__
    return None if spec is None else f"python -m {spec.name.removesuffix('.__main__')}"


def _check_streams() -> None:
    """Whoever started us may have closed them; Python then says None."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - for as long as we live
    if sys.stdout is None:
        sys.exit(_complain("standard output is closed; to see nothing, send it to /dev/null", 2))


def _complain(error: object, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code
