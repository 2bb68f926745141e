"""A process of its own, as instruction sets and threads are chosen once: results for pools of several sizes, in JSON.

`python -m tests.native_bits 1 2 4` with LSTMJAX_NATIVE_ISA set.
"""

import hashlib
import json
import os
import sys

import jax
import jax.extend.backend
import numpy as np

from lstmjax.kernels.native import library
from tests import native_problems
from tests.native_problems import Problem

PROBLEMS = (  # large enough for threads: which share units, then rows
    Problem("lstm", 83, 9, 3, 12, seed=1, valid="lengths", chunk=5),
    Problem("gru", 37, 13, 30, 9, seed=2, valid="any", has_resets=True, has_dropout=True, keeps_gates=True),
)


def keeps_subnormals():
    """The mode that this thread computes in."""
    return bool(np.array([1e-40], np.float32)[0] * np.ones(1, np.float32)[0] != 0)


def report(pool):
    """Bits of forward passes and of the gradients, and the largest error of all that a problem has."""
    os.environ["NPROC"] = str(pool)  # XLA takes the size of its pool from there
    jax.extend.backend.clear_backends()
    jax.clear_caches()
    forward, gradients, error = hashlib.sha256(), hashlib.sha256(), 0.0
    for problem in PROBLEMS:
        got = native_problems.results(problem)
        for tree, digest in zip(got, (forward, gradients), strict=True):
            for leaf in jax.tree.leaves(tree):
                digest.update(leaf.tobytes())
        error = max(error, *native_problems.errors(problem, got).values())
    return {"forward": forward.hexdigest(), "gradients": gradients.hexdigest(), "error": error}


if __name__ == "__main__":
    modes = [keeps_subnormals()]
    isa = library.isa()
    modes.append(keeps_subnormals())
    pools = {pool: report(int(pool)) for pool in sys.argv[1:]}
    modes.append(keeps_subnormals())
    print(json.dumps({"isa": isa, "keeps_subnormals": modes, "pools": pools}))
