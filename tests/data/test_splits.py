"""Splits by time and by series, against plain Python that looks at one row at a time."""

import pickle

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_array
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, check_cv, cross_val_score
from sklearn.pipeline import make_pipeline

import tsfusion
from tsfusion.data import PanelSplit, cold_start_split, train_validation_test_split

ALIASES = ["h", "15min", "D", "B", "W-WED", "MS", "ME", "QS-FEB", "YE"]


def calendar(freq, n=40, tz=None):
    return list(pd.date_range("2024-02-28", periods=n, freq=freq, tz=tz))


def panel(spans, freq="D", tz=None, seed=None):
    """Series of (first step, length) on one calendar, in order or shuffled."""
    dates = calendar(freq, tz=tz)
    rows = [
        (f"s{i}", dates[first + j])
        for i, (first, length) in enumerate(spans)
        for j in range(length)
    ]
    frame = pd.DataFrame(rows, columns=["store", "date"])
    frame["value"] = np.arange(len(frame), dtype=float)
    return frame if seed is None else frame.sample(frac=1, random_state=seed)


def expected_splits(steps, *, n_splits, horizon, window, train_size, gap, step, refit_every):
    """Train and test rows of each split, or None where they do not fit."""
    steps = [s - min(steps) for s in steps]
    end = max(steps) + 1
    step = horizon if step is None else step
    cutoffs = [end - horizon - step * (n_splits - 1 - k) for k in range(n_splits)]
    if cutoffs[0] - gap < (train_size or 1):
        return None
    result = []
    for k, cutoff in enumerate(cutoffs):
        if k % refit_every == 0:
            stop = cutoff - gap
        start = 0
        if window == "sliding":
            start = stop - (train_size or cutoffs[0] - gap)
        train = [row for row, s in enumerate(steps) if start <= s < stop]
        test = [row for row, s in enumerate(steps) if cutoff <= s < cutoff + horizon]
        if not train or not test:
            return None
        result.append((train, test))
    return result


@st.composite
def cases(draw):
    freq = draw(st.sampled_from(ALIASES))
    tz = draw(st.sampled_from([None, "Europe/Paris"]))
    dates = calendar(freq, tz=tz)
    steps, names = [], []
    for i in range(draw(st.integers(1, 3))):
        mine = draw(st.sets(st.integers(0, len(dates) - 1), min_size=1, max_size=25))
        steps += mine
        names += [i] * len(mine)
    order = draw(st.permutations(range(len(steps))))
    frame = pd.DataFrame(
        {"store": [names[i] for i in order], "date": [dates[steps[i]] for i in order]}
    )
    setting = {
        "n_splits": draw(st.integers(1, 4)),
        "horizon": draw(st.integers(1, 6)),
        "window": draw(st.sampled_from(["expanding", "sliding"])),
        "train_size": draw(st.none() | st.integers(1, 8)),
        "gap": draw(st.integers(0, 3)),
        "step": draw(st.none() | st.integers(1, 7)),
        "refit_every": draw(st.integers(1, 3)),
    }
    return frame, [steps[i] for i in order], dates, freq, setting


@settings(max_examples=100, deadline=None)
@given(cases())
def test_windows_are_those_of_plain_python(case):
    frame, steps, dates, freq, setting = case
    cv = PanelSplit(**setting, time="date", series="store", freq=freq)
    expected = expected_splits(steps, **setting)
    if expected is None:
        with pytest.raises(ValueError, match="need .* steps|has no rows"):
            list(cv.split(frame))
        return
    found = [(train.tolist(), test.tolist()) for train, test in cv.split(frame)]
    assert found == expected
    table, cutoffs = cv.splits(frame), cv.cutoffs(frame)
    assert len(table) == cv.get_n_splits(frame) == setting["n_splits"]
    assert list(table["cutoff"]) == list(cutoffs)
    for k, (train, test) in enumerate(found):
        cutoff = dates.index(cutoffs[k])
        assert all(steps[row] < cutoff - setting["gap"] for row in train)
        assert all(cutoff <= steps[row] < cutoff + setting["horizon"] for row in test)
        row = table.iloc[k]
        assert (row["n_train"], row["n_test"]) == (len(train), len(test))
        assert row["refit"] == (k % setting["refit_every"] == 0)
        assert row["train_start"] <= frame["date"].iloc[train].min()
        assert row["train_end"] >= frame["date"].iloc[train].max()
        assert dates.index(row["test_end"]) == cutoff + setting["horizon"] - 1
        if not row["refit"]:
            assert train == found[k - 1][0]
    if (setting["step"] or setting["horizon"]) >= setting["horizon"]:
        tested = [row for _, test in found for row in test]
        assert len(tested) == len(set(tested))


@pytest.mark.parametrize("freq", ALIASES)
@pytest.mark.parametrize("tz", [None, "America/New_York"])
def test_the_frequency_is_inferred_from_panels_with_gaps(freq, tz):
    frame = panel([(0, 30), (5, 35), (20, 9)], freq, tz)
    frame = frame.drop(index=[3, 17, 40]).sample(frac=1, random_state=1)
    dates = calendar(freq, tz=tz)
    steps = [dates.index(date) for date in frame["date"]]
    setting = {
        "n_splits": 3, "horizon": 5, "window": "expanding", "train_size": None, "gap": 2,
        "step": 4, "refit_every": 1,
    }  # fmt: skip
    found = PanelSplit(**setting, time="date", series="store").split(frame)
    assert [(a.tolist(), b.tolist()) for a, b in found] == expected_splits(steps, **setting)


@pytest.mark.parametrize("n_splits", [2, 3, 5])
@pytest.mark.parametrize("test_size", [None, 2])
@pytest.mark.parametrize("gap", [0, 1])
def test_rows_in_order_are_split_as_by_scikit_learn(n_splits, test_size, gap):
    X = np.zeros((23, 2))
    theirs = list(TimeSeriesSplit(n_splits, test_size=test_size, gap=gap).split(X))
    for rows in (X, X.tolist(), csr_array(X), pd.DataFrame(X), pd.Series(X[:, 0]), range(23)):
        ours = list(PanelSplit(n_splits, horizon=test_size, gap=gap).split(rows))
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(mine[0], other[0])
            np.testing.assert_array_equal(mine[1], other[1])
    sliding = PanelSplit(n_splits, horizon=2, window="sliding", train_size=4)
    theirs = TimeSeriesSplit(n_splits, test_size=2, max_train_size=4).split(X)
    for mine, other in zip(sliding.split(X), theirs, strict=True):
        np.testing.assert_array_equal(mine[0], other[0])


def test_every_kind_of_panel_gives_the_same_rows():
    frame = panel([(0, 20), (4, 12)], seed=3)
    cv = PanelSplit(2, horizon=3, time="date", series="store")
    wanted = [(a.tolist(), b.tolist()) for a, b in cv.split(frame)]
    indexed = frame.set_index(["store", "date"])
    periods = frame.assign(date=frame["date"].dt.to_period("D"))
    numbers = frame.assign(date=(frame["date"] - frame["date"].min()).dt.days)
    plain = numbers.assign(store=numbers["store"].str[1:].astype(int)).to_numpy()
    for kind, other in {
        "polars": (cv, pl.from_pandas(frame)),
        "MultiIndex": (PanelSplit(2, horizon=3), indexed),
        "periods": (cv, periods),
        "numbers": (cv, numbers),
        "array": (PanelSplit(2, horizon=3, time=1, series=0), plain),
        "DatetimeIndex": (
            PanelSplit(2, horizon=3, series="store", time="index"),
            frame.set_index("date"),
        ),
        "only datetime column": (PanelSplit(2, horizon=3, series="store"), frame),
        "strings apart": (PanelSplit(2, horizon=3, time="date", series=["store"]), frame),
    }.items():
        splitter, X = other
        assert [(a.tolist(), b.tolist()) for a, b in splitter.split(X)] == wanted, kind


def test_cutoffs_have_the_type_of_the_times():
    frame = panel([(0, 20)], tz="Europe/Paris")
    cv = PanelSplit(2, horizon=3, time="date")
    assert cv.cutoffs(frame).dtype == frame["date"].dtype
    periods = frame["date"].dt.tz_localize(None).dt.to_period("D")
    assert list(cv.cutoffs(frame.assign(date=periods))) == list(periods.iloc[[14, 17]])
    assert list(cv.cutoffs(frame.assign(date=np.arange(20) * 5))) == [70, 85]
    assert list(PanelSplit(2, horizon=3).cutoffs(np.zeros(20))) == [14, 17]


def test_steps_may_be_the_times_that_are_there():
    frame = panel([(0, 40), (0, 40)])
    open_days = frame["date"].dt.day % 3 != 0
    traded = frame[open_days].sample(frac=1, random_state=0)
    days = sorted(set(traded["date"]))
    cv = PanelSplit(3, horizon=4, gap=1, time="date", series="store", freq="rows")
    assert list(cv.cutoffs(traded)) == [days[-12], days[-8], days[-4]]
    for (train, test), end in zip(cv.split(traded), (-8, -4, None)):
        assert set(traded["date"].iloc[test]) == set(days[:end][-4:])
        assert set(traded["date"].iloc[train]) == set(days[:end][:-5])


def test_a_model_that_is_not_refit_keeps_its_train_rows():
    cv = PanelSplit(4, horizon=2, refit_every=3, window="sliding", train_size=3)
    table = cv.splits(np.zeros(20))
    assert table["refit"].tolist() == [True, False, False, True]
    assert table["train_end"].tolist() == [11, 11, 11, 17]
    assert table["train_start"].tolist() == [9, 9, 9, 15]
    assert table["cutoff"].tolist() == [12, 14, 16, 18]


def test_scikit_learn_takes_it_for_one_of_its_own():
    frame = panel([(0, 40), (3, 30)], seed=5)
    frame["x"] = frame["value"] % 7
    y = 3 * frame["x"] + 1
    cv = PanelSplit(3, horizon=4, time="date", series="store")
    assert check_cv(cv) is cv
    model = make_pipeline(make_column_transformer(("passthrough", ["x"])), Ridge(alpha=1e-6))
    scores = cross_val_score(model, frame, y, cv=cv)
    assert len(scores) == 3
    assert scores.min() > 0.999
    search = GridSearchCV(model, {"ridge__alpha": [1e-6, 1e6]}, cv=cv).fit(frame, y)
    assert search.best_params_ == {"ridge__alpha": 1e-6}
    assert search.n_splits_ == 3
    assert clone(search).cv.horizon == 4
    assert vars(clone(cv, safe=False)) == vars(cv) == vars(pickle.loads(pickle.dumps(cv)))
    assert "".join(repr(cv).split()) == (
        "PanelSplit(freq=None,gap=0,horizon=4,n_splits=3,refit_every=1,series='store',step=None,"
        "time='date',train_size=None,window='expanding')"
    )
    assert tsfusion.PanelSplit is PanelSplit


def test_groups_are_ignored_with_scikit_learns_warning():
    X = np.zeros((12, 1))
    with pytest.warns(UserWarning, match="groups parameter is ignored by PanelSplit"):
        grouped = list(PanelSplit(2).split(X, groups=np.arange(12)))
    assert [b.tolist() for _, b in grouped] == [b.tolist() for _, b in PanelSplit(2).split(X)]


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"n_splits": 0}, "n_splits: expected a whole number from 1 on, received 0"),
        ({"n_splits": 2.5}, "n_splits: expected a whole number from 1 on, received 2.5"),
        ({"n_splits": True}, "n_splits: expected a whole number"),
        ({"horizon": 0}, "horizon: expected a whole number from 1 on, received 0"),
        ({"step": -1}, "step: expected a whole number from 1"),
        ({"train_size": 0}, "train_size: expected a whole number from 1"),
        ({"gap": -1}, "gap: expected a whole number from 0 on, received -1"),
        ({"refit_every": 0}, "refit_every: expected a whole number from 1"),
        ({"window": "rolling"}, "window: expected 'expanding' or 'sliding', received 'rolling'"),
    ],
)
def test_parameters_out_of_range_are_refused_at_once(parameters, message):
    with pytest.raises(ValueError, match=message):
        PanelSplit(**parameters)


def test_too_short_a_panel_says_what_fits():
    frame = panel([(0, 20)])
    message = (
        "5 splits with horizon=6, step=6, gap=1 and 1 training steps at the first need 32 steps, "
        r"the panel has 20 \(2024-02-28 00:00:00 to 2024-03-18 00:00:00\). At most n_splits=3 fits"
    )
    with pytest.raises(ValueError, match=message):
        next(PanelSplit(5, horizon=6, gap=1, time="date").split(frame))
    assert len(list(PanelSplit(3, horizon=6, gap=1, time="date").split(frame))) == 3
    with pytest.raises(ValueError, match="Not even one split fits"):
        PanelSplit(1, horizon=20).cutoffs(np.zeros(20))
    with pytest.raises(ValueError, match="10 training steps at the first"):
        PanelSplit(2, horizon=6, window="sliding", train_size=10).splits(np.zeros(20))


def test_a_window_without_rows_is_refused():
    frame = panel([(0, 30)]).drop(index=[24, 25, 26])
    with pytest.raises(
        ValueError,
        match="Split 1 of 3: the test window from 2024-03-23 00:00:00 to 2024-03-25 .* has no rows",
    ):
        list(PanelSplit(3, horizon=3, time="date", freq="D").split(frame))
    late = pd.DataFrame({"date": calendar("D")[:1] + calendar("D")[20:30]})
    with pytest.raises(ValueError, match="the train window .* has no rows"):
        PanelSplit(2, horizon=5, window="sliding", train_size=2, time="date").splits(late)


def test_what_is_no_panel_is_refused():
    frame = panel([(0, 10), (0, 10)])
    for cv, X, message in [
        (PanelSplit(time="day"), frame, "time: expected a column of X, received 'day'"),
        (PanelSplit(series="shop", time="date"), frame, "series: expected .* received 'shop'"),
        (PanelSplit(time="date"), frame, "pass series="),
        (
            PanelSplit(time="date", series="store"),
            pd.concat([frame, frame[:1]]),
            "Series 's0' has more than one row",
        ),
        (PanelSplit(time="date"), frame.to_numpy(), "X is an array without column names"),
        (PanelSplit(), None, "X: expected the panel to split, received None"),
        (PanelSplit(), [], "received no rows"),
        (PanelSplit(time="date"), frame[:0], "received no rows"),
        (PanelSplit(), pd.DataFrame({"x": range(9)}).sample(frac=1, random_state=0), "shuffled"),
    ]:
        with pytest.raises(ValueError, match=message):
            list(cv.split(X))


def expected_parts(steps, first, second, gap):
    """Which part each row is in: 0, 1, 2, or None for a gap."""
    parts = []
    for s in steps:
        if s < first - gap:
            parts.append(0)
        elif first <= s < second - gap:
            parts.append(1)
        else:
            parts.append(2 if s >= second else None)
    return parts


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(1, 8), st.integers(1, 8))
def test_three_parts_follow_each_other_in_time(case, validation, test):
    frame, steps, dates, freq, setting = case
    gap = setting["gap"]
    end = max(steps) + 1
    parts = expected_parts(steps, end - test - validation, end - test, gap)
    options = {"time": "date", "series": "store", "gap": gap, "freq": freq}

    def cut():
        return train_validation_test_split(
            frame, **options, validation=validation, test=test, by="steps"
        )

    if not {0, 1, 2} <= set(parts):
        with pytest.raises(ValueError, match="part would have no rows"):
            cut()
        return
    found = cut()
    for k in range(3):
        rows = [row for row, part in enumerate(parts) if part == k]
        pd.testing.assert_frame_equal(found[k], frame.iloc[rows])
    later = train_validation_test_split(
        frame, **options, by="time",
        validation=dates[end - test - validation], test=dates[end - test],
    )  # fmt: skip
    for k in range(3):
        pd.testing.assert_frame_equal(later[k], found[k])


def test_parts_by_share_and_by_time():
    frame = panel([(0, 40), (10, 30)], seed=2)
    dates = calendar("D")

    def days(parts):
        return [(dates.index(p["date"].min()), dates.index(p["date"].max())) for p in parts]

    shares = train_validation_test_split(
        frame, time="date", series="store", validation=0.1, test=0.25, gap=2
    )
    assert days(shares) == [(0, 23), (26, 27), (30, 39)]
    for moment in (str, pd.Timestamp, lambda day: pd.Timestamp(day).date()):
        by_time = train_validation_test_split(
            frame, time="date", series="store", by="time",
            validation=moment("2024-03-20"), test=moment("2024-03-25"),
        )  # fmt: skip
        assert days(by_time) == [(0, 20), (21, 25), (26, 39)]
        assert sum(map(len, by_time)) == len(frame)
    zoned = frame.assign(date=frame["date"].dt.tz_localize("Europe/Paris"))
    monthly = frame.assign(date=frame["date"].dt.to_period("D"))
    for other in (zoned, monthly):
        parts = train_validation_test_split(
            other,
            time="date",
            series="store",
            by="time",
            validation="2024-03-20",
            test="2024-03-25",
        )
        assert [part.index.tolist() for part in parts] == [p.index.tolist() for p in by_time]


def test_bad_lengths_and_times_of_parts_are_refused():
    frame = panel([(0, 20)])
    for options, error, message in [
        (
            {"validation": 1, "test": 0.1},
            ValueError,
            "validation: expected a share between 0 and 1",
        ),
        ({"validation": 0.1, "test": 0.0}, ValueError, "test: expected a share"),
        ({"validation": 0.5, "test": 0.5}, ValueError, "The training part would have no rows"),
        ({"validation": 2, "test": 0.5, "by": "steps"}, ValueError, "test: expected a whole"),
        ({"validation": 2, "test": 2, "by": "rows"}, ValueError, "by: expected 'fraction'"),
        ({"validation": 2, "test": 2, "by": "steps", "gap": -1}, ValueError, "gap: expected"),
        (
            {"validation": "2024-03-10", "test": "2024-03-08", "by": "time"},
            ValueError,
            "The validation part would have no rows",
        ),
        (
            {"validation": "2024-03-01", "test": "2025", "by": "time"},
            ValueError,
            "up to 2024-03-18",
        ),
        ({"validation": 3, "test": 5, "by": "time"}, TypeError, "validation: expected a time"),
        ({"validation": "soon", "test": 5, "by": "time"}, TypeError, "validation: expected a time"),
    ]:
        with pytest.raises(error, match=message):
            train_validation_test_split(frame, time="date", **options)


@settings(max_examples=40, deadline=None)
@given(st.data(), st.integers(2, 12), st.none() | st.integers(0, 5))
def test_a_cold_start_holds_out_whole_series(data, n_series, seed):
    size = data.draw(st.integers(1, n_series - 1) | st.floats(0.05, 0.9))
    labels = [f"s{i:02}" for i in range(n_series)]
    extra = data.draw(st.lists(st.sampled_from(labels), max_size=20))
    rows = data.draw(st.permutations(labels + extra))
    frame = pd.DataFrame({"store": rows, "row": range(len(rows))})
    count = size if isinstance(size, int) else max(round(size * n_series), 1)
    if count >= n_series:
        with pytest.raises(ValueError, match=f"expected from 1 to {n_series - 1}"):
            cold_start_split(frame, series="store", test_size=size, random_state=seed)
        return
    train, test = cold_start_split(frame, series="store", test_size=size, random_state=seed)
    held = set(test["store"])
    assert len(held) == count
    assert held.isdisjoint(train["store"])
    assert train["row"].tolist() == [i for i, name in enumerate(rows) if name not in held]
    assert test["row"].tolist() == [i for i, name in enumerate(rows) if name in held]
    again = cold_start_split(frame[::-1], series="store", test_size=size, random_state=seed)
    assert set(again[1]["store"]) == held


def test_a_cold_start_takes_several_columns_and_categories():
    frame = pd.DataFrame(
        {"country": list("aabb"), "store": pd.Categorical(["x", "y", "x", "y"], list("yxz"))}
    )
    train, test = cold_start_split(frame, series=["country", "store"], test_size=1, random_state=0)
    assert (len(train), len(test)) == (3, 1)
    seen = {
        tuple(cold_start_split(frame, series=["country", "store"], test_size=1, random_state=i)[1]
              .iloc[0])
        for i in range(20)
    }  # fmt: skip
    assert len(seen) == 4


def test_a_cold_start_refuses_what_it_cannot_hold_out():
    frame = pd.DataFrame({"store": ["a", "b", None]})
    for options, message in [
        ({"series": "shop"}, "series: expected a column of X, received 'shop'"),
        ({"series": None}, "series: expected the columns"),
        ({"series": "store"}, "row 2 has none"),
    ]:
        with pytest.raises(ValueError, match=message):
            cold_start_split(frame, **options)
    for size in (0, 2, 1.0, -0.5, "one", True):
        with pytest.raises(ValueError, match="test_size: expected"):
            cold_start_split(frame[:2], series="store", test_size=size)
