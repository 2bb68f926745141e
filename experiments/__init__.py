"""Studies and command lines built on lstmjax; each module runs with `python -m experiments.NAME`."""

import signal
import sys

from experiments.signals import stop_at_once

if sys.argv[0] == "-m":  # one of them is about to run: Ctrl-C ends it in order while the libraries are still loading
    signal.signal(signal.SIGINT, stop_at_once)
