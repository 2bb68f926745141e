"""How long and how much recurrent networks remember: `python -m experiments.memory_tasks`.

- `__main__.py`: its settings, the command
- `runs.py`: tasks, cells, and one run of a cell on a task
- `gradients.py`: norms of gradients back through time
- `results.py`: what was found, read and written; tables
- `pictures.py`: the figures
"""
