"""Flax nnx layers: thin modules that hold parameters and call the core, without an RNG, and but for `Stateful` a state.

- `recurrent.py`: one cell over time
- `bidirectional.py`: two layers, one in each direction
- `stacked.py`: layers one on another, with and without residual connections
- `families.py`: whole stacks by name
- `outputs.py`: a layer's outputs without its state
- `stateful.py`: a layer that keeps its state between calls
- `time_distributed.py`: a layer for single steps, at every step
- `pooling.py`: one vector from the outputs of all steps
- `tags.py`: what scores of tags mean: each token's tag by itself, or a CRF
- `standardize.py`: numbers brought to mean 0 and deviation 1, and back
- `scaling.py`: time series to one scale, and forecasts back
- `keywords.py`: a sentence for every keyword that is another library's
- `flax_cell.py`: any cell in Flax's own `nnx.RNN`
"""

from lstmjax.layers.bidirectional import Bidirectional, BidirectionalState
from lstmjax.layers.families import GRU, LSTM, ConvLSTM, ElmanRNN, stack
from lstmjax.layers.flax_cell import FlaxCell
from lstmjax.layers.outputs import Outputs
from lstmjax.layers.pooling import AttentionPooling, Flatten, both_ends, last_step, max_over_time, mean_over_time
from lstmjax.layers.recurrent import Recurrent
from lstmjax.layers.scaling import SeriesScaler
from lstmjax.layers.stacked import Residual, Stacked
from lstmjax.layers.standardize import Standardize
from lstmjax.layers.stateful import LayerState, Stateful
from lstmjax.layers.tags import CRF, IndependentTags
from lstmjax.layers.time_distributed import TimeDistributed

__all__ = [
    "CRF",
    "GRU",
    "LSTM",
    "AttentionPooling",
    "Bidirectional",
    "BidirectionalState",
    "ConvLSTM",
    "ElmanRNN",
    "Flatten",
    "FlaxCell",
    "IndependentTags",
    "LayerState",
    "Outputs",
    "Recurrent",
    "Residual",
    "SeriesScaler",
    "Stacked",
    "Standardize",
    "Stateful",
    "TimeDistributed",
    "both_ends",
    "last_step",
    "max_over_time",
    "mean_over_time",
    "stack",
]
