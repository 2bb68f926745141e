"""A layer over time and its gradients in NumPy, float64, written by hand: the equations and the chain rule, row by row.

Sequences are [T, B, .], states [B, H]; a GRU carries a `c` of zeros, so that all cells are run alike.
"""

from typing import NamedTuple

import numpy as np

from tests.reference import sigmoid, split


class Case(NamedTuple):
    """Arguments of a run, and the cotangents of its results.

    `initial` is what a reset goes back to, `keep` multiplies h where it enters the product with W_h.
    """

    kind: str
    params: dict
    xs: np.ndarray
    start: dict
    initial: dict
    valid: np.ndarray
    resets: np.ndarray
    keep: np.ndarray
    reverse: bool
    d_ys: np.ndarray
    d_end: dict


def run(case):
    """Outputs and the last state; the gradients of parameters, inputs, first and initial state."""
    ys, state = np.zeros((*case.xs.shape[:2], case.keep.shape[-1])), {k: v.copy() for k, v in case.start.items()}
    forward, backward = CELLS[case.kind]
    tape = []
    for t in range(len(case.xs))[:: -1 if case.reverse else 1]:
        rows = np.flatnonzero(case.valid[t])
        fresh = case.resets[t, rows][:, None]
        before = {k: np.where(fresh, case.initial[k][rows], state[k][rows]) for k in state}
        x, u = case.xs[t, rows], before["h"] * case.keep[rows]
        after, saved = forward(case.params, x, u, before)
        for k in state:
            state[k][rows] = after[k]
        ys[t, rows] = after["h"]
        tape.append((t, rows, fresh, x, u, before, saved))

    d_params = {k: np.zeros_like(v) for k, v in case.params.items()}
    d_xs, d_state = np.zeros_like(case.xs), {k: v.copy() for k, v in case.d_end.items()}
    d_initial = {k: np.zeros_like(v) for k, v in case.initial.items()}
    for t, rows, fresh, x, u, before, saved in reversed(tape):
        d_h, d_c = d_state["h"][rows] + case.d_ys[t, rows], d_state["c"][rows]
        d_step, d_xs[t, rows], d_u, d_h, d_c = backward(case.params, x, u, before, saved, d_h, d_c)
        for k, d in d_step.items():
            d_params[k] += d
        for k, d in {"h": d_h + d_u * case.keep[rows], "c": d_c}.items():
            d_state[k][rows] = np.where(fresh, 0.0, d)
            d_initial[k][rows] += np.where(fresh, d, 0.0)
    return (ys, state), (d_params, d_xs, d_state, d_initial)


def lstm_forward(p, x, u, before):
    i, f, g, o = split(x @ p["w_x"] + p["b"] + u @ p["w_h"], 4)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    c = f * before["c"] + i * g
    return {"h": o * np.tanh(c), "c": c}, (i, f, g, o, np.tanh(c))


def lstm_backward(p, x, u, before, saved, d_h, d_c):
    i, f, g, o, seen = saved
    d_c = d_c + d_h * o * (1 - seen**2)
    d_i, d_f = d_c * g * i * (1 - i), d_c * before["c"] * f * (1 - f)
    d_a = np.concatenate([d_i, d_f, d_c * i * (1 - g**2), d_h * seen * o * (1 - o)], -1)
    return weights(x, d_a, u, d_a), d_a @ p["w_x"].T, d_a @ p["w_h"].T, 0.0, d_c * f


def gru_forward(p, x, u, before):
    x_r, x_z, x_n = split(x @ p["w_x"] + p["b"], 3)
    h_r, h_z, h_n = split(u @ p["w_h"], 3)
    r, z, h_n = sigmoid(x_r + h_r), sigmoid(x_z + h_z), h_n + p["b_h"]
    n = np.tanh(x_n + r * h_n)
    return {"h": z * before["h"] + (1 - z) * n, "c": before["c"]}, (r, z, n, h_n)


def gru_backward(p, x, u, before, saved, d_h, d_c):
    r, z, n, h_n = saved
    d_n, d_z = d_h * (1 - z) * (1 - n**2), d_h * (before["h"] - n) * z * (1 - z)
    d_r = d_n * h_n * r * (1 - r)
    d_x, d_u = np.concatenate([d_r, d_z, d_n], -1), np.concatenate([d_r, d_z, d_n * r], -1)
    return weights(x, d_x, u, d_u) | {"b_h": (d_n * r).sum(0)}, d_x @ p["w_x"].T, d_u @ p["w_h"].T, d_h * z, d_c


def gru_original_forward(p, x, u, before):
    x_r, x_z, x_n = split(x @ p["w_x"] + p["b"], 3)
    w_r, w_z, w_n = split(p["w_h"], 3)
    r, z = sigmoid(x_r + u @ w_r), sigmoid(x_z + u @ w_z)
    n = np.tanh(x_n + (r * u) @ w_n)
    return {"h": z * before["h"] + (1 - z) * n, "c": before["c"]}, (r, z, n)


def gru_original_backward(p, x, u, before, saved, d_h, d_c):
    r, z, n = saved
    w_r, w_z, w_n = split(p["w_h"], 3)
    d_n, d_z = d_h * (1 - z) * (1 - n**2), d_h * (before["h"] - n) * z * (1 - z)
    d_product = d_n @ w_n.T
    d_r = d_product * u * r * (1 - r)
    d_a = np.concatenate([d_r, d_z, d_n], -1)
    d_w_h = np.concatenate([u.T @ d_r, u.T @ d_z, (r * u).T @ d_n], -1)
    d_u = d_r @ w_r.T + d_z @ w_z.T + d_product * r
    return {"w_x": x.T @ d_a, "w_h": d_w_h, "b": d_a.sum(0)}, d_a @ p["w_x"].T, d_u, d_h * z, d_c


def weights(x, d_x, u, d_u):
    return {"w_x": x.T @ d_x, "w_h": u.T @ d_u, "b": d_x.sum(0)}


CELLS = {
    "lstm": (lstm_forward, lstm_backward),
    "gru": (gru_forward, gru_backward),
    "gru-original": (gru_original_forward, gru_original_backward),
}
