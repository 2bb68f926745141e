"""The equations in NumPy, float64, one step at a time: what everything else is held against.

A step takes parameters and state by name and gives the new state by name.
"""

import numpy as np


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


def split(a: np.ndarray, gates: int) -> list[np.ndarray]:
    n = a.shape[-1] // gates
    return [a[..., k * n : (k + 1) * n] for k in range(gates)]


def norm(a: np.ndarray, epsilon: float = 1e-5) -> np.ndarray:
    return (a - a.mean(-1, keepdims=True)) / np.sqrt(a.var(-1, keepdims=True) + epsilon)


def lstm_step(p, state, x):
    i, f, g, o = split(x @ p["w_x"] + p["b"] + state["h"] @ p["w_h"], 4)
    c = sigmoid(f) * state["c"] + sigmoid(i) * np.tanh(g)
    return {"h": sigmoid(o) * np.tanh(c), "c": c}


def hard_lstm_step(p, state, x):
    def hard(a):
        return np.clip(a / 6 + 0.5, 0, 1)

    def soft_sign(a):
        return a / (1 + abs(a))

    i, f, g, o = split(x @ p["w_x"] + state["h"] @ p["w_h"], 4)
    c = hard(f) * state["c"] + hard(i) * soft_sign(g)
    return {"h": hard(o) * soft_sign(c), "c": c}


def peephole_step(p, state, x):
    i, f, g, o = split(x @ p["w_x"] + p["b"] + state["h"] @ p["w_h"], 4)
    w_i, w_f, w_o = p["w_c"]
    c = sigmoid(f + w_f * state["c"]) * state["c"] + sigmoid(i + w_i * state["c"]) * np.tanh(g)
    return {"h": sigmoid(o + w_o * c) * np.tanh(c), "c": c}


def coupled_step(p, state, x):
    f, g, o = split(x @ p["w_x"] + p["b"] + state["h"] @ p["w_h"], 3)
    c = sigmoid(f) * state["c"] + (1 - sigmoid(f)) * np.tanh(g)
    return {"h": sigmoid(o) * np.tanh(c), "c": c}


def projected_step(p, state, x):
    inner = lstm_step(p, state, x)
    return {"h": inner["h"] @ p["w_p"], "c": inner["c"]}


def layer_norm_lstm_step(p, state, x):
    a = p["scale_x"] * norm(x @ p["w_x"]) + p["scale_h"] * norm(state["h"] @ p["w_h"]) + p["b"]
    i, f, g, o = split(a, 4)
    c = sigmoid(f) * state["c"] + sigmoid(i) * np.tanh(g)
    return {"h": sigmoid(o) * np.tanh(p["scale_c"] * norm(c) + p["b_c"]), "c": c}


def conv_lstm_step(p, state, x, strides=(2, 1)):
    a = convolve(x, p["w_x"], strides) + p["b"] + convolve(state["h"], p["w_h"], (1, 1))
    i, f, g, o = split(a, 4)
    c = sigmoid(f) * state["c"] + sigmoid(i) * np.tanh(g)
    return {"h": sigmoid(o) * np.tanh(c), "c": c}


def gru_step(p, state, x):
    x_r, x_z, x_n = split(x @ p["w_x"] + p["b"], 3)
    h_r, h_z, h_n = split(state["h"] @ p["w_h"], 3)
    r, z = sigmoid(x_r + h_r), sigmoid(x_z + h_z)
    return {"h": z * state["h"] + (1 - z) * np.tanh(x_n + r * (h_n + p["b_h"]))}


def gru_original_step(p, state, x):
    x_r, x_z, x_n = split(x @ p["w_x"] + p["b"], 3)
    w_r, w_z, w_n = split(p["w_h"], 3)
    r, z = sigmoid(x_r + state["h"] @ w_r), sigmoid(x_z + state["h"] @ w_z)
    return {"h": z * state["h"] + (1 - z) * np.tanh(x_n + (r * state["h"]) @ w_n)}


def layer_norm_gru_step(p, state, x):
    def shares(a, gain):
        n = a.shape[-1] // 3
        return split(gain * np.concatenate([norm(a[..., : 2 * n]), norm(a[..., 2 * n :])], -1), 3)

    x_r, x_z, x_n = shares(x @ p["w_x"], p["scale_x"])
    h_r, h_z, h_n = shares(state["h"] @ p["w_h"], p["scale_h"])
    b_r, b_z, b_n = split(p["b"], 3)
    r, z = sigmoid(x_r + b_r + h_r), sigmoid(x_z + b_z + h_z)
    return {"h": z * state["h"] + (1 - z) * np.tanh(x_n + b_n + r * (h_n + p["b_h"]))}


def elman_step(p, state, x):
    return {"h": np.tanh(x @ p["w_x"] + p["b"] + state["h"] @ p["w_h"])}


def indrnn_step(p, state, x):
    return {"h": np.tanh(x @ p["w_x"] + p["b"] + state["h"] * p["w_h"])}


def stacked_step(p, state, x):
    below = lstm_step(p[0], state[0], x)
    return below, gru_step(p[1], state[1], below["h"])


def integrator_step(p, state, x):
    return {"sum": state["sum"] / 2 + x @ p}


def convolve(x, w, strides, dilation=(1, 1), same=True):
    """[B, X, Y, C] with [kx, ky, C, M], by the definition; "SAME" padding puts the odd zero at the end."""
    sizes, kernel = x.shape[1:3], w.shape[:2]
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if same:
        out = [-(-n // s) for n, s in zip(sizes, strides, strict=True)]
        pads = [max((m - 1) * s + r + 1 - n, 0) for m, s, r, n in zip(out, strides, reach, sizes, strict=True)]
        x = np.pad(x, [(0, 0), *((pad // 2, pad - pad // 2) for pad in pads), (0, 0)])
    else:
        out = [-(-(n - r) // s) for n, r, s in zip(sizes, reach, strides, strict=True)]
    y = np.zeros((len(x), *out, w.shape[-1]))
    for place in np.ndindex(*out):
        for tap in np.ndindex(*kernel):
            at = [p * s + t * d for p, s, t, d in zip(place, strides, tap, dilation, strict=True)]
            y[(slice(None), *place)] += x[(slice(None), *at)] @ w[tap]
    return y


def lstm(
    w_x: np.ndarray, w_h: np.ndarray, b: np.ndarray, xs: np.ndarray, lengths: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Outputs [B, T, H] and final h, c [B, H] from zero states; each row is cut to its own length first."""
    p = {"w_x": w_x, "w_h": w_h, "b": b}
    batch, steps, hidden = len(xs), xs.shape[1], w_h.shape[0]
    ys, hs, cs = np.zeros((batch, steps, hidden)), np.zeros((batch, hidden)), np.zeros((batch, hidden))
    for row in range(batch):
        for t in range(lengths[row]):
            after = lstm_step(p, {"h": hs[row], "c": cs[row]}, xs[row, t])
            ys[row, t] = hs[row] = after["h"]
            cs[row] = after["c"]
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
