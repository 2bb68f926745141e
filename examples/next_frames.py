"""The next frame of a video, and ten more from the model's own: three convolutional LSTMs.

The program of Keras' `conv_lstm.py`. It reads Moving MNIST's `mnist_test_seq.npy`; without the file, clips of the same
form are made up. The last convolution looks back in time only: there it also sees the frame that is to be predicted.
"""

from pathlib import Path

import jax
import jax.numpy as jnp
import made_up
import matplotlib.pyplot as plt
import numpy as np
import optax
import tyro
from flax import nnx

import lstmjax as lx


def conv_lstm(channels: int, filters: int, kernel: int, size: int, rngs: nnx.Rngs) -> lx.Outputs:
    """The outputs at every step."""
    layer = lx.ConvLSTM(
        channels, filters, spatial_shape=(size, size), kernel_size=kernel, activation_fn=jax.nn.relu, rngs=rngs
    )
    return lx.Outputs(layer)


def frame_model(size: int, filters: int, rngs: nnx.Rngs) -> nnx.Sequential:
    """From frames [B, T, size, size, 1] to a logit for each pixel of the frames that follow them."""
    return nnx.Sequential(
        conv_lstm(1, filters, 5, size, rngs),
        nnx.BatchNorm(filters, rngs=rngs),
        conv_lstm(filters, filters, 3, size, rngs),
        nnx.BatchNorm(filters, rngs=rngs),
        conv_lstm(filters, filters, 1, size, rngs),
        nnx.Conv(filters, 1, kernel_size=(3, 3, 3), padding=((2, 0), (1, 1), (1, 1)), rngs=rngs),
    )


def loss_of(model: nnx.Sequential, clips: jax.Array) -> jax.Array:
    return jnp.mean(optax.sigmoid_binary_cross_entropy(model(clips[:, :-1]), clips[:, 1:]))


@nnx.jit
def train_step(model: nnx.Sequential, optimizer: nnx.Optimizer, clips: jax.Array) -> jax.Array:
    loss, gradients = nnx.value_and_grad(loss_of)(model, clips)
    optimizer.update(model, gradients, value=loss)
    return loss


def main(
    file: Path | None = None,
    out: Path = Path("frames.png"),
    count: int = 1000,
    filters: int = 64,
    batch_size: int = 5,
    epochs: int = 20,
    rate: float = 0.001,
) -> float:
    """Train, draw ten frames ahead of one clip, and return the loss of a pixel on clips that were not learned."""
    clips = np.swapaxes(np.load(file or made_up.clips(count=count)), 0, 1)[:count, ..., None].astype(np.float32) / 255
    train, test = np.split(np.random.default_rng(0).permutation(clips), [9 * len(clips) // 10])
    batches = lx.data.Shuffled(lx.data.Examples(train, train), batch_size, seed=0, drop_last=True)
    model, evaluate = frame_model(clips.shape[2], filters, nnx.Rngs(0)), nnx.jit(loss_of)
    plateau = optax.contrib.reduce_on_plateau(factor=0.1, patience=5, accumulation_size=len(batches))
    optimizer = nnx.Optimizer(model, optax.chain(optax.adam(rate), plateau), wrt=nnx.Param)
    best, waited = np.inf, 0
    for epoch in range(epochs):
        model.train()
        for position in range(len(batches)):
            train_step(model, optimizer, batches.batch(epoch * len(batches) + position).inputs)
        model.eval()
        loss = float(np.mean([evaluate(model, test[k : k + batch_size]) for k in range(0, len(test), batch_size)]))
        print(f"epoch {epoch + 1}: loss {loss:.4f} on clips that were not learned")
        best, waited = (loss, 0) if loss < best else (best, waited + 1)
        if waited == 10:
            break
    predict = nnx.jit(lambda model, frames: jax.nn.sigmoid(model(frames)))
    true, frames = test[:1], np.where(np.arange(true_steps := test.shape[1])[:, None, None, None] < 10, test[:1], 0)
    for step in range(10, true_steps):  # as nothing looks ahead, frames that are still to come do not matter
        frames[:, step] = predict(model, frames)[:, step - 1]
    draw(out, true[0, 10:], frames[0, 10:])
    return best


def draw(out: Path, true: np.ndarray, predicted: np.ndarray) -> None:
    figure, axes = plt.subplots(2, len(true), figsize=(2 * len(true), 4), layout="constrained")
    for row, clip, name in zip(axes, (true, predicted), ("what came", "predicted"), strict=True):
        for step, (axis, frame) in enumerate(zip(row, clip, strict=True)):
            axis.imshow(frame[..., 0], cmap="gray", vmin=0, vmax=1)
            axis.set(title=f"{name}, frame {step + 11}", xticks=[], yticks=[])
    figure.savefig(out)
    plt.close(figure)


if __name__ == "__main__":
    tyro.cli(main)
