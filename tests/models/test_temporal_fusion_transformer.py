"""The model against the paper in NumPy, and what must and must not have an influence."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from tests.conftest import grid
from tsfusion.models import FusionTransformer, TemporalFusionTransformer

pytestmark = pytest.mark.backends

BACKEND = keras.backend.backend()
SHARED = (FusionTransformer, TemporalFusionTransformer)
# Without compiling, JAX runs a training step one operation at a time: minutes for this model.
JIT = BACKEND == "jax"
B, T, H = 3, 6, 4
LEVELS = [0.1, 0.5, 0.9]
PLAIN: dict[str, Any] = {"horizon": H, "quantiles": LEVELS, "hidden_size": 8, "num_heads": 2}
FULL: dict[str, Any] = {
    **PLAIN,
    "num_past_real": 3,
    "past_cardinalities": [4, 3],
    "num_future_real": 2,
    "future_cardinalities": [5],
    "num_static_real": 2,
    "static_cardinalities": [3],
}
REALS: dict[str, Any] = {**PLAIN, "num_past_real": 3, "num_future_real": 2}
STATICS: dict[str, Any] = {**PLAIN, "num_static_real": 1}
CODES: dict[str, Any] = {
    **PLAIN,
    "past_cardinalities": [4],
    "future_cardinalities": [5, 2],
    "static_cardinalities": [3, 4],
}
PAPER_HEAD = {**REALS, "monotone_quantiles": False}
CONFIGS = {
    "full": FULL,
    "reals": REALS,
    "target-only": PLAIN,
    "one-static": STATICS,
    "codes": CODES,
    "paper-head": PAPER_HEAD,
}


def make(config: dict[str, Any], seed: int = 3, **kwargs: Any) -> TemporalFusionTransformer:
    """A model whose every weight is away from its start, so that none can be forgotten."""
    keras.utils.set_random_seed(seed)
    model = TemporalFusionTransformer(**config, **kwargs)
    model.build()
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        noise = rng.normal(size=weight.shape) * 0.2
        weight.assign(ops.convert_to_numpy(weight) + noise.astype("float32"))
    return model


def windows(
    config: dict[str, Any], unknown: bool = False, masked: bool = False, batch: int = B
) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(11)
    found: dict[str, np.ndarray] = {}
    for role, steps in (("past", (T,)), ("future", (H,)), ("static", ())):
        reals = config.get(f"num_{role}_real", 1 if role == "past" else 0)
        sizes = config.get(f"{role}_cardinalities", ())
        if reals:
            values = rng.normal(size=(batch, *steps, reals)).astype("float32")
            if unknown:
                values[rng.random(values.shape) < 0.3] = np.nan
            found[f"{role}_real"] = values
        if sizes:
            codes = [rng.integers(0, size, size=(batch, *steps)) for size in sizes]
            found[f"{role}_categorical"] = np.stack(codes, axis=-1).astype("int32")
    if masked:
        mask = np.ones((batch, T), bool)
        mask[0, :2] = False
        mask[0, 4] = False
        mask[1] = False
        found["past_mask"] = mask
    return found


def run(model: Any, inputs: dict[str, np.ndarray], **kwargs: Any) -> Any:
    outputs = compiled(model, **kwargs)(inputs) if BACKEND == "jax" else model(inputs, **kwargs)
    if isinstance(outputs, dict):
        return {name: ops.convert_to_numpy(value) for name, value in outputs.items()}
    return ops.convert_to_numpy(outputs)


COMPILED: dict[str, Any] = {}


def compiled(model: Any, **kwargs: Any) -> Any:
    """The model as one function of JAX: step by step, JAX compiles hundreds of operations.

    Models of one configuration share the function, which takes the weights as arguments.
    """
    import jax

    config = {**model.get_config(), "name": ""} if type(model) in SHARED else id(model)
    key = json.dumps([type(model).__name__, config, kwargs])
    if key not in COMPILED:
        # With a reference to the model, so that its id is not given to another.
        COMPILED[key] = model, jax.jit(lambda *given: model.stateless_call(*given, **kwargs))

    def call(inputs: dict[str, np.ndarray]) -> Any:
        state = [
            [variable.value for variable in variables]
            for variables in (model.trainable_variables, model.non_trainable_variables)
        ]
        outputs, later = COMPILED[key][1](*state, inputs)
        # Seeds go on, as in a plain call.
        for variable, value in zip(model.non_trainable_variables, later, strict=True):
            variable.assign(value)
        return outputs

    return call


# The paper in NumPy: one variable and one step at a time, from the same weights.


def sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def elu(x: Any) -> Any:
    return np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1)


def norm(x: Any, gamma: Any, beta: Any) -> Any:
    return gamma * (x - x.mean()) / np.sqrt(x.var() + 1e-3) + beta


def softmax(x: Any) -> Any:
    e = np.exp(x - x.max())
    return e / e.sum()


class Paper:
    """Equations 2-24 of Lim et al. (2021), for one window."""

    def __init__(self, model: TemporalFusionTransformer) -> None:
        self.config = model.get_config()
        self.weights = {
            weight.path.split("/", 1)[1]: ops.convert_to_numpy(weight).astype("float64")
            for weight in model.weights
            if "seed" not in weight.path
        }

    def __getitem__(self, name: str) -> Any:
        return self.weights[name]

    def glu(self, name: str, x: Any) -> Any:
        w4, w5 = np.split(self[f"{name}/kernel"], 2, axis=-1)
        b4, b5 = np.split(self[f"{name}/bias"], 2)
        return sigmoid(x @ w4 + b4) * (x @ w5 + b5)

    def grn(self, name: str, a: Any, c: Any = None) -> Any:
        eta2 = a @ self[f"{name}/hidden_dense/kernel"] + self[f"{name}/hidden_dense/bias"]
        if c is not None:
            eta2 = eta2 + c @ self[f"{name}/context_kernel"]
        eta1 = elu(eta2) @ self[f"{name}/linear_dense/kernel"] + self[f"{name}/linear_dense/bias"]
        x = a + self.glu(f"{name}/gate", eta1)
        return norm(x, self[f"{name}/gamma"], self[f"{name}/beta"])

    def skip(self, name: str, x: Any, around: Any) -> Any:
        y = around + self.glu(f"{name}/gate", x)
        return norm(y, self[f"{name}/gamma"], self[f"{name}/beta"])

    def embed(self, role: str, reals: Any, codes: Any) -> list[tuple[Any, bool]]:
        found = []
        for v, x in enumerate(reals):
            known = not np.isnan(x)
            kernel = self[f"{role}_real_embedding/kernel"][v]
            bias = self[f"{role}_real_embedding/bias"][v]
            found.append((x * kernel + bias if known else None, known))
        offset = 0
        for size, code in zip(self.config[f"{role}_cardinalities"], codes):
            found.append((self[f"{role}_categorical_embedding/table"][offset + code], True))
            offset += size
        return found

    def select(self, role: str, reals: Any, codes: Any, c: Any, known: bool = True) -> Any:
        width = self.config["hidden_size"]
        variables = self.embed(role, reals, codes)
        xs = [x if ok and known else np.zeros(width) for x, ok in variables]
        valid = np.array([ok and known for _, ok in variables])
        name, count = f"{role}_selection", len(xs)
        values = []
        for v, x in enumerate(xs):
            eta2 = elu(x @ self[f"{name}/hidden_kernel"][v] + self[f"{name}/hidden_bias"][v])
            eta1 = eta2 @ self[f"{name}/linear_kernel"][v] + self[f"{name}/linear_bias"][v]
            w4, w5 = np.split(self[f"{name}/gate_kernel"][v], 2, axis=-1)
            b4, b5 = np.split(self[f"{name}/gate_bias"][v], 2)
            y = x + sigmoid(eta1 @ w4 + b4) * (eta1 @ w5 + b5)
            values.append(norm(y, self[f"{name}/gamma"][v], self[f"{name}/beta"][v]))
        weights = np.zeros(count)
        if count == 1:
            weights[valid] = 1
        elif valid.any():
            weights[valid] = softmax(self.choose(name, np.concatenate(xs), c)[valid])
        return sum(w * value for w, value in zip(weights, values)), weights

    def choose(self, name: str, flat: Any, c: Any) -> Any:
        eta2 = flat @ self[f"{name}/choice_hidden_kernel"].reshape(len(flat), -1)
        eta2 = eta2 + self[f"{name}/choice_hidden_bias"]
        if c is not None:
            eta2 = eta2 + c @ self[f"{name}/choice_context_kernel"]
        eta1 = elu(eta2) @ self[f"{name}/choice_linear_kernel"]
        eta1 = eta1 + self[f"{name}/choice_linear_bias"]
        w4, w5 = np.split(self[f"{name}/choice_gate_kernel"], 2, axis=-1)
        b4, b5 = np.split(self[f"{name}/choice_gate_bias"], 2)
        around = flat @ self[f"{name}/choice_skip_kernel"].reshape(len(flat), -1)
        around = around + self[f"{name}/choice_skip_bias"]
        y = around + sigmoid(eta1 @ w4 + b4) * (eta1 @ w5 + b5)
        return norm(y, self[f"{name}/choice_gamma"], self[f"{name}/choice_beta"])

    def lstm(self, name: str, xs: Any, h: Any, c: Any, mask: Any) -> Any:
        hs = []
        for x, known in zip(xs, mask):
            if known:
                z = x @ self[f"{name}/kernel"] + h @ self[f"{name}/recurrent_kernel"]
                i, f, g, o = np.split(z + self[f"{name}/bias"], 4)
                c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
                h = sigmoid(o) * np.tanh(c)
            hs.append(h)
        return hs, h, c

    def attend(self, queries: Any, keys: Any, mask: Any) -> Any:
        width, heads = self.config["hidden_size"], self.config["num_heads"]
        d = width // heads
        wk, wv = np.split(self["attention/key_value_kernel"], [width], axis=-1)
        scores = np.zeros((heads, len(queries), len(keys)))
        outputs = []
        for j, query in enumerate(queries):
            head = 0
            for n in range(heads):
                part = slice(n * d, (n + 1) * d)
                q = query @ self["attention/query_kernel"][:, part]
                seen = [s for s in range(len(keys) - len(queries) + j + 1) if mask[s]]
                a = softmax(np.array([q @ (keys[s] @ wk[:, part]) / np.sqrt(d) for s in seen]))
                scores[n, j, seen] = a
                head = head + sum(w * (keys[s] @ wv) for w, s in zip(a, seen)) / heads
            outputs.append(head @ self["attention/output_kernel"])
        return outputs, scores

    def head(self, x: Any) -> Any:
        z = x @ self["head/kernel"] + self["head/bias"]
        if not self.config["monotone_quantiles"]:
            return z
        levels = np.array(self.config["quantiles"])
        m = int(np.argmin(np.abs(levels - 0.5)))
        y = z.copy()
        for j in range(m + 1, len(z)):
            y[j] = y[j - 1] + np.log1p(np.exp(z[j]))
        for j in range(m - 1, -1, -1):
            y[j] = y[j + 1] - np.log1p(np.exp(z[j]))
        return y

    def __call__(self, window: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        width = self.config["hidden_size"]
        mask = window.get("past_mask", np.ones(T, bool))
        found: dict[str, Any] = {}

        def variables(role: str, t: Any) -> tuple[Any, Any]:
            names = (f"{role}_real", f"{role}_categorical")
            return tuple(window[name][t] if name in window else () for name in names)

        contexts = dict.fromkeys(("selection", "enrichment", "hidden", "cell"))
        if self.config["num_static_real"] or self.config["static_cardinalities"]:
            summary, found["static_selection"] = self.select(
                "static", *variables("static", ...), None
            )
            for name in contexts:
                if f"context_{name}/gamma" in self.weights:
                    contexts[name] = self.grn(f"context_{name}", summary)
        past, found["past_selection"] = zip(
            *(
                self.select("past", *variables("past", t), contexts["selection"], mask[t])
                for t in range(T)
            )
        )
        future = [np.zeros(width)] * H
        if "future_real" in window or "future_categorical" in window:
            future, found["future_selection"] = zip(
                *(
                    self.select("future", *variables("future", t), contexts["selection"])
                    for t in range(H)
                )
            )
        h = np.zeros(width) if contexts["hidden"] is None else contexts["hidden"]
        c = np.zeros(width) if contexts["cell"] is None else contexts["cell"]
        encoded, h, c = self.lstm("encoder", past, h, c, mask)
        decoded, h, c = self.lstm("decoder", future, h, c, [True] * H)
        local = [
            self.skip("recurrent_skip", x, around)
            for x, around in zip([*encoded, *decoded], [*past, *future])
        ]
        enriched = [self.grn("enrichment", x, contexts["enrichment"]) for x in local]
        attended, found["attention"] = self.attend(
            enriched[T:], enriched, np.concatenate([mask, np.ones(H, bool)])
        )
        quantiles = []
        for x, query, around in zip(attended, enriched[T:], local[T:]):
            y = self.grn("position_wise", self.skip("attention_skip", x, query))
            quantiles.append(self.head(self.skip("output_skip", y, around)))
        return {"quantiles": np.stack(quantiles)} | {
            name: np.asarray(value) for name, value in found.items()
        }


def by_paper(model: Any, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    paper = Paper(model)
    answers = [
        paper({name: value[b] for name, value in inputs.items()})
        for b in range(len(inputs["past_real"]))
    ]
    return {name: np.stack([answer[name] for answer in answers]) for name in answers[0]}


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_equals_the_paper(config: dict[str, Any], gaps: bool) -> None:
    model = make(config)
    inputs = windows(config, unknown=gaps, masked=gaps)
    found = run(model, inputs, return_attention=True)
    expected = by_paper(model, inputs)
    assert sorted(found) == sorted(expected)
    for name, value in expected.items():
        # Masked steps leave little spread for the norms to divide by: noise of 1e-6 comes out
        # as 1e-4 there.
        bound = 1e-4 if gaps else 1e-5
        np.testing.assert_allclose(found[name], value, atol=bound, rtol=bound, err_msg=name)
    # Float32 of another order of sums, for another set of outputs.
    np.testing.assert_allclose(run(model, inputs), found["quantiles"], atol=1e-6, rtol=1e-5)


# What has an influence


def repeated(inputs: dict[str, np.ndarray], times: int) -> dict[str, np.ndarray]:
    """The first window again and again: variants of it in one call, which is what takes time."""
    return {name: np.repeat(value[:1], times, axis=0) for name, value in inputs.items()}


@pytest.mark.heavy
def test_a_known_future_value_changes_its_step_and_those_after_it() -> None:
    inputs = repeated(windows(FULL), H + 1)
    for step in range(H):
        inputs["future_real"][step, step, 1] += 1.0
    found = run(make(FULL), inputs)
    for step in range(H):
        changed = np.abs(found[step] - found[H]).max(axis=1)
        # Rows of a batch may be summed in another order: 1e-6 is that, 1e-4 an influence.
        assert (changed[:step] < 1e-6).all()
        assert (changed[step:] > 1e-4).all()


@pytest.mark.heavy
def test_each_past_value_static_and_code_has_an_influence() -> None:
    inputs = windows(FULL)
    places = [(name, v) for name, value in inputs.items() for v in range(value.shape[-1])]
    inputs = repeated(inputs, len(places) + 1)
    for row, (name, v) in enumerate(places):
        value = inputs[name][row]
        value[..., v] = (value[..., v] + 1) % 3 if value.dtype == np.int32 else value[..., v] + 0.5
    found = run(make(FULL), inputs)
    for row, place in enumerate(places):
        assert np.abs(found[row] - found[-1]).max() > 1e-4, place


def test_masked_steps_have_no_influence() -> None:
    model = make(FULL)
    inputs = windows(FULL, masked=True)
    hidden = ~inputs["past_mask"]
    before = run(model, inputs, return_attention=True)
    inputs["past_real"][hidden] = 1e3
    inputs["past_categorical"][hidden] = 2
    after = run(model, inputs, return_attention=True)
    for name, value in before.items():
        np.testing.assert_array_equal(after[name], value, err_msg=name)
    seen = before["attention"][:, :, :, :T]
    assert (np.moveaxis(seen, -1, 1)[hidden] == 0).all()
    assert (before["past_selection"][hidden] == 0).all()


def test_padding_in_front_changes_nothing() -> None:
    model = make(FULL)
    inputs = windows(FULL)
    before = run(model, {**inputs, "past_mask": np.ones((B, T), bool)})
    for name in ("past_real", "past_categorical"):
        inputs[name] = np.pad(inputs[name], ((0, 0), (3, 0), (0, 0)), constant_values=1)
    mask = np.pad(np.ones((B, T), bool), ((0, 0), (3, 0)))
    np.testing.assert_allclose(run(model, {**inputs, "past_mask": mask}), before, atol=1e-5)


def test_nothing_known_of_the_past_is_a_forecast_too() -> None:
    model = make(FULL)
    inputs = windows(FULL)
    inputs["past_mask"] = np.zeros((B, T), bool)
    cold = run(model, inputs)
    assert np.isfinite(cold).all()
    inputs["past_real"][:] = np.nan
    np.testing.assert_array_equal(run(model, inputs), cold)


@pytest.mark.heavy
def test_any_length_of_past_and_a_batch_of_one() -> None:
    model = make(FULL)
    inputs = windows(FULL)
    whole = run(model, inputs)
    one = {name: value[1:2] for name, value in inputs.items()}
    np.testing.assert_allclose(run(model, one), whole[1:2], atol=1e-5)
    for name in ("past_real", "past_categorical"):
        one[name] = one[name][:, -1:]
    assert run(model, one).shape == (1, H, 3)


# Quantiles


def test_quantiles_never_cross_by_construction() -> None:
    config = {**REALS, "quantiles": np.linspace(0.05, 0.95, 19).tolist()}
    model = make(config)
    for weight in model.head.weights:
        rng = np.random.default_rng(0)
        weight.assign(rng.normal(size=weight.shape).astype("float32") * 10)
    inputs = windows(config, batch=64)
    assert (np.diff(run(model, inputs), axis=-1) >= 0).all()
    linear = make({**config, "monotone_quantiles": False})
    assert (np.diff(run(linear, inputs), axis=-1) < 0).any()


# Training


def pinball(y: Any, forecast: Any) -> Any:
    levels = ops.convert_to_tensor(np.array(LEVELS, "float32"))
    error = y[..., None] - ops.cast(forecast, "float32")
    return ops.mean(ops.maximum(levels * error, (levels - 1) * error))


def targets(batch: int = B) -> np.ndarray:
    return np.random.default_rng(2).normal(size=(batch, H)).astype("float32")


@pytest.mark.parametrize("config", grid(CONFIGS.values()), ids=grid(CONFIGS))
def test_a_finite_gradient_reaches_every_weight(config: dict[str, Any]) -> None:
    batch = 32
    inputs = windows(config, unknown=True, masked=True, batch=batch)
    model = make(config)
    before = [ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    before = [value.copy() for value in before]
    model.compile(keras.optimizers.SGD(1.0), pinball, jit_compile=JIT)
    model.fit(inputs, targets(batch), batch_size=batch, verbose=0)
    # Without known variables of the future the decoder's inputs are zeros.
    idle = () if "future" in " ".join(inputs) else ("decoder/kernel",)
    for weight, old in zip(model.trainable_weights, before):
        new = ops.convert_to_numpy(weight)
        assert np.isfinite(new).all(), weight.path
        assert (np.abs(new - old).max() > 0) == (not weight.path.endswith(idle)), weight.path


def test_fit_learns_from_the_known_future() -> None:
    keras.utils.set_random_seed(1)
    config = {**REALS, "dropout": 0.0}
    inputs = windows(config, batch=256)
    y = inputs["future_real"][:, :, 0]
    model = TemporalFusionTransformer(**config)
    # Compiled by XLA but on PyTorch, which compiles for minutes.
    model.compile(keras.optimizers.Adam(0.01), pinball, jit_compile=BACKEND != "torch")
    history = model.fit(inputs, y, batch_size=64, epochs=12, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


@pytest.mark.heavy
def test_dropout_acts_in_training_alone() -> None:
    model = make({**FULL, "dropout": 0.3})
    inputs = windows(FULL, batch=8)
    first, second = run(model, inputs, training=True), run(model, inputs, training=True)
    assert np.abs(first - second).max() > 1e-4
    np.testing.assert_array_equal(run(model, inputs), run(model, inputs))


@pytest.mark.heavy
def test_bfloat16_keeps_close_and_returns_float32() -> None:
    model = make(FULL)
    half = TemporalFusionTransformer(**FULL, dtype="mixed_bfloat16")
    half.build()
    half.set_weights(model.get_weights())
    inputs = windows(FULL, unknown=True, masked=True)
    found = run(half, inputs, return_attention=True)
    assert {value.dtype for value in found.values()} == {np.dtype("float32")}
    exact = run(model, inputs)
    assert np.abs(found["quantiles"] - exact).max() < 0.1 * np.abs(exact).max()
    half.compile("adam", pinball, jit_compile=JIT)
    assert np.isfinite(half.fit(inputs, targets(), verbose=0).history["loss"]).all()


# Files and configuration


@pytest.mark.heavy
def test_a_saved_training_state_goes_on(tmp_path: Path) -> None:
    model = make(REALS)
    model.compile("adam", "mse", jit_compile=JIT)
    y = np.random.default_rng(0).normal(size=(B, H, 3)).astype("float32")
    model.fit(windows(REALS), y, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    again.fit(windows(REALS), y, verbose=0)
    np.testing.assert_array_equal(ops.convert_to_numpy(again.optimizer.iterations), 2)


def test_config_survives_json() -> None:
    model = TemporalFusionTransformer(**FULL, name="mine", dtype="mixed_bfloat16")
    config = json.loads(json.dumps(model.get_config()))
    again = TemporalFusionTransformer.from_config(config)
    assert again.get_config() == model.get_config()
    assert again.name == "mine"
    assert again.compute_dtype == "bfloat16"


def test_builds_from_the_config_alone_and_in_a_settled_order() -> None:
    keras.utils.set_random_seed(5)
    first = TemporalFusionTransformer(**FULL)
    first.build()
    keras.utils.set_random_seed(5)
    second = TemporalFusionTransformer(**FULL)
    second(windows(FULL))
    for one, two in zip(first.weights, second.weights, strict=True):
        assert one.path.split("/", 1)[1] == two.path.split("/", 1)[1]
        np.testing.assert_array_equal(ops.convert_to_numpy(one), ops.convert_to_numpy(two))


def test_symbolic_shapes_are_the_eager_ones() -> None:
    model = make(FULL)
    inputs = windows(FULL, masked=True)
    found = model(inputs, return_attention=True)
    symbolic = {
        name: keras.Input(batch_shape=value.shape, dtype=str(value.dtype))
        for name, value in inputs.items()
    }
    specs = model(symbolic, return_attention=True)
    assert {name: tuple(spec.shape) for name, spec in specs.items()} == {
        name: tuple(value.shape) for name, value in found.items()
    }
    assert {spec.dtype for spec in specs.values()} == {"float32"}


@pytest.mark.heavy
def test_a_wrapper_gives_the_attention_of_batches() -> None:
    class Explained(keras.Model):
        def __init__(self, inner: Any) -> None:
            super().__init__()
            self.inner = inner

        def call(self, inputs: Any) -> Any:
            return self.inner(inputs, return_attention=True)

    model = make(FULL)
    inputs = windows(FULL, unknown=True, masked=True)
    found = Explained(model).predict(inputs, batch_size=2, verbose=0)
    for name, value in run(model, inputs, return_attention=True).items():
        np.testing.assert_allclose(found[name], value, atol=1e-5)
    np.testing.assert_allclose(model.predict(inputs, verbose=0), found["quantiles"], atol=1e-5)


# Errors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"horizon": 0}, "`horizon` to be an integer >= 1, received 0"),
        ({"num_past_real": 0}, "`num_past_real` to be an integer >= 1, received 0"),
        ({"num_future_real": -1}, "`num_future_real` to be an integer >= 0, received -1"),
        ({"dropout": 1.0}, "`dropout` to be a number in"),
        ({"quantiles": [0.5, 0.1]}, "`quantiles` to be increasing numbers"),
        ({"quantiles": []}, "`quantiles` to be increasing numbers"),
        ({"num_heads": 3}, "`hidden_size` to be a multiple of `num_heads`"),
        ({"past_cardinalities": 3}, "`past_cardinalities` to be a sequence"),
        ({"static_cardinalities": [0]}, "`static_cardinalities` to be an integer >= 1"),
    ],
)
def test_bad_parameters(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match="expected") as error:
        TemporalFusionTransformer(**{**PLAIN, **changes})
    assert message in str(error.value)


def test_bad_inputs() -> None:
    model = make(REALS)
    inputs = windows(REALS)
    with pytest.raises(ValueError, match="expected an input 'future_real' with 2 variables"):
        model({"past_real": inputs["past_real"]})
    with pytest.raises(ValueError, match=r"expected 'future_real' of shape \(B, 4, 2\)"):
        model({**inputs, "future_real": inputs["future_real"][:, 1:]})
    with pytest.raises(ValueError, match=r"expected 'past_real' of shape \(B, T, 3\)"):
        model({**inputs, "past_real": inputs["past_real"][..., 1:]})
