"""make_windows against plain Python, from the frame on: gaps, ragged lengths, NaN, categories."""

import contextlib
import math

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsfusion.data import load_air_passengers, make_windows
from tsfusion.exceptions import DataWarning

ROLES = {
    "time": "day", "series": "shop", "target": "sales", "known": ["price", "event"],
    "observed": ["visits", "sky"], "static": ["size", "region"], "weight": "trust",
}  # fmt: skip
DAY = pd.Timestamp("2024-02-26")

ROW = st.tuples(
    st.one_of(st.just(math.nan), st.integers(-50, 50).map(float)),
    st.integers(0, 9).map(float),
    st.sampled_from(["none", "fair"]),
    st.one_of(st.just(math.nan), st.integers(0, 9).map(float)),
    st.sampled_from(["sun", "rain", None]),
    st.sampled_from([0.0, 1.0, 2.0]),
)
PANELS = st.lists(
    st.dictionaries(st.integers(0, 9), ROW, min_size=1, max_size=8), min_size=1, max_size=3
)


def frame_of(panel, order=None):
    rows = [
        (f"s{s}", DAY + pd.Timedelta(days=t), *row, float(s), ["north", "south"][s % 2])
        for s, series in enumerate(panel)
        for t, row in series.items()
    ]
    columns = [
        "shop", "day", "sales", "price", "event", "visits", "sky", "trust", "size", "region"
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=columns)
    frame = frame.astype({"sky": "str"})
    return frame if order is None else frame.iloc[order].reset_index(drop=True)


def by_hand(panel, context, horizon, origins, stride, least):
    """Yield (series, origin step, past rows, rows ahead) of each window; None where no row is."""
    found = []
    for s, series in enumerate(panel):
        first, last = min(series), max(series)
        row = lambda t, series=series: series.get(t)  # noqa: E731
        known = [t for t in sorted(series) if math.isfinite(series[t][0])]
        if origins == "last":
            starts = [known[-1] + 1] if known else []
        elif origins == "all":
            starts = list(range(first + 1, last + 2))
        else:

            def useful(t, stop, known=known):
                before = any(t - context <= k < t for k in known)
                return before and any(t <= k < min(t + horizon, stop) for k in known)

            starts = [t for t in range(first, last + 2 - horizon) if useful(t, last + 1)]
            starts = starts or [t for t in range(first, last + 1) if useful(t, last + 1)]
        starts = [t for t in starts if t - first >= least]
        starts = [t for t in starts if (max(starts) - t) % stride == 0]
        found += [
            (s, t, [row(k) for k in range(t - context, t)], [row(k) for k in range(t, t + horizon)])
            for t in starts
        ]
    return found


@settings(deadline=None, max_examples=120)
@given(
    PANELS, st.integers(1, 5), st.integers(1, 4), st.sampled_from(["training", "all", "last"]),
    st.integers(1, 3), st.integers(1, 3), st.randoms(use_true_random=False),
)  # fmt: skip
def test_windows_are_those_of_plain_python(panel, context, horizon, origins, stride, least, random):
    expected = by_hand(panel, context, horizon, origins, stride, least)
    order = list(range(sum(map(len, panel))))
    random.shuffle(order)
    frame = frame_of(panel, order)
    asked = {
        "context_length": context, "horizon": horizon, "origins": origins, "stride": stride,
        "min_history": least, "freq": "D", **ROLES,
    }  # fmt: skip
    if not expected:
        with pytest.raises(ValueError, match="no window fits"):
            make_windows(frame, **asked)
        return
    without = len(panel) - len({s for s, *_ in expected})
    with pytest.warns(DataWarning) if without else contextlib.nullcontext():
        windows = make_windows(frame, **asked)
    assert len(windows) == len(expected)
    shown = windows.index
    events, skies = windows.vocabularies["event"], windows.vocabularies["sky"]
    code = lambda words, word: 0 if word is None else 1 + list(words).index(word)  # noqa: E731
    arrays = {name: getattr(windows, name) for name in PROPERTIES}
    for w, (s, t, past, ahead) in enumerate(expected):
        assert shown["shop"][w] == f"s{s}"
        assert shown["cutoff"][w] == DAY + pd.Timedelta(days=t - 1)
        for i, row in enumerate(past):
            sales, price, event, visits, sky = (row or (math.nan,) * 5)[:5]
            got = arrays["past_real"][w, i]
            np.testing.assert_array_equal(got, np.float32([sales, visits, price]))
            got = arrays["past_categorical"][w, i]
            assert list(got) == ([code(skies, sky), code(events, event)] if row else [0, 0])
            seen = row is not None and not (math.isnan(sales) and math.isnan(visits) and not sky)
            assert arrays["past_mask"][w, i] == seen
        for i, row in enumerate(ahead):
            inside = row is not None
            price, event = (row[1], code(events, row[2])) if inside else (math.nan, 0)
            np.testing.assert_array_equal(arrays["future_real"][w, i], np.float32([price]))
            assert arrays["future_categorical"][w, i] == event
            sales = row[0] if inside else math.nan
            np.testing.assert_array_equal(arrays["targets"][w, i], sales)
            assert arrays["target_mask"][w, i] == math.isfinite(sales)
            assert arrays["future_mask"][w, i] == inside
            assert arrays["weights"][w, i] == (row[5] if math.isfinite(sales) else 0)
        assert arrays["static_real"][w] == s
        region = windows.vocabularies["region"][arrays["static_categorical"][w, 0] - 1]
        assert region == ["north", "south"][s % 2]


PROPERTIES = (
    "past_real", "past_categorical", "past_mask", "future_real", "future_categorical",
    "future_mask", "static_real", "static_categorical", "targets", "target_mask", "weights",
)  # fmt: skip


def shops(n_series=3, n_steps=30):
    rng = np.random.default_rng(0)
    parts = []
    for s in range(n_series):
        n = n_steps - 4 * s
        parts.append(
            pd.DataFrame(
                {
                    "shop": f"s{s}", "day": pd.date_range(DAY, periods=n),
                    "sales": rng.normal(size=n),
                    "price": rng.random(n), "event": rng.choice(["none", "fair"], n),
                    "visits": rng.normal(size=n), "sky": rng.choice(["sun", "rain"], n),
                    "size": float(s), "region": "north",
                    "trust": np.where(np.arange(n) < 9, 0.0, s),
                }
            )
        )  # fmt: skip
    return pd.concat(parts, ignore_index=True)


def test_nothing_after_the_cutoff_changes_what_is_past():
    frame = shops()
    asked = {"context_length": 5, "horizon": 3, "origins": "all", **ROLES}
    before = make_windows(frame, **asked)
    at = (before.index["cutoff"] == DAY + pd.Timedelta(days=9)).to_numpy()
    late = frame["day"] > DAY + pd.Timedelta(days=9)
    changed = frame.copy()
    changed.loc[late, ["sales", "visits", "price"]] *= -7
    changed.loc[late, "sky"] = "hail"
    after = make_windows(changed, **asked)
    assert at.sum() == 3
    for name in ("past_real", "past_mask"):
        np.testing.assert_array_equal(getattr(before.take(at), name), getattr(after.take(at), name))
    for one, two in ((before, after),):
        words = [np.append(x.vocabularies["sky"], "?") for x in (one, two)]
        first, second = (
            w[x.take(at).past_categorical[..., 0] - 1] for x, w in zip((one, two), words)
        )
        np.testing.assert_array_equal(first, second)


def test_a_part_is_what_is_found_in_the_whole():
    windows = make_windows(shops(), context_length=4, horizon=2, origins="all", **ROLES)
    inputs = windows.inputs()
    assert set(inputs) == {*windows.names, "past_mask"}
    some = np.array([70, 3, 3, 30])
    for name in PROPERTIES:
        whole = getattr(windows, name)
        np.testing.assert_array_equal(getattr(windows.take(some), name), whole[some])
        if name in inputs:
            np.testing.assert_array_equal(whole, inputs[name])
    late = (windows.index["cutoff"] > DAY + pd.Timedelta(days=20)).to_numpy()
    assert len(windows.take(late)) == late.sum()


def test_series_without_windows_are_counted():
    frame = shops()
    frame.loc[frame["shop"] == "s1", "sales"] = np.nan
    message = "2 of 3 series give no window; the first is 's1' with 26 steps"
    with pytest.warns(DataWarning, match=message):
        windows = make_windows(frame, context_length=4, horizon=2, min_history=23, **ROLES)
    assert set(windows.index["shop"]) == {"s0"}


def test_columns_without_a_role_are_named():
    asked = {"context_length": 4, "horizon": 2, **ROLES, "known": ["price"]}
    with pytest.warns(DataWarning, match=r"the columns \['event'\] have no role and are left out"):
        windows = make_windows(shops(), **asked)
    assert windows.names["future_real"] == ["price"]
    assert windows.names["future_categorical"] == []


def test_a_table_without_series_or_with_two_keys():
    frame = shops()[["shop", "day", "sales"]]
    asked = {"context_length": 3, "horizon": 2, "time": "day", "target": "sales"}
    one = make_windows(frame.loc[frame["shop"] == "s2", ["day", "sales"]], **asked)
    assert list(one.index.columns) == ["cutoff"]
    frame["town"] = np.where(frame["shop"] == "s2", "York", "Bath")
    two = make_windows(frame, series=["town", "shop"], **asked)
    assert list(two.index.columns) == ["town", "shop", "cutoff"]
    assert two.index.iloc[-1].tolist() == ["York", "s2", DAY + pd.Timedelta(days=19)]
    assert two.past_categorical.shape == (len(two), 3, 0)
    assert two.future_real.shape == (len(two), 2, 0)


def test_flat_windows_have_a_column_for_each_step():
    windows = make_windows(shops(), context_length=2, horizon=2, **ROLES).take(np.arange(4))
    X, y, weights = windows.flatten()
    assert list(X.columns) == [
        "sales[t-1]", "sales[t]", "visits[t-1]", "visits[t]", "price[t-1]", "price[t]",
        "sky[t-1]", "sky[t]", "event[t-1]", "event[t]", "price[t+1]", "price[t+2]",
        "event[t+1]", "event[t+2]", "size", "region",
    ]  # fmt: skip
    assert list(y.columns) == ["sales[t+1]", "sales[t+2]"]
    np.testing.assert_array_equal(X["price[t]"], windows.past_real[:, 1, 2])
    np.testing.assert_array_equal(X["price[t+2]"], windows.future_real[:, 1, 0])
    frame = shops()
    first = frame[frame["shop"] == "s0"].iloc[int(windows.windows.origin[0]) - 1]
    assert X["sky[t]"][0] == first["sky"]
    assert X["event[t]"][0] == first["event"]
    assert isinstance(X["sky[t]"].dtype, pd.CategoricalDtype)
    np.testing.assert_array_equal(y, windows.targets)
    np.testing.assert_array_equal(weights, windows.weights)


def test_a_plain_regressor_learns_from_flat_windows():
    from sklearn.linear_model import LinearRegression

    steps = np.arange(200)
    frame = pd.DataFrame({"step": steps, "y": np.sin(steps / 3)})
    asked = {"context_length": 4, "horizon": 3, "min_history": 4}
    windows = make_windows(frame, time="step", target="y", **asked)
    X, y, _ = windows.flatten()
    assert LinearRegression().fit(X[:150], y[:150]).score(X[150:], y[150:]) > 0.999


def test_the_calendar_is_added_on_request():
    asked = {"context_length": 3, "horizon": 2, "time": "month", "target": "passengers"}
    windows = make_windows(load_air_passengers(), calendar=True, **asked)
    assert "month" in windows.names["future_categorical"]
    X, _, _ = windows.flatten()
    month = (windows.index["cutoff"] + pd.DateOffset(months=1)).dt.month - 1
    np.testing.assert_array_equal(X["month[t+1]"].astype(int), month)
    assert make_windows(load_air_passengers(), **asked).names["future_categorical"] == []


@pytest.mark.parametrize("sampling", ["series", "length", "weight"])
def test_draws_follow_what_was_asked(sampling):
    asked = {"context_length": 4, "horizon": 2, **ROLES}
    every = make_windows(shops(), **asked)
    drawn = make_windows(shops(), sampling=sampling, n_windows=30_000, random_state=1, **asked)
    again = make_windows(shops(), sampling=sampling, n_windows=30_000, random_state=1, **asked)
    np.testing.assert_array_equal(drawn.windows.origin, again.windows.origin)
    assert len(drawn) == 30_000
    count = np.bincount(every.windows.series)
    chance = {
        "series": 1 / count[every.windows.series],
        "length": np.ones(len(every)),
        "weight": every.weights.sum(axis=1),
    }[sampling]
    share = np.bincount(np.searchsorted(every.windows.origin, drawn.windows.origin)) / len(drawn)
    share = np.pad(share, (0, len(every) - len(share)))
    np.testing.assert_allclose(share, chance / chance.sum(), atol=0.005)


def test_batches_are_views_of_the_panel():
    windows = make_windows(shops(), context_length=4, horizon=2, **ROLES)
    parts = list(windows.batches(7))
    assert [len(part) for part in parts[:-1]] == [7] * (len(parts) - 1)
    assert all(part.panel is windows.panel for part in parts)
    joined = np.concatenate([part.past_real for part in parts])
    np.testing.assert_array_equal(joined, windows.past_real)


def test_polars_gives_the_same_windows():
    frame = shops()
    one = make_windows(frame, context_length=4, horizon=2, **ROLES)
    two = make_windows(pl.from_pandas(frame), context_length=4, horizon=2, **ROLES)
    np.testing.assert_array_equal(one.past_real, two.past_real)
    np.testing.assert_array_equal(one.past_categorical, two.past_categorical)
    assert (one.index["shop"] == two.index["shop"]).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context_length": 0}, "context_length: expected an integer >= 1, received 0"),
        ({"horizon": 1.5}, "horizon: expected an integer >= 1, received 1.5"),
        ({"stride": True}, "stride: expected an integer >= 1"),
        ({"min_history": 0}, "min_history"),
        ({"origins": "some"}, "origins: expected one of .* received 'some'"),
        ({"sampling": "luck", "n_windows": 3}, "sampling: expected one of"),
        ({"sampling": "series"}, "n_windows: expected an integer >= 1, received None"),
        ({"n_windows": 3}, "n_windows=3 needs sampling="),
        ({"target": "sale"}, "Did you mean 'sales'"),
        ({"min_history": 50}, "no window fits. The longest of 3 series has 30 steps"),
    ],
)
def test_bad_parameters(changes, message):
    with pytest.raises(ValueError, match=message):
        make_windows(shops(), **{"context_length": 4, "horizon": 2, **ROLES, **changes})


def test_bad_frames():
    asked = {"context_length": 4, "horizon": 2, **ROLES}
    twice = pd.concat([shops(), shops().iloc[[40]]], ignore_index=True)
    with pytest.raises(ValueError, match="Series 's1' has more than one row at time .*rows 40 and"):
        make_windows(twice, **asked)
    with pytest.raises(ValueError, match="received an empty table"):
        make_windows(shops().iloc[:0], **asked)
    with pytest.raises(ValueError, match="no window fits.* 0 of 78 rows have a known target"):
        make_windows(shops().assign(sales=np.nan), **asked)
    with pytest.raises(ValueError, match="expected some row weight above 0"):
        make_windows(shops().assign(trust=0.0), sampling="weight", n_windows=2, **asked)


def test_columns_of_one_name_are_refused():
    table = pd.DataFrame({"t": range(8), "y": np.arange(8.0), "s": "a", "y[t]": 100.0})
    windows = make_windows(
        table, time="t", target="y", series="s", static=["y[t]"], context_length=3, horizon=2
    )
    with pytest.raises(ValueError, match=r"flatten: two columns would be called 'y\[t\]'"):
        windows.flatten()
    table = pd.DataFrame({"t": range(8), "y": np.arange(8.0), 1: 10.0, "1": 20.0})
    windows = make_windows(table, time="t", target="y", known=[1, "1"], context_length=2, horizon=1)
    with pytest.raises(ValueError, match="two columns would be called '1"):
        windows.flatten()


def test_no_window_may_be_taken():
    table = pd.DataFrame({"t": range(8), "y": np.arange(8.0)})
    windows = make_windows(table, time="t", target="y", context_length=2, horizon=1)
    assert len(windows.take([])) == 0
    assert len(windows.take(np.zeros(len(windows), bool))) == 0
