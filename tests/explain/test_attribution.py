"""Attribution: sums, labels, agreement with integrals by hand, baselines of the same phase."""

import copy
from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from keras import ops

from tests.conftest import ROLES, SMALL, small_panel
from tsfusion import FusionForecaster
from tsfusion.data.windows import WindowIndex, gather, training_windows
from tsfusion.explain import attribution
from tsfusion.explain.attribution import Attribution, Task, attribute, level_weights
from tsfusion.explain.donors import Donors
from tsfusion.explain.gradients import slopes
from tsfusion.explain.trust import _additivity
from tsfusion.models.instance_scaled import InstanceScaled

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def found(fitted, future):
    return fitted.explain(future, horizons=[1, 5], quantile=0.9, methods="attribution")


@pytest.mark.heavy
@pytest.mark.backends
def test_values_and_baseline_add_up_to_the_forecast(fitted, found, future):
    table, forecast = found.attribution, found.forecast
    assert table.columns.tolist() == [
        "store", "cutoff", "horizon", "variable", "source_time", "value", "baseline",
    ]  # fmt: skip
    keys = ["store", "cutoff", "horizon"]
    sums = table.groupby(keys).agg(value=("value", "sum"), baseline=("baseline", "first"))
    expected = forecast.set_index(keys).loc[sums.index]
    distance = np.abs(expected["q0.9"] - expected["baseline"]).mean()
    assert np.abs(sums.sum(axis=1) - expected["q0.9"]).max() < 0.01 * distance
    rows = future["date"].isin(forecast["target_time"]).to_numpy()
    predicted = fitted.predict(future, quantiles=[0.9])[rows, 0]
    np.testing.assert_allclose(forecast["q0.9"], predicted, rtol=1e-5)


def test_a_new_series_is_explained_by_windows_of_its_own_spread(fitted, history, future):
    new = history[history["store"] == "s1"].assign(store="new")
    new["sales"] = 5 + new["sales"] / 1e4
    rows = future[future["store"] == "s1"].assign(store="new")
    found = fitted.explain(rows, context=new, methods="attribution", quantile=0.9)
    forecast = found.forecast
    predicted = fitted.predict(rows, context=new, quantiles=[0.9])[:, 0]
    np.testing.assert_allclose(forecast["q0.9"], predicted, rtol=1e-6)
    sums = found.attribution.groupby("horizon").agg({"value": "sum", "baseline": "first"})
    distance = np.abs(forecast["q0.9"].to_numpy() - sums["baseline"].to_numpy()).mean()
    assert np.abs(sums.sum(axis=1).to_numpy() - predicted).max() < 0.01 * distance
    # A baseline of the other series' spread would lie a thousand times further away.
    assert distance < 1e-2


def test_every_series_adds_up_in_its_own_units(fitted, history, future):
    big = history[history["store"] == "s1"].assign(store="big")
    big["sales"] *= 1e4
    rows = future[future["store"] == "s1"]
    rows = pd.concat([rows, rows.assign(store="big")])
    methods = {"methods": "attribution", "horizons": [1, 7], "checks": "fast"}
    found = fitted.explain(rows, context=big, **methods)
    keys = ["store", "horizon"]
    sums = found.attribution.groupby(keys).agg(value=("value", "sum"), start=("baseline", "first"))
    forecast = found.forecast.set_index(keys)["median"].loc[sums.index]
    distance = (forecast - sums["start"]).abs().groupby("store").mean()
    rest = (forecast - sums["start"] - sums["value"]).abs().groupby("store").max()
    assert (rest < 0.01 * distance).all()


def test_the_check_does_not_measure_a_small_series_by_a_large_one():
    task = SimpleNamespace(
        window=np.arange(2), step=np.ones(2, int), weights=np.ones(1),
        spread=lambda values: np.array([1.0, 1e4]),
    )  # fmt: skip
    zero = np.zeros(2)
    found = Attribution({}, np.array([2.0, 2e4]), zero, np.array([0.5, 0.0]))
    check, value, *_, passed, verdict = _additivity(task, np.zeros((2, 1, 1)), found)
    assert (check, value, passed) == ("adds up", 0.25, False)
    assert "do not add up: the largest rest is 25.00%" in verdict
    fine = Attribution({}, found.forecast, zero, np.array([0.01, 100.0]))
    assert _additivity(task, np.zeros((2, 1, 1)), fine)[5]


def test_what_else_is_explained_matters_not(fitted, future, found):
    options = {"horizons": [1, 5], "quantile": 0.9, "methods": "attribution"}
    for stores in (["s1"], ["s2", "s1"]):
        rows = future[future["store"].isin(stores)].sort_values("store", ascending=False)
        table = fitted.explain(rows, **options).attribution
        keys = ["store", "horizon", "variable", "source_time"]
        expected = found.attribution[found.attribution["store"].isin(stores)].set_index(keys)
        table = table.set_index(keys).loc[expected.index]
        np.testing.assert_allclose(table["baseline"], expected["baseline"], rtol=1e-6)
        np.testing.assert_allclose(table["value"], expected["value"], rtol=1e-2, atol=1e-3)


def test_only_what_could_be_seen_has_a_share(fitted, found):
    table = found.attribution
    target_time = table["cutoff"] + pd.to_timedelta(table["horizon"], unit="D")
    static = table["variable"].isin(ROLES["static"])
    assert table.loc[static, "source_time"].isna().all()
    assert static.any()
    assert (table.loc[~static, "source_time"] <= target_time[~static]).all()
    oldest = table["cutoff"] - pd.Timedelta(days=fitted.context_length_ - 1)
    assert (table.loc[~static, "source_time"] >= oldest[~static]).all()
    ahead = table[table["source_time"] > table["cutoff"]]
    assert {"price", "event"} <= set(ahead["variable"])
    assert not {"sales", "weather"} & set(ahead["variable"])
    assert "day_of_week" not in set(table["variable"]), "baselines are of the same day of the week"


def test_importance_stands_beside_the_selection_weights(found):
    table = found.importance()
    assert table["attribution"].sum() == pytest.approx(1)
    assert table["attribution"].is_monotonic_decreasing
    assert {"past", "future", "static", "sensitivity"} <= set(table)
    values = found.attribution.groupby(["store", "horizon", "variable"])["value"].sum().abs()
    index = pd.MultiIndex.from_arrays([found.forecast["store"], found.step])
    spread = pd.Series(found.spread, index).reindex(values.index.droplevel(2))
    by_hand = (values / spread.to_numpy()).groupby("variable").sum()
    by_hand /= by_hand.sum()
    shares = table.set_index("variable")["attribution"]
    np.testing.assert_allclose(shares[by_hand.index], by_hand, atol=1e-6)
    assert "moved it away from the baselines" in found.summary()


def test_variables_in_groups_count_as_one(found):
    alone = found.importance().set_index("variable")
    grouped = found.importance({"air": ["weather", "price"]}).set_index("variable")
    assert set(grouped.index) == set(alone.index) - {"weather", "price"} | {"air"}
    assert grouped.loc["air", "role"] == "several"
    for column in ("sensitivity", "past"):
        expected = alone.loc[["weather", "price"], column].sum()
        assert grouped.loc["air", column] == pytest.approx(expected)
    assert grouped["attribution"].sum() == pytest.approx(1)
    # Values of opposite signs cancel within a group.
    table = found.attribution.assign(
        variable=lambda t: t["variable"].replace({"weather": "air", "price": "air"})
    )
    values = table.groupby(["store", "horizon", "variable"])["value"].sum().abs()
    index = pd.MultiIndex.from_arrays([found.forecast["store"], found.step])
    spread = pd.Series(found.spread, index).reindex(values.index.droplevel(2))
    by_hand = (values / spread.to_numpy()).groupby("variable").sum()
    by_hand /= by_hand.sum()
    np.testing.assert_allclose(grouped["attribution"][by_hand.index], by_hand, atol=1e-6)
    by_role = found.importance(lambda name: found.roles[name])
    assert set(by_role["variable"]) == set(found.roles.values())
    with pytest.raises(ValueError, match="'air' holds 'wether'"):
        found.importance({"air": ["wether"]})
    with pytest.raises(TypeError, match="expected a dict of names and lists .* received 'air'"):
        found.importance("air")
    with pytest.raises(ValueError, match="'price' is in 'a' and in 'b'"):
        found.importance({"a": ["price"], "b": ["price"]})


def test_the_same_seed_gives_the_same_values(fitted, found, future):
    again = fitted.explain(future, horizons=[1, 5], quantile=0.9, methods=["attribution"])
    pd.testing.assert_frame_equal(again.attribution, found.attribution)


@keras.saving.register_keras_serializable(package="tests")
class Curved(keras.Model):
    """A network that is known, and bends: weather at lag 2 times the last price, and the target."""

    def call(self, inputs, training=None, return_attention=False):
        past = ops.nan_to_num(ops.convert_to_tensor(inputs["past_real"]))
        future = ops.convert_to_tensor(inputs["future_real"])
        bent = ops.tanh(past[:, -2, 1] * past[:, -1, 2] + 0.5 * past[:, -4, 0])
        middle = (bent[:, None] + 0.2 * future[:, :, 0] ** 2)[:, :, None]
        quantiles = middle + ops.reshape(ops.arange(-4.0, 5.0) / 10, (1, 1, 9))
        if not return_attention:
            return quantiles
        return {"quantiles": quantiles, "attention": ops.ones((ops.shape(past)[0], 2, 7, 28)) / 28}


def _curved_by_hand(x, step):
    """The median of `Curved` with the scaling around it, in float64 and NumPy."""
    past = x["past_real"].astype(float).copy()
    scale = []
    for v in range(2):
        spread = past[:, v].std()
        scale.append(np.sqrt((len(past) * spread**2 + 1) / (len(past) + 1)))
    last = past[-1, 0]
    for v in range(2):
        past[:, v] = (past[:, v] - past[:, v].mean()) / scale[v]
    bent = np.tanh(past[-2, 1] * past[-1, 2] + 0.5 * past[-4, 0])
    return (bent + 0.2 * x["future_real"][step - 1, 0] ** 2) * scale[0] + last


def _task(fitted, model, *, series, window, step):
    """Forecasts of the median after the 40th step of some series, and donors of their windows."""
    base = fitted._fitted
    panel = base.panel(fitted._memory)
    windows = WindowIndex(panel.offsets[series] + 40, np.array(series))
    batch = gather(panel, windows, context_length=21, horizon=7)
    scale = ops.convert_to_numpy(model.to_network(batch)[2])[:, 0, 0]
    task = Task(
        base, model, panel, windows, batch, scale, np.array(window), np.array(step),
        level_weights(base.levels, 0.5),
    )  # fmt: skip
    return task, Donors.of(base, panel)


def _two_baselines(task, donors):
    chosen = donors.choose(task.panel, task.windows, 2, 0)
    return donors.batch(task.panel, task.windows, task.batch, chosen)


def _between(b, x, share):
    """Return the inputs on the way: target and observed input keep an even level and spread."""
    at = {name: b[name] + share * (x[name] - b[name]) for name in x}
    for v in range(2):
        ends = [part["past_real"][:, v] for part in (b, x)]
        level, spread = (
            (1 - share) * one + share * other
            for one, other in zip(*[(end.mean(), end.std()) for end in ends])
        )
        mixed = (1 - share) * _unit(ends[0]) + share * _unit(ends[1])
        # Windows that are nearly opposite have their spread on no part of the way.
        rho = max(np.corrcoef(*ends)[0, 1], -0.5)
        size = np.sqrt(share**2 + (1 - share) ** 2 + 2 * share * (1 - share) * rho)
        assert rho == -0.5 or np.isclose(size, mixed.std())
        at["past_real"][:, v] = level + spread * mixed / size
    return at


def _unit(values):
    return (values - values.mean()) / values.std()


@pytest.mark.parametrize("kind", ["steps", "errors that cancel"])
def test_lines_add_up_next_to_steps_and_where_errors_cancel(fitted, monkeypatch, kind):
    task, donors = _task(fitted, fitted.model_, series=[0, 1], window=[0, 1], step=[3, 4])
    usual = attribute(task, donors, 4, 0)
    unit = np.abs(usual.forecast - usual.baseline).mean()

    def integrals(self, pieces, run, values, roles, distance):
        place = np.array([0.312, 0.471, 0.777, 0.013])[pieces.line % 4]
        if kind == "steps":  # a fall by ten units within 1e-3 of the line
            points, weights = np.polynomial.legendre.leggauss(6)
            width = pieces.high - pieces.low
            at = pieces.low[:, None] + width[:, None] * (points + 1) / 2
            slope = (1 - np.tanh((at - place[:, None]) / 5e-4) ** 2) / 5e-4
            true = np.tanh((np.stack([pieces.low, pieces.high]) - place) / 5e-4)
            total, true = slope @ weights / 2 * width, true[1] - true[0]
        else:
            true = pieces.high - pieces.low
            wrong = np.array([3.0, 3.0, 3.0, -9.0])[pieces.line % 4] * 0.006
            total = true + np.where(true == 1, wrong, 0)
        total, true = 5 * unit * total, 5 * unit * true
        if kind != "steps":
            total = true + (total - true) / 5
        parts = {name: np.zeros((len(pieces), *v.shape[1:])) for name, v in values.items()}
        parts["past_real"][:, 0, 0] = total
        return parts, total - true

    monkeypatch.setattr(attribution._Lines, "_integrals", integrals)
    found = attribute(task, donors, 4, 0)
    expected = {"steps": 10 * unit, "errors that cancel": 5 * unit}[kind]
    np.testing.assert_allclose(
        found.values["past_real"].sum(axis=(1, 2)), expected, atol=0.01 * unit
    )


@pytest.mark.heavy
@pytest.mark.backends
def test_values_are_the_integrals_by_hand_through_the_scaling_too(fitted, monkeypatch):
    monkeypatch.setattr(attribution, "_TOLERANCE", 1e-4)
    network = Curved()
    network.built = True
    model = InstanceScaled(network, num_observed=1, prior_steps=1.0)
    model.built = True
    task, donors = _task(fitted, model, series=[1], window=[0], step=[3])
    found = attribute(task, donors, 2, 0)
    baselines, batch = _two_baselines(task, donors), task.batch
    x = {name: batch[name][0].astype(float) for name in ("past_real", "future_real")}
    expected = {name: np.zeros_like(value) for name, value in x.items()}
    for k in range(2):
        b = {name: baselines[name][k].astype(float) for name in x}
        for share in (np.arange(200) + 0.5) / 200:
            at, low, high = (_between(b, x, share + side / 400) for side in (0, -1, 1))
            for name, columns in (("past_real", (0, 1, 2)), ("future_real", (0,))):
                for t in range(len(x[name])):
                    for v in columns:
                        ends = []
                        for side in (1e-5, -1e-5):
                            moved = {key: value.copy() for key, value in at.items()}
                            moved[name][t, v] += side
                            ends.append(_curved_by_hand(moved, 3))
                        slope = (ends[0] - ends[1]) / 2e-5
                        expected[name][t, v] += slope * (high[name] - low[name])[t, v] / 2
    unit = task.panel.unit[1]
    for name, value in expected.items():
        np.testing.assert_allclose(found.values[name][0], unit * value, atol=3e-3 * unit)
    assert np.abs(expected["past_real"]).max() > 0.05
    others = [name for name in found.values if name not in x]
    assert all(np.abs(found.values[name]).max() == 0 for name in others)


@pytest.mark.heavy
@pytest.mark.backends
def test_static_variables_go_first_one_after_the_other(fitted, monkeypatch):
    task, donors = _task(fitted, fitted.model_, series=[0, 1], window=[0, 1, 1], step=[3, 1, 7])
    found = attribute(task, donors, 2, 0)
    before, batch = _two_baselines(task, donors), task.batch
    own = np.arange(2).repeat(2)
    real, kind = "static_real", "static_categorical"
    middle = {name: {**before, name: batch[name][own]} for name in (real, kind)}
    after = {**middle[real], kind: batch[kind][own]}

    def forecasts(inputs):
        at = [task.forecasts(inputs)[2 * task.window + k, task.step - 1] for k in (0, 1)]
        return np.stack([task.in_user_units(np.arange(3), one) for one in at], axis=1)

    first, last = forecasts(before), forecasts(after)
    alone = {name: forecasts(middle[name]) - first for name in middle}
    rest = {real: last - first - alone[kind], kind: last - first - alone[real]}
    # One baseline goes one way round, the other the other.
    ways = [
        {
            real: (alone[real][:, k] + rest[real][:, 1 - k]) / 2,
            kind: (rest[kind][:, k] + alone[kind][:, 1 - k]) / 2,
        }
        for k in (0, 1)
    ]
    got = {name: found.values[name][:, 0] for name in middle}
    assert any(
        all(np.allclose(got[name], way[name], rtol=1e-3, atol=1e-4) for name in got) for way in ways
    )
    assert min(np.abs(value).max() for value in got.values()) > 1e-3
    # All else is as if the baselines were of the same kind from the beginning.
    monkeypatch.setattr(Donors, "batch", lambda *_: {**after})
    again = attribute(task, donors, 2, 0)
    for name, value in again.values.items():
        expected = 0 if name in got else found.values[name]
        np.testing.assert_allclose(value, expected + 0 * value, atol=1e-5)


@pytest.mark.heavy
@pytest.mark.backends
def test_slopes_are_differences_of_values(fitted):
    base = fitted._fitted
    panel = base.panel(fitted._memory)
    windows = training_windows(panel, None, context_length=21, horizon=7).thinned(3)
    batch = gather(panel, windows, context_length=21, horizon=7)
    for role in ("past", "future", "static"):
        codes = batch[f"{role}_categorical"]
        batch[f"{role}_reference"] = np.ones_like(codes)
        batch[f"{role}_share"] = np.full(codes.shape, 0.4, np.float32)
    weights = np.zeros((3, 7, len(base.levels)), np.float32)
    weights[:, 4, 6] = 1
    names = [name for name in batch if name.endswith(("_real", "_share"))]
    run = slopes(fitted.model_, names)
    values, found = run(batch, weights)
    expected = fitted.model_.predict_on_batch(batch)[:, 4, 6]
    np.testing.assert_allclose(values, expected, rtol=1e-5, atol=1e-5)
    rng = np.random.default_rng(0)
    for name in names:
        along = rng.normal(size=batch[name].shape).astype(np.float32)
        ends = [
            run({**batch, name: batch[name] + side * along}, weights)[0] for side in (0.01, -0.01)
        ]
        slope = (found[name] * along).reshape(3, -1).sum(axis=1)
        np.testing.assert_allclose((ends[0] - ends[1]) / 0.02, slope, rtol=0.02, atol=2e-3)


@pytest.mark.slow
@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="others have no choice of it")
def test_slopes_by_xla_are_the_same(fitted, compiled):
    base = fitted._fitted
    panel = base.panel(fitted._memory)
    windows = training_windows(panel, None, context_length=21, horizon=7).thinned(3)
    batch = gather(panel, windows, context_length=21, horizon=7)
    weights = np.zeros((3, 7, len(base.levels)), np.float32)
    weights[:, 4, 6] = 1
    names = ["past_real", "future_real", "static_real"]
    plain, xla = (
        slopes(fitted.model_, names, samples=samples)(batch, weights) for samples in (1, 10**6)
    )
    np.testing.assert_allclose(xla[0], plain[0], rtol=1e-5)
    for name in names:
        assert len(xla[1][name]) == 3, "what filled the batch up is gone"
        np.testing.assert_allclose(xla[1][name], plain[1][name], rtol=1e-3, atol=1e-5)


@pytest.mark.heavy
@pytest.mark.backends
def test_a_share_stands_between_two_categories(fitted):
    network = fitted.model_.network
    base = fitted._fitted
    panel = base.panel(fitted._memory)
    windows = training_windows(panel, None, context_length=21, horizon=7).thinned(3)
    batch = gather(panel, windows, context_length=21, horizon=7)
    whole = fitted.model_.predict_on_batch(batch)
    for share, name in ((1, "past_categorical"), (0, "past_reference")):
        mixed = {**batch, "past_share": np.full(batch["past_categorical"].shape, share, np.float32)}
        mixed["past_reference"] = mixed["past_categorical"]
        other = "past_reference" if name == "past_categorical" else "past_categorical"
        mixed[other] = np.ones_like(mixed[other])
        np.testing.assert_allclose(fitted.model_.predict_on_batch(mixed), whole, atol=1e-5)
    assert network.patch_codes is not None


def test_baselines_have_the_phase_the_mask_and_the_level_of_the_window(fitted, history):
    base = fitted._fitted
    gappy = history.copy()
    gappy.loc[(gappy["store"] == "s1") & (gappy["date"] > "2024-02-10"), "weather"] = np.nan
    memory = fitted._recall(fitted._read_context(gappy[gappy["store"] == "s1"]))
    panel = base.panel(memory)
    donors = Donors.of(base, panel)
    windows = WindowIndex(np.array([panel.offsets[1] + 43, panel.offsets[2]]), np.array([1, 1]))
    batch = gather(panel, windows, context_length=21, horizon=7)
    chosen = donors.choose(panel, windows, 5, 0)
    origins = donors.windows.origin[chosen]
    days = panel.ordinal[origins] % 7
    first = panel.ordinal[panel.offsets[1]]
    np.testing.assert_array_equal(days[0], (first + 43) % 7)
    np.testing.assert_array_equal(days[1], (first + 53) % 7)
    assert len(np.unique(chosen[0])) == 5
    assert (panel.ordinal[origins] + 7 <= base.encoder.boundary).all()
    found = donors.batch(panel, windows, batch, chosen)
    own = np.repeat([0, 1], 5)
    for name in ("past_real", "future_real"):
        np.testing.assert_array_equal(np.isnan(found[name]), np.isnan(batch[name][own]))
    in_units = panel.offset[1] + panel.unit[1] * found["past_real"][..., 0].astype(float)
    assert np.abs(np.nanmean(in_units) - 20) < 3, "moved to the level of s1"
    for i, origin in enumerate(origins[0]):
        raw = panel.real[origin - 21 : origin, 0]
        np.testing.assert_allclose(np.diff(found["past_real"][i, :, 0]), np.diff(raw), atol=1e-5)


def test_a_few_series_are_explained_as_among_all(fitted, future):
    options = {"horizons": [1], "methods": "attribution", "baselines": 8}
    for stores in (["s2"], ["s0", "s2"]):
        some = fitted.explain(future[future["store"].isin(stores)], **options).forecast
        baseline = some.groupby("store")["baseline"].mean()
        level = pd.Series({"s0": 10.8, "s2": 28.6})[stores]
        # Series stand ten apart; baselines of each are at its own level.
        assert (baseline - level).abs().max() < 5


def test_a_transformed_target_and_the_papers_network(panel):
    one = panel[panel["store"] == "s1"].drop(columns=["store", "region", "size", "event"])
    model = FusionForecaster(
        horizon=3, context_length=8, time="date", target="sales", known="price",
        observed="weather", target_transform="log1p", architecture="tft", **SMALL,
    ).fit(one)  # fmt: skip
    found = model.explain(max_windows=2, horizons=3, methods="attribution", baselines=2)
    table = found.attribution
    sums = table.groupby("cutoff")["value"].sum() + table.groupby("cutoff")["baseline"].first()
    expected = found.forecast.set_index("cutoff")
    distance = np.abs(expected["median"] - expected["baseline"]).mean()
    assert np.abs(sums - expected["median"]).max() < 0.01 * distance


def test_times_that_are_numbers_have_missing_values_too(panel):
    numbered = small_panel(2, 30).assign(date=lambda x: (x["date"] - x["date"].min()).dt.days)
    model = FusionForecaster(horizon=3, context_length=8, freq=1, **ROLES, **SMALL).fit(numbered)
    table = model.explain(max_windows=2, horizons=1, methods="attribution", baselines=1).attribution
    assert table["source_time"].isna().any()
    assert table["source_time"].max() <= 30


def test_bad_requests(fitted, future):
    for options, text in (
        ({"horizons": 8}, "horizons: expected steps ahead from 1 to the horizon of 7, received"),
        ({"horizons": []}, "horizons: expected steps ahead"),
        ({"horizons": 2.5}, r"horizons: expected steps ahead .* received \[2.5\]"),
        ({"quantile": 1.0}, r"quantile: expected one number in \(0, 1\), received 1.0"),
        ({"quantile": [0.5]}, "quantile: expected one number"),
        ({"methods": "shap"}, "methods: expected some of .* received"),
        ({"methods": ()}, "methods: expected some of"),
        ({"methods": 3}, "methods: expected some of"),
        ({"checks": "all"}, "checks: expected 'fast', 'full' or None, received 'all'"),
        ({"baselines": 0}, "baselines: expected an integer >= 1"),
    ):
        with pytest.raises(ValueError, match=text):
            fitted.explain(future, **options)
    first = future[future["date"] == future["date"].min()]
    with pytest.raises(ValueError, match="no row of X is at the steps .*3.* they are at .*1"):
        fitted.explain(first, horizons=[3])
    with pytest.raises(ValueError, match="X has no row"):
        fitted.explain(future.iloc[:0])
    with pytest.raises(ValueError, match="ask for it in explain.methods='attribution'"):
        _ = fitted.explain(first).attribution


def test_an_unfitted_estimator_says_so():
    from sklearn.exceptions import NotFittedError

    with pytest.raises(NotFittedError):
        FusionForecaster().explain(methods="attribution")


def test_the_estimator_is_left_as_it_was(fitted, future, found):
    before = copy.deepcopy(fitted.predict(future))
    fitted.explain(future, horizons=2, methods="attribution", baselines=1)
    np.testing.assert_array_equal(fitted.predict(future), before)
