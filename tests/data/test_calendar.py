"""Calendar features against the standard library's clock, season lengths against plain counting."""

import calendar
import datetime
import math
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tsfusion.data.calendar import (
    Frequency,
    calendar_features,
    default_context_length,
    parse_frequency,
    season_length,
)

ALIASES = ["15min", "min", "h", "2h", "D", "B", "W-SUN", "MS", "ME", "QS-DEC", "YS", "YE"]
MOMENTS = st.lists(
    st.datetimes(datetime.datetime(1900, 1, 1), datetime.datetime(2200, 1, 1)), max_size=20
)


def columns(features):
    """Features by name, from both blocks."""
    found = dict(zip(features.categorical_names, features.categorical.T))
    return found | dict(zip(features.real_names, features.real.T))


def year_angle(moment):
    days = 366 if calendar.isleap(moment.year) else 365
    return 2 * math.pi * (moment.timetuple().tm_yday - 1) / days


@given(MOMENTS, st.sampled_from(ALIASES))
def test_shapes_types_and_ranges(moments, freq):
    features = calendar_features(pd.DatetimeIndex(moments), freq)
    assert features.categorical.dtype == np.int32
    assert features.real.dtype == np.float32
    assert features.categorical.shape == (len(moments), len(features.categorical_names))
    assert features.real.shape == (len(moments), len(features.real_names))
    assert len(features.cardinalities) == len(features.categorical_names)
    assert (features.categorical >= 0).all()
    assert (features.categorical < np.array(features.cardinalities, int)).all()
    assert (np.abs(features.real) <= 1).all()


@given(MOMENTS)
def test_hourly(moments):
    found = columns(calendar_features(pd.DatetimeIndex(moments), "h"))
    assert list(found) == ["hour", "day_of_week", "day_of_year_sin", "day_of_year_cos"]
    assert found["hour"].tolist() == [moment.hour for moment in moments]
    assert found["day_of_week"].tolist() == [moment.weekday() for moment in moments]
    for name, wave in [("sin", math.sin), ("cos", math.cos)]:
        expected = [wave(year_angle(moment)) for moment in moments]
        np.testing.assert_allclose(found[f"day_of_year_{name}"], expected, atol=1e-6)


@given(MOMENTS, st.sampled_from(["D", "B", "2D"]))
def test_daily(moments, freq):
    found = columns(calendar_features(pd.DatetimeIndex(moments), freq))
    assert list(found) == [
        "day_of_week", "day_of_month_sin", "day_of_month_cos", "day_of_year_sin",
        "day_of_year_cos",
    ]  # fmt: skip
    assert found["day_of_week"].tolist() == [moment.weekday() for moment in moments]
    month = [
        2 * math.pi * (moment.day - 1) / calendar.monthrange(moment.year, moment.month)[1]
        for moment in moments
    ]
    np.testing.assert_allclose(found["day_of_month_sin"], np.sin(month), atol=1e-6)
    np.testing.assert_allclose(found["day_of_month_cos"], np.cos(month), atol=1e-6)
    year = [year_angle(moment) for moment in moments]
    np.testing.assert_allclose(found["day_of_year_sin"], np.sin(year), atol=1e-6)


@given(MOMENTS)
def test_weekly(moments):
    found = columns(calendar_features(pd.DatetimeIndex(moments), "W-MON"))
    year = np.array([year_angle(moment) for moment in moments])
    np.testing.assert_allclose(found["week_of_year_cos"], np.cos(year), atol=1e-6)
    np.testing.assert_allclose(found["week_of_year_twice_sin"], np.sin(2 * year), atol=1e-6)
    assert len(found) == 4


@given(MOMENTS)
def test_months_quarters_years(moments):
    times = pd.DatetimeIndex(moments)
    assert columns(calendar_features(times, "ME")).keys() == {"month"}
    month = columns(calendar_features(times, "MS"))["month"]
    assert month.tolist() == [moment.month - 1 for moment in moments]
    quarter = columns(calendar_features(times, "QS-DEC"))["quarter"]
    assert quarter.tolist() == [(moment.month - 1) // 3 for moment in moments]
    assert not columns(calendar_features(times, "YS"))


@pytest.mark.parametrize(
    ("freq", "width"), [("15min", 15), ("5min", 5), ("min", 1), ("7min", 1), ("30s", 1)]
)
def test_sub_hourly_buckets(freq, width):
    times = pd.date_range("2024-02-29 21:00", periods=300, freq="min")
    features = calendar_features(times, freq)
    assert features.categorical_names == ("minute_of_hour", "hour", "day_of_week")
    assert features.cardinalities == (60 // width, 24, 7)
    minutes = [moment.minute // width for moment in times.to_pydatetime()]
    assert features.categorical[:, 0].tolist() == minutes


def test_local_clock_is_read():
    utc = pd.date_range("2024-03-31 00:00", periods=4, freq="h", tz="UTC")
    berlin = utc.tz_convert("Europe/Berlin")
    features = calendar_features(berlin, "h")
    assert features.categorical[:, 0].tolist() == [1, 3, 4, 5]
    naive = calendar_features(berlin.tz_localize(None), "h")
    np.testing.assert_array_equal(features.real, naive.real)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
def test_resolution_does_not_matter(unit):
    times = pd.date_range("2024-02-28 22:00", periods=60, freq="h")
    expected, found = calendar_features(times, "h"), calendar_features(times.as_unit(unit), "h")
    np.testing.assert_array_equal(found.categorical, expected.categorical)
    np.testing.assert_array_equal(found.real, expected.real)


def test_times_are_checked():
    with pytest.raises(TypeError, match="times: expected a DatetimeIndex, got list"):
        calendar_features(["2024-01-01"], "D")
    with pytest.raises(TypeError, match=r"call its to_timestamp\(\) first"):
        calendar_features(pd.period_range("2024-01", periods=2, freq="M"), "MS")
    with pytest.raises(ValueError, match="times: row 1 is NaT"):
        calendar_features(pd.DatetimeIndex(["2024-01-01", None]), "D")


@pytest.mark.parametrize(
    ("freq", "season"),
    [
        ("15min", 96), ("30min", 48), ("min", 1440), ("h", 24), ("2h", 12), ("5h", 24),
        ("90min", 16), ("24h", 7), ("D", 7), ("2D", 7), ("7D", 52), ("B", 5), ("C", 5), ("W", 52),
        ("W-SUN", 52), ("2W", 26), ("MS", 12), ("ME", 12), ("BMS", 12), ("2MS", 6), ("3ME", 4),
        ("QS-DEC", 4), ("QE", 4), ("BQS", 4), ("2QS", 2), ("YS", 1), ("YE-MAR", 1), ("12MS", 1),
    ],
)  # fmt: skip
def test_season_length(freq, season):
    assert season_length(freq) == season


@pytest.mark.parametrize("freq", ["15min", "2h", "5h", "D", "2D", "MS", "2MS", "QS-DEC", "YS"])
def test_season_is_the_first_return_of_the_calendar(freq):
    unit = parse_frequency(freq).unit
    times = pd.date_range("2023-01-01", periods=200, freq=freq)
    place = {
        "sub-hourly": times.strftime("%H%M"),
        "hourly": times.strftime("%H%M"),
        "daily": times.strftime("%w"),
        "monthly": times.strftime("%m"),
        "quarterly": times.strftime("%m"),
        "yearly": times.strftime("%m"),
    }[unit]
    season = season_length(freq)
    assert (place[season:] == place[:-season]).all()
    assert not any((place[steps:] == place[:-steps]).all() for steps in range(1, season))


@pytest.mark.parametrize(
    ("freq", "horizon", "length"),
    [
        ("h", 24, 168), ("2h", 24, 84), ("D", 28, 56), ("B", 5, 60), ("W", 8, 104),
        ("MS", 12, 36), ("QS", 4, 16), ("YS", 3, 10), ("15min", 4, 192), ("5min", 4, 336),
        ("s", 1, 336), (None, 12, 64), ("D", 100, 200), (None, 50, 100), ("YS", 6, 12),
    ],
)  # fmt: skip
def test_default_context_length(freq, horizon, length):
    assert default_context_length(freq, horizon) == length


def test_default_context_needs_a_horizon():
    with pytest.raises(ValueError, match="horizon: expected at least 1, got 0"):
        default_context_length("D", 0)
    with pytest.raises(TypeError, match="horizon: expected a whole number"):
        default_context_length("D", 1.5)


def test_no_frequency_no_season():
    assert season_length(None) == 1


@pytest.mark.parametrize(
    "freq", ["M", "H", "T", "Q", "Y", "A", "", "day", "-1D", "0D", "SME", "bh", "WOM-1MON", "D W"]
)
@pytest.mark.parametrize(
    "function", [season_length, lambda freq: default_context_length(freq, 1), parse_frequency]
)
def test_unknown_frequency(freq, function):
    with pytest.raises(ValueError, match=r"is not a frequency known here: give a pandas offset"):
        function(freq)


def test_parse_frequency():
    assert parse_frequency("2h") == Frequency("hourly", 2 * 3600 * 10**9)
    assert parse_frequency("1h30min").multiple == 90 * 60 * 10**9
    assert parse_frequency("24h") == parse_frequency("D") == Frequency("daily", 1)
    with pytest.raises(TypeError, match="freq: expected a pandas offset alias"):
        parse_frequency(7)


def test_a_frequency_is_read_once(monkeypatch):
    # Threads may forecast at once, and the filters of warnings belong to all of them.
    expected = parse_frequency("17D")
    monkeypatch.setattr(warnings, "catch_warnings", None)
    assert parse_frequency("17D") == expected
