"""Flax nnx layers: thin modules that hold parameters and call the core. They hold no RNG and no state.

- `recurrent.py`: one cell over time
- `bidirectional.py`: two layers, one in each direction
- `stacked.py`: layers one on another, with and without residual connections
- `families.py`: whole stacks by name
- `time_distributed.py`: a layer for single steps, at every step
- `keywords.py`: a sentence for every keyword that is another library's
- `flax_cell.py`: any cell in Flax's own `nnx.RNN`
"""

from lstmjax.layers.bidirectional import Bidirectional, BidirectionalState
from lstmjax.layers.families import GRU, LSTM, ConvLSTM, ElmanRNN, stack
from lstmjax.layers.flax_cell import FlaxCell
from lstmjax.layers.recurrent import Recurrent
from lstmjax.layers.stacked import Residual, Stacked
from lstmjax.layers.time_distributed import TimeDistributed

__all__ = [
    "GRU",
    "LSTM",
    "Bidirectional",
    "BidirectionalState",
    "ConvLSTM",
    "ElmanRNN",
    "FlaxCell",
    "Recurrent",
    "Residual",
    "Stacked",
    "TimeDistributed",
    "stack",
]
