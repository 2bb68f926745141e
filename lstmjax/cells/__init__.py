"""Recurrent cells: pure functions of parameters, state and one step's input."""

from lstmjax.cells.lstm import LSTM, LSTMParams, LSTMState

__all__ = ["LSTM", "LSTMParams", "LSTMState"]
