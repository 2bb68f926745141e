"""Settings of language models by name: the options that `--recipe NAME` stands for; others given beside it win.

Published rates are for losses summed over a batch's steps, clipped at 5; ours are means over steps, so the rate is
multiplied by their number and the clip divided by it. Published runs start from uniform weights; ours from Flax's.
"""

import argparse
from collections.abc import Sequence

from lstmjax.errors import InputError

ZAREMBA = """--symbols words --batch-size 20 --model.num-layers 2
--optimizer.optimizer sgd --optimizer.warmup-steps 0 --optimizer.schedule plateau --optimizer.decay-patience 1"""

RECIPES = {
    # Ours: 2 x 200 in nine passes over the Penn Treebank.
    "tied-small": """--symbols words --batch-size 20 --chunk-length 35 --steps 12000 --eval-every 1500 --log-every 50
        --model.embed-features 200 --model.hidden-features 200 --model.num-layers 2 --model.tie-embeddings
        --model.input-dropout 0.2 --model.hidden-dropout 0.2 --model.output-dropout 0.2 --model.sampled-symbols 1500
        --optimizer.learning-rate 3e-3 --optimizer.warmup-steps 300 --optimizer.beta2 0.999""",
    # Zaremba, Sutskever and Vinyals 2014: 13 passes; the rate is halved when a pass brings nothing (there: in each pass
    # from the fifth on). Test perplexity of the Penn Treebank as TensorFlow's ptb_word_lm has it: 115.9.
    "zaremba-small": f"""{ZAREMBA} --chunk-length 20 --steps 30199 --eval-every 2323
        --model.embed-features 200 --model.hidden-features 200
        --optimizer.learning-rate 20 --optimizer.clip-norm 0.25 --optimizer.decay-factor 0.5""",
    # The same: 39 passes, times 0.8 (there: in each pass from the seventh on), dropout drawn anew at each step. 82.1.
    "zaremba-medium": f"""{ZAREMBA} --chunk-length 35 --steps 51753 --eval-every 1327
        --model.embed-features 650 --model.hidden-features 650
        --model.input-dropout 0.5 --model.hidden-dropout 0.5 --model.output-dropout 0.5
        --optimizer.learning-rate 35 --optimizer.clip-norm 0.143 --optimizer.decay-factor 0.8""",
    # Merity, Keskar and Socher 2018: 500 passes; 57.3 with their second training from the averaged weights.
    "awd-lstm": """--symbols words --batch-size 20 --chunk-length 70 --vary-lengths --steps 340500 --eval-every 681
        --model.embed-features 400 --model.hidden-features 1150 --model.num-layers 3 --model.tie-embeddings
        --model.embedding-dropout 0.1 --model.input-dropout 0.4 --model.hidden-dropout 0.25 --model.output-dropout 0.4
        --model.weight-drop 0.5 --model.activation-penalty 2 --model.temporal-penalty 1
        --optimizer.optimizer sgd --optimizer.learning-rate 30 --optimizer.warmup-steps 0 --optimizer.schedule constant
        --optimizer.clip-norm 0.25 --optimizer.weight-decay 1.2e-6
        --optimizer.average asgd --optimizer.average-patience 5""",
}


def expanded(arguments: Sequence[str]) -> list[str]:
    """A command line with its recipe's options before its own, which win.

    Raises:
      InputError: a recipe that there is not.

    >>> expanded(["--steps", "9", "--recipe", "zaremba-small"])[:4]
    ['--symbols', 'words', '--batch-size', '20']
    >>> expanded(["--steps", "9"])
    ['--steps', '9']
    """
    reader = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    reader.add_argument("--recipe", nargs="?")
    name = reader.parse_known_args(arguments)[0].recipe
    if name is None:  # what is wrong with the others is for the study to say
        return list(arguments)
    if name not in RECIPES:
        raise InputError(f"--recipe must be one of {', '.join(RECIPES)}, got {name!r}")
    return [*RECIPES[name].split(), *arguments]
