"""Training any model on any task; nothing here knows a family or a vocabulary.

- `state.py`: all a run is at a moment
- `step.py`: one compiled step, on one device or several
- `devices.py`: meshes, and what is where on them
- `evaluate.py`: exact figures over a whole source
- `optimizers.py`: optimisers by config, and wrappers that hear of evaluations
- `loop.py`: `fit`
- `checkpoint.py`: saving, and verified reading
- `run_folder.py`: a run's files, its lock and its identity
"""

from lstmjax.training.checkpoint import Checkpoints
from lstmjax.training.devices import data_mesh
from lstmjax.training.evaluate import make_evaluate
from lstmjax.training.loop import Cadence, DivergedError, Observer, fit
from lstmjax.training.optimizers import Optimizer, OptimizerConfig, make_optimizer
from lstmjax.training.run_folder import RunFolder
from lstmjax.training.state import TrainState, initial_train_state
from lstmjax.training.step import make_train_step
from lstmjax.trees import split_model

__all__ = [
    "Cadence",
    "Checkpoints",
    "DivergedError",
    "Observer",
    "Optimizer",
    "OptimizerConfig",
    "RunFolder",
    "TrainState",
    "data_mesh",
    "fit",
    "initial_train_state",
    "make_evaluate",
    "make_optimizer",
    "make_train_step",
    "split_model",
]
