"""The model against its formulas in NumPy, and what must and must not have an influence."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops

from tests.conftest import grid
from tests.models.test_temporal_fusion_transformer import (
    BACKEND,
    JIT,
    LEVELS,
    Paper,
    elu,
    pinball,
    repeated,
    run,
    softmax,
    targets,
)
from tests.models.test_temporal_fusion_transformer import windows as paper_windows
from tsfusion.models import FusionTransformer, TemporalFusionTransformer
from tsfusion.models.fusion_transformer import PATHS

pytestmark = pytest.mark.backends

B, T, S, L, H = 3, 6, 3, 2, 4
PLAIN: dict[str, Any] = {
    "horizon": H, "quantiles": LEVELS, "hidden_size": 8, "num_heads": 2, "long_window": T,
    "short_window": S, "patch_length": L,
}  # fmt: skip
FULL: dict[str, Any] = {
    **PLAIN,
    "num_past_real": 3,
    "past_cardinalities": [4, 3],
    "num_future_real": 2,
    "future_cardinalities": [5],
    "num_static_real": 2,
    "static_cardinalities": [3],
    "memory_size": 5,
}
REALS: dict[str, Any] = {**PLAIN, "num_past_real": 3, "num_future_real": 2}
CONFIGS = {
    "full": FULL,
    "reals": REALS,
    "target-only": PLAIN,
    "one-static": {**PLAIN, "num_static_real": 1},
    "codes": {**PLAIN, "past_cardinalities": [4], "future_cardinalities": [5, 2]},
    "published": {**FULL, "selection": "published", "linear": False},
    "short-is-long": {**REALS, "short_window": T, "patch_length": 1},
}


def make(config: dict[str, Any], seed: int = 3, **kwargs: Any) -> FusionTransformer:
    """A model whose every weight is away from its start, so that none can be forgotten."""
    keras.utils.set_random_seed(seed)
    model = FusionTransformer(**config, **kwargs)
    model.build()
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if "seed" not in weight.path:
            noise = rng.normal(size=weight.shape) * 0.2
            weight.assign(ops.convert_to_numpy(weight) + noise.astype("float32"))
    return model


def windows(config: dict[str, Any], unknown: bool = False, masked: bool = False, batch: int = B):
    return paper_windows(config, unknown, masked, batch)


class Formulas(Paper):
    """One window, one variable, one step, one head at a time."""

    def select(self, role: str, reals: Any, codes: Any, c: Any, known: bool = True) -> Any:
        if self.config["selection"] == "published":
            return super().select(role, reals, codes, c, known)
        variables, name = self.embed(role, reals, codes), f"{role}_selection"
        valid = np.array([ok and known for _, ok in variables])
        phi = [
            elu(x @ self[f"{name}/basis_kernel"][v] + self[f"{name}/basis_bias"][v])
            if valid[v]
            else np.zeros(8)
            for v, (x, _) in enumerate(variables)
        ]
        weights = np.zeros(len(phi))
        if len(phi) == 1:
            weights[valid] = 1
        elif valid.any():
            logits = self[f"{name}/choice_bias"] + sum(
                p @ self[f"{name}/choice_kernel"][v] for v, p in enumerate(phi)
            )
            if c is not None:
                logits = logits + c @ self[f"{name}/choice_context_kernel"]
            weights[valid] = softmax(logits[valid])
        values = [
            p @ self[f"{name}/value_kernel"][v] + self[f"{name}/value_bias"][v]
            for v, p in enumerate(phi)
        ]
        return sum(w * value for w, value in zip(weights, values)), weights

    def mha(self, name: str, query: Any, keys: Any, mask: Any) -> Any:
        """Keras' multi-head attention for one query; zeros if there is no key."""
        heads = self[f"{name}/query/kernel"].shape[1]
        scores = np.zeros((heads, len(keys)))
        if not any(mask):
            return np.zeros(self[f"{name}/attention_output/bias"].shape), scores
        seen = [s for s in range(len(keys)) if mask[s]]
        output = self[f"{name}/attention_output/bias"].copy()
        for n in range(heads):
            q, k, v = (
                lambda x, p=p, n=n: (
                    x @ self[f"{name}/{p}/kernel"][:, n] + self[f"{name}/{p}/bias"][n]
                )
                for p in ("query", "key", "value")
            )
            a = softmax(np.array([q(query) @ k(keys[s]) for s in seen]) / np.sqrt(len(q(query))))
            scores[n, seen] = a
            head = sum(w * v(keys[s]) for w, s in zip(a, seen))
            output = output + head @ self[f"{name}/attention_output/kernel"][n]
        return output, scores

    def tokens(self, window: dict[str, np.ndarray], mask: Any) -> Any:
        rows = []
        steps = T - self.config["short_window"] or T
        mask = mask[:steps]
        for t in range(steps):
            real = window["past_real"][t]
            row = [np.nan_to_num(real), [0.0 if np.isnan(real[0]) else 1.0]]
            offset = 0
            for size, code in zip(
                self.config["past_cardinalities"], window.get("past_categorical", [()] * T)[t]
            ):
                row.append(self["patch_codes/table"][offset + code])
                offset += size
            rows.append(np.concatenate(row) if mask[t] else np.zeros(sum(map(len, row))))
        length = self.config["patch_length"]
        count = 1 + -(-max(steps - length, 0) // length)
        pad = length * count - steps
        rows = [np.zeros_like(rows[0])] * pad + rows
        mask = [False] * pad + list(mask)
        found, known = [], []
        for p in range(count):
            part = slice(p * length, (p + 1) * length)
            token = np.concatenate(rows[part]) @ self["patches/kernel"] + self["patches/bias"]
            found.append(token + self["long_position"][p])
            known.append(any(mask[part]))
        return found, known

    def attention(self, query: Any, short: Any, tokens: Any, mask: Any, token_mask: Any) -> Any:
        total, scores = 0.0, []
        for branch, keys, allowed in (("short", short, mask), ("long", tokens, token_mask)):
            dense = f"attention/{branch}_term_dense"
            keys = [x @ self[f"{dense}/kernel"] + self[f"{dense}/bias"] for x in keys]
            output, weights = self.mha(f"attention/{branch}_term_attention", query, keys, allowed)
            total = total + output
            scores.append(weights)
        return total, *scores

    def __call__(self, window: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        width, config = self.config["hidden_size"], self.config
        short_window = config["short_window"]
        mask = window.get("past_mask", np.ones(T, bool))
        found: dict[str, Any] = {}

        def variables(role: str, t: Any) -> tuple[Any, Any]:
            names = (f"{role}_real", f"{role}_categorical")
            return tuple(window[name][t] if name in window else () for name in names)

        choice = enrichment = None
        h, c = np.zeros(width), np.zeros(width)
        if config["num_static_real"] or config["static_cardinalities"]:
            summary, found["static_selection"] = self.select(
                "static", *variables("static", ...), None
            )
            both = summary @ self["contexts/kernel"] + self["contexts/bias"]
            choice, h, c, enrichment = np.split(both, 4)
        recent = range(T - short_window, T)
        past, found["past_selection"] = zip(
            *(self.select("past", *variables("past", t), choice, mask[t]) for t in recent)
        )
        future = [np.zeros(width)] * H
        if "future_real" in window or "future_categorical" in window:
            future, found["future_selection"] = zip(
                *(self.select("future", *variables("future", t), choice) for t in range(H))
            )
        future = [x + p for x, p in zip(future, self["step_position"])]
        encoded, h, c = self.lstm("encoder", past, h, c, mask[-short_window:])
        decoded, h, c = self.lstm("decoder", future, h, c, [True] * H)
        local = [
            self.skip("recurrent_skip", x, around)
            for x, around in zip([*encoded, *decoded], [*past, *future])
        ]
        short, ahead = local[:short_window], local[short_window:]
        if config["memory_size"]:
            slots = list(self["memory/memory"])
            answers = [self.mha("memory/attention", x, slots, [True] * len(slots)) for x in short]
            seen = mask[-short_window:]
            short = [x + a * known for x, (a, _), known in zip(short, answers, seen)]
            found["memory_attention"] = np.stack(
                [scores * known for (_, scores), known in zip(answers, seen)], axis=1
            )
        short = [x + p for x, p in zip(short, self["short_position"])]
        tokens, token_mask = self.tokens(window, mask)
        quantiles, parts = [], []
        for x in ahead:
            query = self.grn("enrichment", x, enrichment)
            attended, *scores = self.attention(
                query, short, tokens, mask[-short_window:], token_mask
            )
            y = self.grn("position_wise", self.skip("attention_skip", attended, query))
            quantiles.append(self.head({**config, "monotone_quantiles": True}, y, x))
            parts.append(scores)
        answer = np.stack(quantiles)
        if config["linear"]:
            target = np.nan_to_num(window["past_real"][:, 0]) * mask
            found["linear"] = target @ self["linear_kernel"]
            answer = answer + found["linear"][:, None]
        for i, name in enumerate(("short_attention", "long_attention")):
            found[name] = np.stack([scores[i] for scores in parts], axis=1)
        return {"quantiles": answer} | {name: np.asarray(value) for name, value in found.items()}

    def head(self, config: dict[str, Any], y: Any, around: Any) -> Any:  # type: ignore[override]
        self.config = config
        return super().head(self.skip("output_skip", y, around))


@pytest.mark.parametrize("gaps", [False, True], ids=["whole", "gaps"])
@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS)
def test_equals_the_formulas(config: dict[str, Any], gaps: bool) -> None:
    model = make(config)
    inputs = windows(config, unknown=gaps, masked=gaps)
    found = run(model, inputs, return_attention=True)
    formulas = Formulas(model)
    answers = [
        formulas({name: value[b] for name, value in inputs.items()})
        for b in range(len(inputs["past_real"]))
    ]
    assert sorted(found) == sorted(answers[0])
    bound = 1e-4 if gaps else 1e-5
    for name in found:
        expected = np.stack([answer[name] for answer in answers])
        np.testing.assert_allclose(found[name], expected, atol=bound, rtol=bound, err_msg=name)
    # Float32 of another order of sums, for another set of outputs.
    np.testing.assert_allclose(run(model, inputs), found["quantiles"], atol=1e-6, rtol=1e-5)


@pytest.mark.heavy
def test_a_known_future_value_changes_its_step_and_those_after_it() -> None:
    inputs = repeated(windows(FULL), H + 1)
    for step in range(H):
        inputs["future_real"][step, step, 1] += 1.0
    found = run(make(FULL), inputs)
    for step in range(H):
        changed = np.abs(found[step] - found[H]).max(axis=1)
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


@pytest.mark.heavy
def test_the_oldest_step_has_an_influence_although_only_the_long_window_holds_it() -> None:
    inputs = repeated(windows({**FULL, "linear": False}), 2)
    inputs["past_real"][0, 0, 1] += 1.0
    found = run(make({**FULL, "linear": False}), inputs)
    assert np.abs(found[0] - found[1]).max() > 1e-4


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
    seen = np.moveaxis(before["short_attention"], -1, 1)
    assert (seen[hidden[:, -S:]] == 0).all()
    assert (before["past_selection"][hidden[:, -S:]] == 0).all()


def test_nothing_known_of_the_past_is_a_forecast_too() -> None:
    model = make(FULL)
    inputs = windows(FULL)
    inputs["past_mask"] = np.zeros((B, T), bool)
    cold = run(model, inputs, return_attention=True)
    assert all(np.isfinite(value).all() for value in cold.values())
    assert np.abs(cold["short_attention"]).max() == np.abs(cold["long_attention"]).max() == 0
    # JAX compiles a pass with attention and one without to other orders of the same sums.
    expected = run(model, inputs)
    np.testing.assert_allclose(expected, cold["quantiles"], rtol=1e-6, atol=1e-6)
    inputs["past_real"][:] = np.nan
    np.testing.assert_array_equal(run(model, inputs), expected)


@pytest.mark.parametrize("path", PATHS if BACKEND != "jax" else ("long", "static", "linear"))
def test_a_path_knocked_out_carries_nothing(path: str) -> None:
    model = make(FULL)
    inputs = repeated(windows(FULL), 3)
    # A change that the path alone could bring: of the oldest step, seen by no recurrence.
    inputs["past_real"][1, 0] += 1.0
    inputs["static_real"][2] += 1.0
    whole = run(model, inputs)
    without = run(model, inputs, without=[path])
    assert np.isfinite(without).all()
    assert np.abs(whole - without).max() > 1e-4
    if path == "static":
        np.testing.assert_allclose(without[2], without[0], atol=1e-6)
    if path == "linear":
        found = run(model, inputs, return_attention=True)
        np.testing.assert_allclose(without + found["linear"][:, :, None], whole, atol=1e-5)
    both = run(model, inputs, without=["long", "linear"])
    np.testing.assert_allclose(both[1], both[0], atol=1e-6)


def test_without_attention_all_known_steps_are_looked_at_alike() -> None:
    model = make(FULL)
    inputs = windows(FULL)
    hidden = np.zeros((B, T), bool)
    hidden[:, -2] = True
    inputs["past_mask"] = ~hidden
    found = run(model, inputs, return_attention=True, without=["attention"])
    short = ~hidden[:, -S:]
    expected = short / short.sum(axis=1, keepdims=True)
    scores = found["short_attention"]
    np.testing.assert_allclose(
        scores, np.broadcast_to(expected[:, None, None], scores.shape), atol=1e-6
    )
    long = found["long_attention"]
    np.testing.assert_allclose(long.max(-1), 1 / (long > 0).sum(-1), atol=1e-6)
    assert np.abs(found["quantiles"] - run(model, inputs)).max() > 1e-5


@pytest.mark.heavy
def test_quantiles_never_cross() -> None:
    config = {**REALS, "quantiles": np.linspace(0.05, 0.95, 19).tolist()}
    model = make(config)
    for weight in model.head.weights:
        rng = np.random.default_rng(0)
        weight.assign(rng.normal(size=weight.shape).astype("float32") * 10)
    assert (np.diff(run(model, windows(config, batch=64)), axis=-1) >= 0).all()


@pytest.mark.heavy
@pytest.mark.parametrize("config", grid(CONFIGS.values()), ids=grid(CONFIGS))
def test_a_finite_gradient_reaches_every_weight(config: dict[str, Any]) -> None:
    batch = 32
    inputs = windows(config, unknown=True, masked=True, batch=batch)
    model = make(config)
    before = [ops.convert_to_numpy(weight).copy() for weight in model.trainable_weights]
    model.compile(keras.optimizers.SGD(1.0), pinball, jit_compile=JIT)
    model.fit(inputs, targets(batch), batch_size=batch, verbose=0)
    for weight, old in zip(model.trainable_weights, before):
        new = ops.convert_to_numpy(weight)
        assert np.isfinite(new).all(), weight.path
        # A key's bias shifts all scores of a query alike: the softmax does not see it.
        idle = weight.path.endswith("key/bias")
        assert idle or np.abs(new - old).max() > 0, weight.path


def test_fit_learns_from_the_known_future() -> None:
    keras.utils.set_random_seed(1)
    config = {**REALS, "dropout": 0.0}
    inputs = windows(config, batch=256)
    y = inputs["future_real"][:, :, 0]
    model = FusionTransformer(**config)
    # By XLA it is trained in test_a_fit_with_xla_forecasts_without_it.
    model.compile(keras.optimizers.Adam(0.01), pinball, jit_compile=JIT)
    history = model.fit(inputs, y, batch_size=64, epochs=12, verbose=0).history["loss"]
    assert history[-1] < 0.5 * history[0]


def test_config_survives_json() -> None:
    model = make(FULL, name="net")
    config = json.loads(json.dumps(model.get_config()))
    twin = FusionTransformer.from_config(config)
    assert twin.get_config() == model.get_config()
    twin.build()
    twin.set_weights(model.get_weights())
    inputs = windows(FULL)
    np.testing.assert_array_equal(run(twin, inputs), run(model, inputs))


def test_a_saved_model_comes_back(tmp_path: Any) -> None:
    model = make(FULL)
    inputs = windows(FULL)
    expected = run(model, inputs)
    model.save(tmp_path / "model.keras")
    np.testing.assert_allclose(
        run(keras.models.load_model(tmp_path / "model.keras"), inputs), expected, atol=1e-6
    )


def test_symbolic_shapes_are_the_eager_ones() -> None:
    model = make(FULL)
    inputs = windows(FULL)
    found = run(model, inputs, return_attention=True)
    symbolic = {
        name: keras.KerasTensor((None, *value.shape[1:]), str(value.dtype))
        for name, value in inputs.items()
    }
    specs = model.compute_output_spec(symbolic, return_attention=True)
    assert {name: spec.shape for name, spec in specs.items()} == {
        name: (None, *value.shape[1:]) for name, value in found.items()
    }
    assert model.compute_output_spec(symbolic).shape == (None, H, 3)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"short_window": 7}, "expected `short_window` <= `long_window`, received 7 and 6"),
        ({"long_window": 0}, "long_window"),
        ({"patch_length": 0}, "patch_length"),
        ({"memory_size": -1}, "expected `memory_size` to be an integer >= 0, received -1"),
        ({"memory_size": True}, "memory_size"),
        ({"selection": "heavy"}, "form"),
        ({"num_past_real": 0}, "num_past_real"),
    ],
)
def test_bad_parameters(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FusionTransformer(**{**FULL, **changes})


def test_bad_inputs() -> None:
    model = make(REALS)
    inputs = windows(REALS)
    with pytest.raises(ValueError, match="long_window=6 steps, received 5"):
        model({**inputs, "past_real": inputs["past_real"][:, 1:]})
    with pytest.raises(ValueError, match="expected `without` to list some of"):
        model(inputs, without=["shortcut"])
    with pytest.raises(ValueError, match="expected `without` to list some of"):
        model(inputs, without="short")
    with pytest.raises(ValueError, match="expected an input 'future_real' with 2 variables"):
        model({"past_real": inputs["past_real"]})


@pytest.mark.parametrize("network", [FusionTransformer, TemporalFusionTransformer])
def test_inputs_that_do_not_fit_are_refused(network: Any) -> None:
    sizes = {"long_window": T} if network is FusionTransformer else {}
    model = network(horizon=H, hidden_size=4, num_heads=2, num_past_real=2, **sizes)
    past = np.zeros((B, T, 2), "float32")
    with pytest.raises(ValueError, match="expected a dict of tensors by name .* received"):
        model(past)
    for mask in (np.ones((B, T + 1), bool), np.ones((B, T, 1), bool)):
        with pytest.raises(ValueError, match=r"'past_mask' of shape \(B, T\) with the T = 6 steps"):
            model({"past_real": past, "past_mask": mask})
    with pytest.raises(ValueError, match="'past_real' of at least one step, received none"):
        model({"past_real": past[:, :0]})


@pytest.mark.parametrize("network", [FusionTransformer, TemporalFusionTransformer])
def test_symbolic_inputs_may_go_without_a_path(network: Any) -> None:
    sizes = {"long_window": T} if network is FusionTransformer else {}
    model = network(horizon=H, hidden_size=4, num_heads=2, num_past_real=2, **sizes)
    inputs = {"past_real": keras.Input((T, 2), name="past_real")}
    whole = keras.Model(inputs, model(inputs, without=["recurrent"]))
    past = {"past_real": np.random.default_rng(0).normal(size=(B, T, 2)).astype("float32")}
    found, expected = run(whole, past), ops.convert_to_numpy(model(past, without=["recurrent"]))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(found, run(model, past))
    with pytest.raises(ValueError, match="expected `without` to list some of"):
        model(inputs, without=["nothing"])


def test_memory_size_may_be_a_numpy_integer() -> None:
    model = FusionTransformer(**{**PLAIN, "memory_size": np.int64(2)})
    assert json.loads(json.dumps(model.get_config()))["memory_size"] == 2
