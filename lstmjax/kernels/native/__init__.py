"""LSTM and GRU over time as one call of a library in C++, on CPUs.

- `library.py`: the library, or the reason why there is none
- `compile.py`: building it
"""
