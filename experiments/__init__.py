"""Studies and command lines built on lstmjax; each module runs with `python -m experiments.NAME`."""
