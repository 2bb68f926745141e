"""Generation: choosing symbols one after another from a model's scores, the whole loop compiled.

`start` and `decode`, or `decode_from` in one call, go over any step function and any kind of symbol; `beam_search`
finds the likeliest strings of the same step functions; the others write text with a language model.
Random numbers depend on the key, the row and the position alone: a row comes out the same in any batch, whole or in
pieces.

- `loop.py`: sampling, symbol after symbol
- `beam.py`: beam search over the same step functions
- `search.py`: the compiled loop of beam search
- `penalties.py`: what beam search puts beside a log probability: length, coverage
- `ensemble.py`: several step functions as one
- `text.py`: prompts, stop texts and streams for a language model
- `translation.py`: what sequence-to-sequence models write, in symbols
- `translated_text.py`: what sequence-to-sequence models write, as text
- `alignments.py`: which source steps attention looked at for each symbol
- `image_texts.py`: what image decoders write, and where they looked
- `forecasts.py`: points and sample paths of a forecaster
- `rolls.py`: music from a model of piano rolls
- `strokes.py`: drawings, each to its end
"""

from lstmjax.decoding.alignments import Alignment, alignments
from lstmjax.decoding.beam import beam_search
from lstmjax.decoding.ensemble import ensemble, mean_log_probabilities
from lstmjax.decoding.forecasts import Forecast, forecast
from lstmjax.decoding.image_texts import ImageText, looked_at, write_texts
from lstmjax.decoding.loop import Decoding, StepFn, decode, decode_from, start
from lstmjax.decoding.penalties import GNMTLength, PlainLength, coverage_penalty
from lstmjax.decoding.rolls import sample_rolls
from lstmjax.decoding.search import Beams
from lstmjax.decoding.strokes import StrokeSampling, generate_strokes
from lstmjax.decoding.text import generate, generate_text, stream, stream_text
from lstmjax.decoding.translated_text import Translation, translate_text
from lstmjax.decoding.translation import BeamSettings, sample_translations, translate
from lstmjax.sampling import GREEDY, BernoulliSampling, Draw, GaussianMixture, MixtureSampling, Sampling

__all__ = [
    "GREEDY",
    "Alignment",
    "BeamSettings",
    "Beams",
    "BernoulliSampling",
    "Decoding",
    "Draw",
    "Forecast",
    "GNMTLength",
    "GaussianMixture",
    "ImageText",
    "MixtureSampling",
    "PlainLength",
    "Sampling",
    "StepFn",
    "StrokeSampling",
    "Translation",
    "alignments",
    "beam_search",
    "coverage_penalty",
    "decode",
    "decode_from",
    "ensemble",
    "forecast",
    "generate",
    "generate_strokes",
    "generate_text",
    "looked_at",
    "mean_log_probabilities",
    "sample_rolls",
    "sample_translations",
    "start",
    "stream",
    "stream_text",
    "translate",
    "translate_text",
    "write_texts",
]
