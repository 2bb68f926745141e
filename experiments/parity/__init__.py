"""Our layers beside other libraries' with the same weights: outputs, final states and every gradient.

- `__main__.py`: the command that measures, and its table
- `cases.py`: every library, cell and form that is measured, and the bars
- `measuring.py`: one problem, one loss, and results of the same form from both
"""
