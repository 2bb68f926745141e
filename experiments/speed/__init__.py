"""How fast our layers are beside other libraries' on the same machine, the same weights and the same inputs.

- `__main__.py`: the command that measures
- `spec.py`: the rows: shapes, modes and dtypes
- `problem.py`: the numbers of a row, from a seed
- `contenders/`: one library each, at its best
- `jobs.py`: an epoch of training, the way each library's users write it
- `worker.py`: a contender's process
- `processes.py`: these processes, seen from the one that asks
- `rounds.py`: contenders timed in turn
- `conv_lstm.py`: convolutional LSTMs beside Keras's, a command of its own
- `turns.py`: the same for any work, for the comparisons in other folders
- `machine.py`: the machine and its rates
- `formulas.py`: what a row costs by arithmetic
- `results.py`: what was measured, and its file
- `ratios.py`: from times to statements
- `report.py`: the report
- `tables.py`: its tables
- `plot.py`: the plot
"""
