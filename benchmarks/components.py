"""How fast the layers are beside the plain Keras layers on the same shapes.

    python benchmarks/components.py [--repeats 15]

TensorFlow, one thread, forward and backward pass of one compiled step; medians of the process's CPU
time, and ratios within this run. The contenders take turns, so that a slow minute of the machine
hits all of them.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["KERAS_BACKEND"] = "tensorflow"

import keras
import numpy as np
import tensorflow as tf

from tsfusion import components

B, T, WIDTH, HEADS, SLOTS, VARIABLES = 64, 192, 64, 4, 32, 11


def tensor(*shape: int) -> tf.Tensor:
    return tf.constant(np.random.default_rng(0).normal(size=shape).astype("float32"))


def step(forward: Callable, layers: list, xla: bool) -> Callable:
    """Return a compiled forward and backward pass."""
    forward()
    weights = [weight.value for layer in layers for weight in layer.trainable_weights]

    @tf.function(jit_compile=xla)
    def run():
        with tf.GradientTape() as tape:
            output = forward()
            loss = tf.reduce_sum(output**2)
        return loss, tape.gradient(loss, weights)

    return run


def measure(contenders: dict[str, Callable], repeats: int) -> dict[str, float]:
    """Return the median CPU milliseconds of each."""
    times: dict[str, list[float]] = {name: [] for name in contenders}
    for run in contenders.values():
        run()
        run()
    for _ in range(repeats):
        for name, run in contenders.items():
            begin = time.process_time()
            run()
            times[name].append(1e3 * (time.process_time() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def attention(repeats: int, xla: bool) -> None:
    """Compare attention layers with the bare MultiHeadAttention calls that they stand for."""
    x, y = tensor(B, T, WIDTH), tensor(B, T, WIDTH)

    def mha(**kwargs):
        return keras.layers.MultiHeadAttention(HEADS, WIDTH, output_shape=WIDTH, **kwargs)

    def dense():
        return keras.layers.Dense(WIDTH)

    def pair(ours, call, theirs, bare):
        """Time a layer of ours and the bare layers that do the same."""
        return {"ours": step(call, [ours], xla), "bare": step(bare, theirs, xla)}

    cross = components.CrossAttention(WIDTH, HEADS)
    d1, d2, m1 = dense(), dense(), mha()

    def bare_cross():
        value = d2(y)
        return m1(query=d1(x), value=value, key=value)

    hierarchical = components.HierarchicalAttention(WIDTH, HEADS)
    d3, d4, m3, m4 = dense(), dense(), mha(), mha()

    def bare_hierarchical():
        a, b = d3(x), d4(y)
        return m3(query=a, value=a, key=a) + m4(query=b, value=b, key=b)

    memory = components.MemoryAugmentedAttention(WIDTH, SLOTS, HEADS)
    slots, m5 = tensor(SLOTS, WIDTH), mha()

    def bare_memory():
        spread = tf.broadcast_to(slots[None], (B, SLOTS, WIDTH))
        return x + m5(query=x, value=spread, key=spread)

    explainable = components.ExplainableAttention(HEADS, WIDTH)
    m6 = mha()

    def bare_scores():
        return m6(query=x, value=x, key=x, return_attention_scores=True)[1]

    interpretable = components.InterpretableMultiHeadAttention(WIDTH, HEADS, dropout_rate=0.0)
    m7 = mha()

    def bare_interpretable():
        return m7(query=x, value=y, key=y)

    rows = {
        "CrossAttention": pair(cross, lambda: cross([x, y]), [d1, d2, m1], bare_cross),
        "HierarchicalAttention": pair(
            hierarchical, lambda: hierarchical([x, y]), [d3, d4, m3, m4], bare_hierarchical
        ),
        "MemoryAugmentedAttention": pair(memory, lambda: memory(x), [m5], bare_memory),
        "ExplainableAttention": pair(explainable, lambda: explainable(x), [m6], bare_scores),
        "InterpretableMultiHead": pair(
            interpretable, lambda: interpretable(x, y, y), [m7], bare_interpretable
        ),
    }
    print(f"\nAttention, [{B}, {T}, {WIDTH}], {HEADS} heads, XLA {'on' if xla else 'off'}")
    print(f"{'layer':<28}{'ours ms':>10}{'bare ms':>10}{'ratio':>8}")
    for name, contenders in rows.items():
        result = measure(contenders, repeats)
        ratio = result["ours"] / result["bare"]
        print(f"{name:<28}{result['ours']:>10.1f}{result['bare']:>10.1f}{ratio:>8.2f}")


def selection(repeats: int, xla: bool) -> None:
    """Compare variable selection with one gated residual network layer per variable."""
    reals = tensor(B, T, VARIABLES)
    embedding = components.RealEmbedding(WIDTH)
    embedding.build(reals.shape)
    networks = [components.GatedResidualNetwork(WIDTH) for _ in range(VARIABLES)]
    chooser = components.GatedResidualNetwork(WIDTH, output_size=VARIABLES)

    def loop():
        embedded = embedding(reals)
        weights = tf.nn.softmax(chooser(tf.reshape(embedded, (B, T, VARIABLES * WIDTH))))
        parts = [net(embedded[:, :, v]) for v, net in enumerate(networks)]
        return tf.add_n([weights[..., v : v + 1] * part for v, part in enumerate(parts)])

    contenders = {"one GRN layer per variable": step(loop, [*networks, chooser, embedding], xla)}
    for form in ("published", "light"):
        layer = components.VariableSelection(WIDTH, VARIABLES, form=form)
        layer.build((B, T, VARIABLES, WIDTH))

        def folded(layer=layer):
            return layer.select(
                reals=reals, real_kernel=embedding.kernel, real_bias=embedding.bias
            )[0]

        contenders[f"{form}, as in our models"] = step(folded, [layer, embedding], xla)
        contenders[f"{form}, on embedded input"] = step(
            lambda layer=layer: layer(embedding(reals)), [layer, embedding], xla
        )
    result = measure(contenders, max(repeats // 2, 5))
    print(
        f"\nVariable selection, [{B}, {T}], {VARIABLES} variables, width {WIDTH}, "
        f"XLA {'on' if xla else 'off'}"
    )
    print(f"{'form':<30}{'ms':>10}{'times faster':>14}")
    base = result["one GRN layer per variable"]
    for name, value in result.items():
        print(f"{name:<30}{value:>10.1f}{base / value:>14.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeats", type=int, default=15)
    arguments = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    for xla in (False, True):
        attention(arguments.repeats, xla)
        selection(arguments.repeats, xla)


if __name__ == "__main__":
    main()
