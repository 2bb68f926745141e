"""The equations in NumPy, float64, one sequence and one step at a time: what everything else is held against."""

import numpy as np


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


def lstm_step(
    w_x: np.ndarray, w_h: np.ndarray, b: np.ndarray, h: np.ndarray, c: np.ndarray, x: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    n = h.shape[-1]
    z = x @ w_x + h @ w_h + b
    i, f, g, o = z[..., :n], z[..., n : 2 * n], z[..., 2 * n : 3 * n], z[..., 3 * n :]
    c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
    return sigmoid(o) * np.tanh(c), c


def lstm(
    w_x: np.ndarray, w_h: np.ndarray, b: np.ndarray, xs: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs [B, T, H] and final h, c [B, H] from zero states; each row is cut to its own length first."""
    batch, steps, hidden = len(xs), xs.shape[1], w_h.shape[0]
    ys, hs, cs = np.zeros((batch, steps, hidden)), np.zeros((batch, hidden)), np.zeros((batch, hidden))
    for row in range(batch):
        for t in range(lengths[row]):
            hs[row], cs[row] = lstm_step(w_x, w_h, b, hs[row], cs[row], xs[row, t])
            ys[row, t] = hs[row]
    return ys, hs, cs


def top_k(probabilities: np.ndarray, k: int) -> np.ndarray:
    """The definition: all but the k likeliest get nothing, and the rest is scaled to one."""
    kept = np.zeros_like(probabilities)
    for symbol in sorted(range(len(probabilities)), key=lambda s: -probabilities[s])[:k]:
        kept[symbol] = probabilities[symbol]
    return kept / kept.sum()


def top_p(probabilities: np.ndarray, p: float) -> np.ndarray:
    """The definition: likeliest first, symbols are taken until they hold at least p; the rest get nothing."""
    kept, held = np.zeros_like(probabilities), 0.0
    for symbol in sorted(range(len(probabilities)), key=lambda s: -probabilities[s]):
        if held >= p:
            break
        kept[symbol] = probabilities[symbol]
        held += probabilities[symbol]
    return kept / kept.sum()
