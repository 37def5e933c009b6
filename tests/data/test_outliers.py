"""What looks like a slip, and that it is not the spread of its series."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ROLES, SMALL, small_panel
from tsfusion import FusionForecaster
from tsfusion.data import ParquetPanel
from tsfusion.data.outliers import _surely_near, far_values, level_and_spread
from tsfusion.exceptions import DataWarning


def by_hand(y):
    """Which values of one series look like slips, read off the rule, one value after the other."""
    if len(y) < 20:
        return []
    away = np.abs(y - np.median(y))
    ordered = np.sort(away)
    if ordered[len(y) // 2] == 0:
        return []
    last = int(0.99 * (len(y) - 1) + 1e-9)
    for i in range(last + 1, len(y)):
        if ordered[i] > 20 * ordered[last] and ordered[i] > 10 * ordered[i - 1]:
            return np.flatnonzero(away >= ordered[i]).tolist()
    return []


def draw(kind, n, generator):
    y = {
        "normal": generator.normal(5, 2, n),
        "heavy": generator.standard_t(2, n),
        "skewed": np.exp(2 * generator.normal(size=n)),
        "seldom": (generator.random(n) < 0.03) * generator.gamma(0.5, 10, n),
        "constant": np.full(n, 3.0),
    }[kind]
    for _ in range(generator.integers(0, 4) if n else 0):
        y[generator.integers(n)] = generator.choice([-9999.0, 300.0, 99999.0, 1e12])
    return y


KINDS = st.sampled_from(["normal", "heavy", "skewed", "seldom", "constant"])


@settings(deadline=None, max_examples=100)
@given(st.lists(st.tuples(KINDS, st.integers(0, 400)), min_size=1, max_size=6), st.integers(0, 99))
def test_slips_are_those_of_each_series_alone(of, seed):
    generator = np.random.default_rng(seed)
    series = [draw(kind, n, generator) for kind, n in of]
    codes = np.repeat(np.arange(len(series)), [len(y) for y in series])
    y = np.concatenate(series)
    order = generator.permutation(len(y))
    expected = np.zeros(len(y), bool)
    start = 0
    for values in series:
        expected[start + np.array(by_hand(values), int)] = True
        assert not (_surely_near(values) and by_hand(values))
        start += len(values)
    np.testing.assert_array_equal(
        far_values(y[order], codes[order], len(series)), np.flatnonzero(expected[order])
    )
    mean, spread = level_and_spread(y[order], codes[order], len(series))
    for i in range(len(series)):
        kept = y[(codes == i) & ~expected]
        assert mean[i] == pytest.approx(kept.mean() if len(kept) else 0.0, rel=1e-9, abs=1e-9)
        assert spread[i] == pytest.approx(kept.std() if len(kept) else 0.0, rel=1e-6, abs=1e-9)


@pytest.mark.parametrize("kind", ["normal", "heavy", "seldom"])
def test_tails_are_no_slips(kind):
    generator = np.random.default_rng(0)
    y = {
        "normal": generator.normal(size=(200, 500)),
        "heavy": np.exp(generator.normal(size=(200, 500))),
        "seldom": (generator.random((200, 500)) < 0.03) * generator.gamma(0.5, 10, (200, 500)),
    }[kind]
    codes = np.repeat(np.arange(200), 500)
    assert len(far_values(y.ravel(), codes, 200)) == 0
    np.testing.assert_allclose(level_and_spread(y.ravel(), codes, 200)[1], y.std(axis=1))


def with_a_slip(value=1e6, n_steps=60):
    frame = small_panel(n_series=3, n_steps=n_steps)
    row = int(np.flatnonzero(frame["store"] == "s1")[10])
    slipped = frame.copy()
    slipped.loc[row, "sales"] = value
    missing = frame.copy()
    missing.loc[row, "sales"] = np.nan
    return frame, slipped, missing


def fitted(frame, **changes):
    options = {"horizon": 3, "context_length": 14, **ROLES, **SMALL, **changes}
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = FusionForecaster(**options).fit(frame)
    return model, [str(one.message) for one in said if issubclass(one.category, DataWarning)]


@pytest.mark.usefixtures("eager", "tiny")
def test_a_slip_is_told_of_and_is_not_the_unit_of_its_series():
    frame, slipped, missing = with_a_slip()
    model, said = fitted(slipped)
    assert said == [
        "Column 'sales': 1 training value, 1e+06 in series 's1', lies over 20 times as far out as "
        "99 % of the series. If that is a slip, or stands for a missing value, mend it before fit."
    ]
    pd.testing.assert_series_equal(
        model._fitted.units.unit, fitted(missing)[0]._fitted.units.unit, rtol=1e-12
    )
    assert fitted(frame)[1] == []
    # The last windows do not hold it: their intervals are as wide as if it were not known.
    width, expected = (
        one.forecast(make_future(frame)).eval("`q0.9` - `q0.1`").to_numpy()
        for one in (model, fitted(missing)[0])
    )
    assert (width < 3 * expected.max()).all()


def make_future(frame):
    ahead = frame.groupby("store").tail(3).drop(columns=["sales", "weather"], errors="ignore")
    return ahead.assign(date=ahead["date"] + pd.Timedelta(3, "D"))


@pytest.mark.usefixtures("eager", "tiny")
def test_slips_in_other_columns_are_told_of():
    frame = small_panel(n_series=3, n_steps=60)
    frame["price"] = np.random.default_rng(0).normal(5, 1, len(frame))
    frame.loc[[20, 90], "price"] = -9999.0
    said = fitted(frame)[1]
    assert said == [
        "Column 'price': 2 training values, such as -9999, lie over 20 times as far out as 99 % of "
        "the column. If that is a slip, or stands for a missing value, mend it before fit."
    ]


def test_files_tell_what_a_table_tells(tmp_path):
    _, slipped, missing = with_a_slip()
    missing["price"] = np.random.default_rng(0).normal(5, 1, len(missing))
    slipped["price"] = missing["price"]
    slipped.loc[[20, 90], "price"] = -9999.0
    for name, frame in {"slipped": slipped, "missing": missing}.items():
        frame.sort_values(["store", "date"]).to_parquet(tmp_path / name)
    with pytest.warns(DataWarning) as said:
        found = ParquetPanel(tmp_path / "slipped", **ROLES, horizon=3)
    assert [str(one.message)[:40] for one in said] == [
        "Column 'sales': 1 training value, 1e+06 ", "Column 'price': 2 training values, such "
    ]  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        expected = ParquetPanel(tmp_path / "missing", **ROLES, horizon=3)
    assert found.units.unit.to_dict() == pytest.approx(expected.units.unit.to_dict(), rel=1e-12)


@pytest.mark.parametrize("column", ["sales", "price"])
@pytest.mark.parametrize("value", [1e31, -1e300])
def test_what_float32_cannot_hold_is_refused(column, value):
    frame = small_panel(n_series=2, n_steps=30)
    frame.loc[7, column] = value
    message = rf"column '{column}': expected sizes up to 1e\+30, .* received -?1e.* in row 7 \(1 "
    with pytest.raises(ValueError, match=message):
        FusionForecaster(3, context_length=14, **ROLES, **SMALL).fit(frame)
