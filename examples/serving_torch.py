"""Whether a review is a good one, answered over HTTP: a BiLSTM in PyTorch, as `serving.py` has it in lstmjax."""

import argparse
import json
from http.server import BaseHTTPRequestHandler, HTTPServer

import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_sequence


class Reviewer(nn.Module):
    def __init__(self, words: int, embed: int, hidden: int):
        super().__init__()
        self.embed = nn.Embedding(words, embed)
        self.lstm = nn.LSTM(embed, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * hidden, 1)

    def forward(self, words: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
        packed = pack_padded_sequence(self.embed(words), lengths, batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        return self.head(torch.cat([h[-2], h[-1]], dim=1))[:, 0]


def predict(model: Reviewer, reviews: list[list[int]], longest: int) -> list[float]:
    rows = [torch.tensor(review[:longest]) for review in reviews]
    with torch.inference_mode():
        lengths = torch.tensor([len(row) for row in rows])
        return torch.sigmoid(model(pad_sequence(rows, batch_first=True), lengths)).tolist()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--weights")
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--words", type=int, default=20_000)
    parser.add_argument("--embed", type=int, default=128)
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--longest", type=int, default=256)
    args = parser.parse_args()
    model = Reviewer(args.words, args.embed, args.hidden)
    if args.weights:
        model.load_state_dict(torch.load(args.weights, weights_only=True))
    model.eval()
    for length in range(128, args.longest + 1, 128):
        predict(model, [[0] * length], args.longest)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            answer = json.dumps(
                predict(model, json.loads(self.rfile.read(int(self.headers["Content-Length"]))), args.longest)
            )
            self.send_response(200)
            self.end_headers()
            self.wfile.write(answer.encode())

    HTTPServer(("127.0.0.1", args.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
