"""Recurrent cells: pure functions of parameters, state and one step's input.

- `base.py`: sizes, dtypes, first weights and the two products, which all cells have
- `lstm.py`: the LSTM, and the fields of its relatives
- `lstm_variants.py`: peephole, coupled and projected LSTM
- `gru.py`: the GRU in both its forms
- `elman.py`: the Elman network and IndRNN
- `layer_norm.py`: LSTM and GRU with layer normalisation
- `conv_lstm.py`: the LSTM over grids
- `convolution.py`: its product, with gradients that are fast on CPUs
- `wrappers.py`: cells stepped as one, and a look inside a cell
- `noise.py`: recurrent dropout, weight drop and zoneout
- `masked.py`: dropout on the hidden state where it enters a recurrent product
- `precision.py`: products in one dtype with sums in another
- `full_cell.py`: what a cell may have: noise, gates, a grid
- `shapes.py`: shapes of a cell's output and parameters
"""

from lstmjax.cells.base import HiddenState
from lstmjax.cells.conv_lstm import ConvLSTM
from lstmjax.cells.elman import ElmanParams, ElmanRNN, IndRNN
from lstmjax.cells.full_cell import input_shape
from lstmjax.cells.gru import GRU, GRUGates, GRUParams
from lstmjax.cells.layer_norm import LayerNormGRU, LayerNormGRUParams, LayerNormLSTM, LayerNormLSTMParams
from lstmjax.cells.lstm import LSTM, LSTMGates, LSTMParams, LSTMState
from lstmjax.cells.lstm_variants import (
    CoupledLSTM,
    PeepholeLSTM,
    PeepholeParams,
    ProjectedLSTM,
    ProjectedParams,
)
from lstmjax.cells.shapes import output_shape
from lstmjax.cells.wrappers import Record, Recording, StackedCells

__all__ = [
    "GRU",
    "LSTM",
    "ConvLSTM",
    "CoupledLSTM",
    "ElmanParams",
    "ElmanRNN",
    "GRUGates",
    "GRUParams",
    "HiddenState",
    "IndRNN",
    "LSTMGates",
    "LSTMParams",
    "LSTMState",
    "LayerNormGRU",
    "LayerNormGRUParams",
    "LayerNormLSTM",
    "LayerNormLSTMParams",
    "PeepholeLSTM",
    "PeepholeParams",
    "ProjectedLSTM",
    "ProjectedParams",
    "Record",
    "Recording",
    "StackedCells",
    "input_shape",
    "output_shape",
]
