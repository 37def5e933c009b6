"""Target scalers against scikit-learn's, series by series; what goes in comes back."""

import pickle

import numpy as np
import pandas as pd
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.preprocessing import PowerTransformer, RobustScaler, StandardScaler

from tsfusion.data import TargetScaler
from tsfusion.data.scaling import location_and_spread

METHODS = [None, "standard", "robust", "log1p", "box-cox", "yeo-johnson"]
SKLEARN = {
    "standard": StandardScaler(),
    "robust": RobustScaler(),
    "box-cox": PowerTransformer("box-cox"),
    "yeo-johnson": PowerTransformer("yeo-johnson"),
}
WIDE = {"bounds": (-5, 5)}


def panel(method, seed=0):
    """Twelve series of other lengths, shapes and levels, rows shuffled."""
    generator = np.random.default_rng(seed)
    parts = []
    for s in range(12):
        n = int(generator.integers(15, 80))
        # Of values far below 1, Yeo-Johnson wants powers past any bound.
        size = 10.0 ** (s % 3 - (method != "yeo-johnson"))
        y = generator.gamma(0.5 + s, size, n) + 0.01
        if method == "yeo-johnson" and s % 2:
            y = y - y.mean()
        parts.append(pd.DataFrame({"series": f"s{s}", "y": y}))
    return pd.concat(parts).sample(frac=1, random_state=seed, ignore_index=True)


def test_no_rows_teach_nothing():
    scaler = TargetScaler("log1p").fit([], [], labels=["a", "b"])
    np.testing.assert_array_equal(scaler.parameters_, [[1, 1, 0, 1]] * 3)
    assert scaler.transform([np.e - 1], [1], labels=["a", "b"]) == pytest.approx([1])


@pytest.mark.parametrize("method", SKLEARN)
@pytest.mark.parametrize("seed", range(3))
def test_each_series_as_scikit_learn_has_it(method, seed):
    frame = panel(method, seed)
    scaler = TargetScaler(method, **WIDE).fit(frame["y"], frame["series"])
    z = scaler.transform(frame["y"], frame["series"])
    for label, rows in frame.groupby("series"):
        other = clone(SKLEARN[method]).fit(rows[["y"]])
        expected = other.transform(rows[["y"]])[:, 0]
        np.testing.assert_allclose(z[rows.index], expected, rtol=1e-5, atol=1e-5)
        if hasattr(other, "lambdas_"):
            found = scaler.parameters_[scaler.labels_.get_loc(label), 0]
            assert found == pytest.approx(other.lambdas_[0], abs=1e-5)


@pytest.mark.parametrize("method", SKLEARN)
def test_the_panel_as_scikit_learn_has_one_column(method):
    frame = panel(method)
    scaler = TargetScaler(method, by="panel", **WIDE).fit(frame["y"], frame["series"])
    other = clone(SKLEARN[method]).fit(frame[["y"]])
    z = scaler.transform(frame["y"])
    np.testing.assert_allclose(z, other.transform(frame[["y"]])[:, 0], rtol=1e-5, atol=1e-5)
    assert len(scaler.labels_) == 0
    np.testing.assert_array_equal(z, scaler.transform(frame["y"], ["new"] * len(frame)))


def test_the_power_stays_within_its_bounds_and_is_the_best_there():
    frame = panel("box-cox")
    free = TargetScaler("box-cox", **WIDE).fit(frame["y"], frame["series"]).parameters_[:-1, 0]
    for low, high in ((0.0, 2.0), (0.3, 0.4), (1.0, 1.0)):
        bound = TargetScaler("box-cox", bounds=(low, high)).fit(frame["y"], frame["series"])
        np.testing.assert_allclose(bound.parameters_[:-1, 0], np.clip(free, low, high), atol=1e-6)


@st.composite
def values(draw, method):
    """A series of one scale, from 1e-9 to 1e12, in the domain of the method."""
    size = 10.0 ** draw(st.integers(-9, 12))
    # Of subnormal numbers no scaler can keep six digits.
    small = st.floats(-1, 1, width=32, allow_subnormal=False)
    numbers = draw(st.lists(small, min_size=1, max_size=30))
    y = np.array(numbers) * size
    if method == "box-cox":
        y = np.abs(y) + size * 1e-6
    # Of both signs and far from 1, one side of Yeo-Johnson is squared and the other is a logarithm.
    if method == "log1p" or (method == "yeo-johnson" and size > 1e3):
        y = np.abs(y)
    return y


@pytest.mark.parametrize("method", METHODS)
@settings(deadline=None, max_examples=60)
@given(st.data())
def test_what_goes_in_comes_back(method, data):
    parts = [data.draw(values(method)) for _ in range(data.draw(st.integers(1, 4)))]
    y = np.concatenate(parts)
    series = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
    y[data.draw(st.integers(0, len(y) - 1))] = np.nan
    scaler = TargetScaler(method).fit(y, series)
    z = scaler.transform(y, series)
    back = scaler.inverse_transform(z, series)
    np.testing.assert_array_equal(np.isnan(z), np.isnan(y))
    for s, part in enumerate(parts):
        size = np.abs(part).max()
        np.testing.assert_allclose(back[series == s], y[series == s], rtol=1e-6, atol=1e-6 * size)
    # Far from the values of training, too: of a new series and of the old.
    far = np.geomspace(1e-3, 1e3, 9) * np.nanmax(np.abs(np.append(y, 1e-9)))
    assume(np.isfinite(far).all())
    for label in (0, "new"):
        found = scaler.inverse_transform(scaler.transform(far, [label] * 9), [label] * 9)
        np.testing.assert_allclose(found, far, rtol=1e-6, atol=1e-6 * far[4])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("bounds", [(0, 2), (-2, 4)])
def test_quantiles_keep_their_order_however_far_out(method, bounds):
    frame = panel(method)
    scaler = TargetScaler(method, bounds=bounds).fit(frame["y"], frame["series"])
    z = np.linspace(-40, 40, 101)[None].repeat(13, axis=0)
    labels = [*scaler.labels_, "new"]
    y = scaler.inverse_transform(z, labels)
    assert y.shape == z.shape
    assert np.isfinite(y).all()
    assert (np.diff(y, axis=1) >= 0).all()
    middle = np.abs(z) < 1
    assert (np.diff(y[:, middle[0]], axis=1) > 0).all()
    flat = scaler.inverse_transform(z[:, 7], labels)
    np.testing.assert_array_equal(flat, y[:, 7])
    if method == "box-cox":
        assert (y >= 0).all()
    if method == "log1p":
        assert (y >= -1).all()


def test_where_box_cox_has_no_inverse_the_edge_of_its_domain_comes():
    y = np.random.default_rng(0).gamma(9, 1, 200)
    power, unit, location, scale = TargetScaler("box-cox").fit(y).parameters_[0]
    assert 0 < power < 2
    edge = (-1 / power - location) / scale
    scaler = TargetScaler("box-cox").fit(y)
    assert scaler.inverse_transform([edge - 1, edge - 1e-9]).tolist() == [0.0, 0.0]
    assert 0 < scaler.inverse_transform([edge + 1e-3])[0] < 0.1 * unit
    heavy = np.exp(np.random.default_rng(0).gumbel(0, 1, 200)) + 1
    scaler = TargetScaler("box-cox", bounds=(-3, 3)).fit(heavy)
    assert scaler.parameters_[0, 0] < -0.2
    out = scaler.inverse_transform([1e3, 1e6])
    assert np.isfinite(out).all()
    assert out[0] == out[1] > heavy.max()


def test_medians_go_through_and_means_do_not():
    y = np.random.default_rng(0).lognormal(2, 1, 999)
    scaler = TargetScaler("log1p").fit(y)
    z = scaler.transform(y)
    assert scaler.inverse_transform([np.median(z)])[0] == pytest.approx(np.median(y))
    assert scaler.inverse_transform([z.mean()])[0] < 0.8 * y.mean()


def test_a_series_never_seen_takes_the_median_parameters():
    frame = panel("box-cox")
    scaler = TargetScaler("box-cox").fit(frame["y"], frame["series"])
    np.testing.assert_allclose(
        scaler.parameters_[-1], np.median(scaler.parameters_[:-1], axis=0), rtol=1e-12
    )
    y = np.array([1.0, 7.0])
    power, unit, location, scale = scaler.parameters_[-1]
    expected = (((y / unit) ** power - 1) / power - location) / scale
    np.testing.assert_allclose(scaler.transform(y, ["new", "new"]), expected)


@pytest.mark.parametrize("method", ["box-cox", "yeo-johnson"])
def test_a_short_or_constant_series_takes_the_power_of_the_others(method):
    long = panel(method)
    short = pd.DataFrame({"series": "short", "y": [3.0, 4.0, 9.0]})
    flat = pd.DataFrame({"series": "flat", "y": [5.0] * 30})
    frame = pd.concat([long, short, flat])
    scaler = TargetScaler(method).fit(frame["y"], frame["series"])
    table = pd.DataFrame(scaler.parameters_[:-1], scaler.labels_, ["power", "unit", "m", "s"])
    power = np.median(table["power"].drop(["short", "flat"]))
    assert table["power"][["short", "flat"]].tolist() == [power, power]
    others = table.drop("flat")
    spread = np.median(others["s"])
    if method != "box-cox":
        spread = min(spread, table["m"]["flat"] * np.median(others["s"] / others["m"].abs()))
    assert table["s"]["flat"] == pytest.approx(spread)
    z = scaler.transform(short["y"], short["series"])
    assert [z.mean(), z.std()] == pytest.approx([0, 1], abs=1e-9)
    alone = TargetScaler(method).fit(short["y"])
    assert alone.parameters_[0, 0] == 1.0


@pytest.mark.parametrize("method", ["standard", "robust"])
def test_a_constant_series_varies_in_proportion_to_its_level(method):
    rng = np.random.default_rng(0)
    levels = {"a": 100.0, "b": 1e4, "c": -1e6}
    parts = {name: level * (1 + 0.1 * rng.normal(size=50)) for name, level in levels.items()}
    parts |= {"five": np.full(50, 5.0), "zero": np.zeros(50), "high": np.full(50, 1e9)}
    y, series = np.concatenate([*parts.values()]), np.repeat([*parts], 50)
    scaler = TargetScaler(method).fit(y, series)
    table = pd.DataFrame(scaler.parameters_[:-1], scaler.labels_, ["power", "unit", "m", "s"])
    moving = table.loc[[*levels]]
    typical = moving["s"].median()
    assert table["s"]["five"] == pytest.approx(5 * (moving["s"] / moving["m"].abs()).median())
    assert table["s"][["zero", "high"]].tolist() == pytest.approx([typical] * 2)


@pytest.mark.parametrize("method", METHODS)
def test_constant_and_unknown_series_stay_finite(method):
    y = np.array([5.0, 5.0, np.nan, np.nan, 1e12, 1e12])
    series = [0, 0, 1, 1, 2, 2]
    scaler = TargetScaler(method).fit(y, series)
    z = scaler.transform(np.nan_to_num(y, nan=3.0), series)
    assert np.isfinite(z).all()
    np.testing.assert_allclose(scaler.inverse_transform(z, series)[[0, 2, 4]], [5.0, 3.0, 1e12])
    nothing = TargetScaler(method).fit(np.full(3, np.nan), ["a", "b", "c"])
    assert nothing.inverse_transform(nothing.transform([2.0], ["a"]), ["a"])[0] == pytest.approx(2)
    assert TargetScaler(method).fit([], []).transform([], []).shape == (0,)


def test_an_interquartile_range_of_zero_gives_way_to_the_standard_deviation():
    y = np.array([0.0] * 20 + [1000.0])
    assert TargetScaler("robust").fit(y).parameters_[0, 2:].tolist() == [0.0, y.std()]


# Single precision: the square of a number below 1e-154 is no longer one.
@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(-1e6, 1e6, width=32)), max_size=40))
def test_location_and_spread_agree_with_numpy(pairs):
    codes = np.array([pair[0] for pair in pairs], int)
    y = np.array([pair[1] for pair in pairs], float)
    mean, spread = location_and_spread(y, codes, 5)
    median, between = location_and_spread(y, codes, 5, robust=True)
    for s in range(5):
        part = y[codes == s]
        if len(part) == 0:
            assert mean[s] == spread[s] == median[s] == between[s] == 0
            continue
        size = np.abs(part).max()
        np.testing.assert_allclose(mean[s], part.mean(), atol=1e-9 * size)
        np.testing.assert_allclose(spread[s], part.std(), rtol=1e-6, atol=1e-9 * size)
        np.testing.assert_allclose(median[s], np.median(part), rtol=1e-12, atol=1e-12 * size)
        low, high = np.quantile(part, [0.25, 0.75])
        if high - low > 1e-9 * size:
            np.testing.assert_allclose(between[s], high - low, rtol=1e-6)


def test_codes_and_labels_of_several_columns():
    frame = panel("standard")
    shops = pd.MultiIndex.from_arrays([frame["series"], frame.index % 2], names=["s", "shop"])
    scaler = TargetScaler().fit(frame["y"], shops)
    codes, labels = shops.factorize()
    by_codes = TargetScaler().fit(frame["y"], codes, labels=labels)
    np.testing.assert_array_equal(scaler.parameters_, by_codes.parameters_)
    np.testing.assert_array_equal(
        scaler.transform(frame["y"], shops), by_codes.transform(frame["y"], codes, labels=labels)
    )
    one = scaler.transform([1.0], [("s3", 1)])
    mean, std = frame["y"][shops == ("s3", 1)].agg(["mean", lambda y: y.std(ddof=0)])
    assert one[0] == pytest.approx((1 - mean) / std)


def test_what_was_learned_is_plain_and_stays():
    frame = panel("box-cox")
    scaler = TargetScaler("box-cox").fit(frame["y"], frame["series"])
    with pytest.raises(ValueError, match="read-only"):
        scaler.parameters_[0, 0] = 3
    assert scaler.parameters_.dtype == np.float64
    again = pickle.loads(pickle.dumps(scaler))
    np.testing.assert_array_equal(again.parameters_, scaler.parameters_)
    assert clone(scaler).get_params() == scaler.get_params()
    assert not hasattr(clone(scaler), "parameters_")
    with pytest.raises(NotFittedError):
        clone(scaler).transform([1.0])


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("box-cox", 0.0, r"'box-cox': expected values above 0, received 0 in series 'b' at row 3 "
         r"\(2 rows in all\). Use 'yeo-johnson'"),
        ("log1p", -1.0, "'log1p': expected values above -1, received -1 in series 'b' at row 3"),
        ("standard", np.inf, "expected finite numbers, received inf in series 'b' at row 3"),
    ],
)  # fmt: skip
def test_a_value_outside_the_domain_is_named(method, value, message):
    y, series = np.array([1.0, 2, 3, value, value]), ["a", "a", "b", "b", "b"]
    with pytest.raises(ValueError, match=message):
        TargetScaler(method).fit(y, series)
    scaler = TargetScaler(method).fit(y[:3], series[:3])
    with pytest.raises(ValueError, match=message):
        scaler.transform(y, series)
    with pytest.raises(ValueError, match=message):
        scaler.transform(np.stack([np.ones(5), y], axis=1), series)
    with pytest.raises(ValueError, match="series 'b' at row 8"):
        scaler.check(y, series, row=np.array([5, 6, 7, 8, 9]))


def test_bad_parameters_and_shapes():
    with pytest.raises(ValueError, match="'method' parameter of TargetScaler must be a str among"):
        TargetScaler("cube-root").fit([1.0])
    with pytest.raises(ValueError, match="'by' parameter"):
        TargetScaler(by="row").fit([1.0])
    for bounds in ((2, 0), (0,), ("a", "b"), (0, 99), (0, np.nan)):
        with pytest.raises(ValueError, match="bounds: expected"):
            TargetScaler("box-cox", bounds=bounds).fit([1.0])
    with pytest.raises(ValueError, match=r"one label per row \(2\), received 3"):
        TargetScaler().fit([1.0, 2.0], ["a", "b", "c"])
    with pytest.raises(ValueError, match="expected a label in every row, row 1 has none"):
        TargetScaler().fit([1.0, 2.0], ["a", None])
    with pytest.raises(ValueError, match="one number per row, received shape"):
        TargetScaler().fit(np.ones((2, 2)), ["a", "b"])
    with pytest.raises(ValueError, match=r"expected shape \(R,\) or \(R, Q\)"):
        TargetScaler().fit(np.ones((2, 2, 2)), ["a", "b"])
