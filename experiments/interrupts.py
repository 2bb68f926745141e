"""What Ctrl-C and SIGTERM do; without heavy imports, so that it holds while those are still under way."""

import contextlib
import os
import signal
import sys
from types import FrameType
from typing import Any

STOPPED = 130
"""The exit code of a program that was stopped."""


def stop_at_once(number: int, frame: FrameType | None) -> None:
    """Say so and end the process here.

    A KeyboardInterrupt instead would be raised wherever Python happens to be; inside a compiler that calls back, it
    ends in a segmentation fault. Nothing is lost by not unwinding: files and checkpoints are replaced whole or not.
    """
    with contextlib.suppress(Exception):  # a stream that is closed, or busy in the code that was interrupted
        sys.stdout.write("\x1b[?25h" if sys.stdout.isatty() else "")  # a progress line hides the cursor
        sys.stdout.flush()
    with contextlib.suppress(OSError):
        os.write(2, b"error: stopped\n")
    os._exit(STOPPED)


class StopOnSignal:
    """While active, the first Ctrl-C or SIGTERM asks for a stop after the current step; the next one stops at once."""

    def __init__(self) -> None:
        self._asked = False
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> "StopOnSignal":
        for number in (signal.SIGINT, signal.SIGTERM):
            self._previous[number] = signal.signal(number, self._ask)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)

    def is_set(self) -> bool:
        return self._asked

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            stop_at_once(number, frame)
        self._asked = True
