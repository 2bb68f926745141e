"""Whether a review is a good one, answered over HTTP: a BiLSTM that PyTorch has trained, served without it.

    python examples/serving.py --weights reviews.pt &
    curl -d '[[12, 7, 345], [8, 1]]' localhost:8000      gives one probability for each list of words

There is no well-known program of this kind: the other side is `serving_torch.py`, written for this comparison.
`reviews.pt` is its `state_dict`, as `torch.save` wrote it. Without one, the weights are drawn.
"""

import json
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import jax
import tyro
from flax import nnx

import lstmjax as lx


class Reviewer(nnx.Module):
    def __init__(self, words: int, embed: int, hidden: int, rngs: nnx.Rngs):
        self.embed = nnx.Embed(words, embed, rngs=rngs)
        self.lstm = lx.LSTM(embed, hidden, num_layers=2, bidirectional=True, rngs=rngs)
        self.head = nnx.Linear(2 * hidden, 1, rngs=rngs)

    def __call__(self, words: jax.Array, lengths: jax.Array) -> jax.Array:
        ys, _ = self.lstm(self.embed(words), lengths=lengths)
        return self.head(lx.layers.both_ends(ys, lengths=lengths))[:, 0]


def compiled(model: Reviewer, longest: int, every: int = 128) -> Callable[[list[list[int]]], list[float]]:
    """A probability for each of a few reviews; compiled beforehand for one review of each padded length."""
    graph, params = nnx.split(model)
    probability = jax.jit(lambda params, *inputs: jax.nn.sigmoid(nnx.merge(graph, params)(*inputs)))

    def predict(reviews: list[list[int]]) -> list[float]:
        return probability(params, *lx.pad([review[:longest] for review in reviews], multiple_of=every)).tolist()

    for length in range(every, longest + 1, every):
        predict([[0] * length])
    return predict


def server(predict: Callable[[list[list[int]]], list[float]], port: int) -> HTTPServer:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = json.dumps(predict(json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

    return HTTPServer(("127.0.0.1", port), Handler)


def main(
    weights: Path | None = None,
    port: int = 8000,
    words: int = 20_000,
    embed: int = 128,
    hidden: int = 64,
    longest: int = 256,
) -> None:
    model = Reviewer(words, embed, hidden, nnx.Rngs(0))
    if weights is not None:
        lx.interop.load_torch(model, weights, {"embed": "embed", "lstm": "lstm", "head": "head"})
    server(compiled(model, longest), port).serve_forever()


if __name__ == "__main__":
    tyro.cli(main)
