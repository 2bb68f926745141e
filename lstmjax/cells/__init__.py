"""Recurrent cells: pure functions of parameters, state and one step's input."""

from lstmjax.cells.base import HiddenState
from lstmjax.cells.conv import ConvLSTM
from lstmjax.cells.elman import ElmanParams, ElmanRNN, IndRNN
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
from lstmjax.cells.shapes import input_shape, output_shape
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
