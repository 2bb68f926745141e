"""What a process of the benchmark prepares, in a file of its own: each process imports it, and little else."""

import numpy as np

from experiments.speed.turns import Prepared


def prepare_sum(numbers):
    print("what a library prints is no answer")
    return Prepared({"sum": lambda: sum(numbers)}, lambda: {"sum": np.array([sum(numbers)])}, {"backend": "adds"})


def prepare_lstmjax(numbers):
    return prepare_sum(numbers)


def prepare_another(numbers):
    return prepare_sum([2 * one for one in numbers])
