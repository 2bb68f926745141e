"""Studies and command lines built on lstmjax; each of the first three groups runs with `python -m experiments.NAME`.

Studies:

- `train.py`: a language model of a text, by characters or words
- `names.py`: names that nobody has
- `classify/`: a label or a number for a sequence
- `forecast/`: the next steps of time series
- `tag/`: a tag for each word
- `translate/`: one sequence into another
- `clips.py`: a label for a clip, or for each frame
- `spell.py`: a text for an image
- `frames.py`: the next frames of a video
- `music/`: the next notes of a piano roll
- `strokes.py`: the next points of a drawing
- `memory_tasks/`: how long and how much networks remember

What trained language models do:

- `sample.py`: they write text
- `evaluate.py`: how well they predict a text
- `inspect.py`: what their units do over a text

Beside other libraries:

- `parity/`: whether all compute the same numbers
- `speed/`: how long each takes
- `peers/`: the other libraries' layers, with our weights
- `memory.py`: memory by backend

What these share:

- `study.py`: how a study runs, from its settings to its summary
- `settings.py`: the settings that every run has, and how its folder keeps them
- `ranges.py`: which values settings may have
- `parts.py`: data to learn from, to choose a model by, and to test on
- `baselines.py`: a model's figures beside those of simpler ones
- `trained.py`: what a trained model says of other data
- `cli.py`: command lines and exit codes
- `interrupts.py`: Ctrl-C
- `observers.py`: progress, metrics and their curves
- `canvas.py`: pictures in files
- `figures.py`: pictures of predictions
- `image_figures.py`: pictures of images and clips
- `frame_pictures.py`: pictures of videos
- `stroke_pictures.py`: pictures of drawings
- `inspect_pictures.py`: pictures of units over a text
- `image_parts.py`: parts of the image studies' data
- `vectors.py`: pretrained vectors of words
- `corpora.py`: where text comes from
- `recipes.py`: published settings of language models by name
- `ngrams.py`: baselines of language models
"""

import signal
import sys

from experiments.interrupts import stop_at_once

if sys.argv[0] == "-m":  # one of them is about to run: Ctrl-C ends it in order while the libraries are still loading
    signal.signal(signal.SIGINT, stop_at_once)
