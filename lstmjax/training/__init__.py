"""Training: state, step, evaluation, checkpoints and the loop that ties them together."""

from lstmjax.training.checkpoint import Checkpoints
from lstmjax.training.evaluate import EXACT, EvaluationPlan, make_evaluate
from lstmjax.training.loop import Cadence, DivergedError, Observer, fit
from lstmjax.training.run_folder import RunFolder
from lstmjax.training.state import TrainState, initial_train_state
from lstmjax.training.step import OptimizerConfig, make_optimizer, make_train_step
from lstmjax.trees import split_model

__all__ = [
    "EXACT",
    "Cadence",
    "Checkpoints",
    "DivergedError",
    "EvaluationPlan",
    "Observer",
    "OptimizerConfig",
    "RunFolder",
    "TrainState",
    "fit",
    "initial_train_state",
    "make_evaluate",
    "make_optimizer",
    "make_train_step",
    "split_model",
]
