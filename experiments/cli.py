"""What every command line here shares: exit codes, and a sentence instead of a traceback for what a user can mend.

Exit codes: 0 done, 1 failed on the way, 2 the command or its input can't be used, 130 stopped by Ctrl-C.
"""

import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import jax
import tyro

from lstmjax.errors import InputError

Config = TypeVar("Config")


def parse(
    config: type[Config], description: str, arguments: Sequence[str] | None = None, default: Config | None = None
) -> Config:
    """Read a command line, by default this program's own, into a config.

    Raises:
      InputError: the config refuses its values (what can't be parsed at all, tyro itself reports, with exit code 2).
    """
    try:
        if default is None:
            return tyro.cli(config, description=description, args=arguments)
        return tyro.cli(config, description=description, args=arguments, default=default)
    except ValueError as error:
        raise InputError(str(error)) from error


def run(main: Callable[[], int]) -> None:
    """Run a program and exit with its code."""
    logging.basicConfig(format="%(message)s", level=logging.WARNING, force=True)
    logging.getLogger("absl").setLevel(logging.CRITICAL)  # orbax logs a traceback for each failure it also raises
    sys.stdout.reconfigure(errors="replace")  # type: ignore[union-attr]
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
        code = _complain("stopped", 130)
    sys.exit(code)


def _complain(error: object, code: int) -> int:
    print(f"error: {error}", file=sys.stderr)
    return code
