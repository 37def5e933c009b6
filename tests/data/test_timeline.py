"""Times of every kind to step numbers and back; what must be refused, and in which words."""

import datetime
import re
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from tsfusion.data.timeline import (
    distinct,
    infer_timeline,
    raw_times,
    warn_of_coarser_series,
)
from tsfusion.exceptions import DataWarning

ALIASES = [
    "15min", "h", "2h", "D", "3D", "W-SUN", "W-WED", "2W-MON", "MS", "ME", "2MS", "QS", "QS-FEB",
    "QE", "QE-JAN", "YS", "YS-APR", "YE", "YE-JUN", "B",
]  # fmt: skip
PERIODS = ["15min", "h", "2h", "D", "W-SUN", "W-WED", "M", "Q-DEC", "Q-NOV", "Y-DEC", "Y-JUN"]


def column(values):
    return pd.Series(values).reset_index(drop=True)


def learn(times, series=None, freq=None):
    """The timeline of rows that are in order of series and time already."""
    series = np.zeros(len(times), np.int64) if series is None else np.asarray(series)
    return infer_timeline(raw_times(column(times), "t"), series, "t", freq)


def steps(timeline, times):
    return timeline.ordinals(raw_times(column(times), "t"), "t")


def with_gaps(times, seed=0):
    """Three of four times, the first six among them."""
    keep = np.random.default_rng(seed).random(len(times)) < 0.75
    keep[:6] = True
    return times[keep], np.flatnonzero(keep)


def assert_round_trip(timeline, times, position):
    ordinal = steps(timeline, times)
    np.testing.assert_array_equal(ordinal - ordinal[0], position - position[0])
    back = timeline.times(ordinal)
    assert back.dtype == times.dtype
    assert (back == times).all()


@pytest.mark.parametrize("freq", ALIASES)
@pytest.mark.parametrize("given", [False, True])
def test_datetimes_with_gaps_are_counted_in_steps_of_their_frequency(freq, given):
    times, position = with_gaps(pd.date_range("2019-02-13", periods=60, freq=freq))
    timeline = learn(times, freq=freq if given else None)
    assert_round_trip(timeline, times, position)
    following = pd.date_range(times[-1], periods=4, freq=freq)
    last = steps(timeline, times)[-1]
    assert (timeline.times(last + np.arange(4)) == following).all()


@pytest.mark.parametrize("freq", ALIASES)
def test_the_inferred_alias_gives_the_same_dates_in_pandas(freq):
    times = pd.date_range("2019-02-13", periods=30, freq=freq)
    again = pd.date_range(times[0], periods=30, freq=learn(times).freq)
    assert (again == times).all()


@pytest.mark.parametrize("freq", PERIODS)
def test_periods_keep_their_type(freq):
    times, position = with_gaps(pd.period_range("2019-03", periods=50, freq=freq))
    assert_round_trip(learn(times), times, position)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("zone", [None, "Europe/Berlin"])
@pytest.mark.parametrize("freq", ["h", "D", "MS", "B"])
def test_datetimes_come_back_in_their_unit(unit, zone, freq):
    times = pd.date_range("2021-01-04", periods=40, freq=freq, tz=zone).as_unit(unit)
    assert_round_trip(learn(times), times, np.arange(40))


@pytest.mark.parametrize("unit", ["s", "us"])
def test_rows_come_back_in_their_unit(unit):
    times = pd.DatetimeIndex(["2021-01-01", "2021-01-03", "2021-01-04"]).as_unit(unit)
    timeline = learn(times, freq="rows")
    assert timeline.times(steps(timeline, times)).equals(times)
    assert not timeline.is_regular


@pytest.mark.parametrize("freq", ["15min", "h", "2h", "6h", "D", "W-SUN", "MS"])
@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "America/Sao_Paulo"])
def test_zones_over_both_changes_of_the_clock(freq, zone):
    periods = {"15min": 40_000, "h": 9_000, "2h": 5_000}.get(freq, 400)
    if freq in ("D", "W-SUN", "MS"):
        local = pd.date_range("2017-09-01", periods=periods, freq=freq)
        times = local.tz_localize(zone, nonexistent="shift_forward")
    else:
        times = pd.date_range("2017-09-01", periods=periods, freq=freq, tz=zone)
    times, position = with_gaps(times)
    assert_round_trip(learn(times), times, position)


def test_six_hours_of_the_local_clock_stay_regular_over_the_change():
    local = pd.date_range("2021-03-20", periods=60, freq="6h")
    times = local.tz_localize("Europe/Berlin")
    assert_round_trip(learn(times), times, np.arange(60))


def test_days_of_utc_seen_in_another_zone_stay_regular_over_the_change():
    times = pd.date_range("2021-03-20", periods=60, freq="D", tz="UTC").tz_convert("Europe/Berlin")
    for freq in (None, "D"):
        assert_round_trip(learn(times, freq=freq), times, np.arange(60))


def test_a_day_whose_midnight_does_not_exist_is_that_day():
    times = pd.date_range("2018-10-30", periods=10, freq="D").tz_localize(
        "America/Sao_Paulo", nonexistent="shift_forward"
    )
    assert times[5].hour == 1
    assert_round_trip(learn(times), times, np.arange(10))
    assert_round_trip(learn(times[5:], freq="D"), times[5:], np.arange(5))


def test_the_same_instants_in_another_zone_are_the_same_steps():
    times = pd.date_range("2021-03-20", periods=20, freq="D", tz="Europe/Berlin")
    timeline = learn(times)
    np.testing.assert_array_equal(steps(timeline, times.tz_convert("UTC")), steps(timeline, times))
    with pytest.raises(ValueError, match="lies off that grid"):
        steps(timeline, pd.date_range("2021-03-20", periods=3, freq="D", tz="UTC"))


@pytest.mark.parametrize(
    ("times", "freq"),
    [
        (np.arange(3, 40, 3), 3),
        (np.arange(-5, 20), 1),
        (np.array([2**60 + 7 * i for i in range(9)]), 7),
        (np.array([1990, 1991, 1993, 1994]), 1),
        (np.arange(5, 9).astype("uint8"), 1),
        (np.arange(50) * 0.1, 0.1),
        (np.arange(50) * 0.25 - 3, 0.25),
        (1e9 + np.arange(2_000.0), 1.0),
        ((np.arange(900) * 0.1).astype("float32"), 0.1),
    ],
)
def test_numbers(times, freq):
    timeline = learn(times)
    assert timeline.freq == pytest.approx(freq)
    ordinal = steps(timeline, times)
    np.testing.assert_allclose(timeline.times(ordinal), times, rtol=1e-6, atol=1e-9)
    assert timeline.times(ordinal).dtype.kind == ("f" if times.dtype.kind == "f" else "i")
    assert timeline.wall_clock(ordinal) is None


def test_floats_far_from_the_origin_may_not_lie_between_steps():
    timeline = learn(np.arange(10.0))
    with pytest.raises(ValueError, match=r"row 1 \(2000000.5\) lies off that grid"):
        steps(timeline, np.array([2_000_000.0, 2_000_000.5]))


def test_series_may_start_and_end_anywhere_on_the_grid():
    grid = pd.date_range("2021-01-01", periods=40, freq="h")
    times = np.concatenate([grid[5:20], grid[:3], grid[17:40:2]])
    series = np.repeat([0, 1, 2], [15, 3, 12])
    timeline = learn(times, series)
    ordinal = steps(timeline, times)
    assert timeline.freq == "h"
    assert ordinal[0] - ordinal[15] == 5
    assert ordinal[18] - ordinal[15] == 17


def test_daily_data_that_misses_some_weekends_only_is_daily():
    times = pd.date_range("2021-01-01", periods=60, freq="D")
    weekend = times.day_of_week >= 5
    times = times[~weekend | (np.arange(60) > 50)]
    assert learn(times).freq == "D"
    assert learn(pd.bdate_range("2021-01-01", periods=30)).freq == "B"


def test_a_gap_within_the_week_says_nothing_of_weekends():
    assert learn(pd.DatetimeIndex(["2021-01-04", "2021-01-07", "2021-01-08"])).kind == "tick"
    assert learn(pd.DatetimeIndex(["2021-01-04", "2021-01-05", "2021-01-08"])).freq == "D"


def test_business_days_before_1970_and_around_a_long_weekend():
    times = pd.bdate_range("1969-12-01", periods=60).delete([4, 9, 10])
    timeline = learn(times)
    assert timeline.freq == "B"
    assert_round_trip(timeline, times, np.delete(np.arange(60), [4, 9, 10]))


@pytest.mark.parametrize(
    ("days", "rule", "freq"),
    [
        (["2021-01-31", "2021-03-31", "2021-05-31", "2021-06-30"], "end", "ME"),
        (["2021-01-30", "2021-02-28", "2021-03-30", "2021-05-30"], "day", "MS"),
        (["2021-01-28", "2021-02-28", "2021-03-28"], "day", "MS"),
        (["2021-01-15", "2021-02-15", "2021-04-15"], "day", "MS"),
        (["2020-12-31", "2021-03-31", "2021-12-31"], "end", "QE"),
        (["2019-12-31", "2020-12-31", "2021-12-31"], "end", "YE"),
        (["2019-01-01", "2021-01-01", "2025-01-01"], "start", "2YS"),
    ],
)
def test_the_day_of_the_month(days, rule, freq):
    times = pd.DatetimeIndex(days)
    timeline = learn(times)
    assert (timeline.day_rule, timeline.freq) == (rule, freq)
    assert (timeline.times(steps(timeline, times)) == times).all()


def test_a_clipped_day_of_the_month_comes_back_after_february():
    timeline = learn(pd.DatetimeIndex(["2021-01-30", "2021-02-28", "2021-03-30"]))
    last = steps(timeline, pd.DatetimeIndex(["2021-03-30"]))[0]
    shown = timeline.times(last + np.arange(-1, 2)).strftime("%m-%d").tolist()
    assert shown == ["02-28", "03-30", "04-30"]


def test_four_weeks_are_no_months():
    assert learn(pd.date_range("2021-01-04", periods=9, freq="28D")).freq == "4W-MON"


def test_quarter_ends_seen_in_december_and_march_fit_june():
    timeline = learn(pd.DatetimeIndex(["2020-12-31", "2021-03-31", "2021-12-31"]))
    later = pd.DatetimeIndex(["2022-06-30"])
    assert (timeline.times(steps(timeline, later)) == later).all()


def test_a_week_or_quarter_without_an_anchor_takes_that_of_the_times():
    mondays = pd.date_range("2021-01-04", periods=5, freq="W-MON")
    assert learn(mondays, freq="W").freq == "W-MON"
    assert learn(pd.date_range("2021-02-01", periods=5, freq="QS-FEB"), freq="QS").freq == "QS-FEB"


@pytest.mark.parametrize(
    ("freq", "times"),
    [
        ("W-WED", pd.date_range("2021-01-04", periods=5, freq="W-MON")),
        ("QS-JAN", pd.date_range("2021-02-01", periods=5, freq="QS-FEB")),
        ("YE-DEC", pd.date_range("2021-02-01", periods=5, freq="YE-JUN")),
        ("MS", pd.date_range("2021-02-01", periods=5, freq="ME")),
        ("B", pd.date_range("2021-01-01", periods=5, freq="D")),
    ],
)
def test_a_frequency_that_the_times_do_not_keep_is_an_error(freq, times):
    with pytest.raises(ValueError, match=rf"every '{freq}', row \d \(20.*off that grid"):
        steps(learn(times, freq=freq), times)


@pytest.mark.parametrize("dates", ["date", "object", "arrow", "arrow zone", "arrow date"])
def test_dates_of_other_libraries_are_datetimes(dates):
    times = pd.date_range("2021-01-01", periods=5, freq="D", unit="us")
    given = {
        "date": pd.Series([t.date() for t in times], dtype=object),
        "object": pd.Series([t.to_pydatetime() for t in times], dtype=object),
        "arrow": pd.Series(times).astype(pd.ArrowDtype(pa.timestamp("us"))),
        "arrow zone": pd.Series(times.tz_localize("UTC")).astype(
            pd.ArrowDtype(pa.timestamp("us", tz="UTC"))
        ),
        "arrow date": pd.Series([datetime.date(2021, 1, i) for i in range(1, 6)]).astype(
            pd.ArrowDtype(pa.date32())
        ),
    }[dates]
    timeline = learn(given)
    assert timeline.freq == "D"
    assert timeline.times(steps(timeline, given)).tz_localize(None).tolist() == list(times)


@pytest.mark.parametrize(
    ("times", "error", "message"),
    [
        (pd.Series(["2021-01-01", "x"]), TypeError, r"received str.*'2021-01-01'.*pd.to_datetime"),
        (pd.Series([], dtype=object), TypeError, "received object"),
        (pd.Series([True, False]), TypeError, "received booleans"),
        (pd.Series([1.0, np.nan]), ValueError, r"row 1 has none but NaN \(1 in all\)"),
        (pd.Series(pd.to_datetime(["2021-01-01", None])), ValueError, "row 1 has none"),
        (pd.Series([0.0, np.inf]), ValueError, "row 1 has inf"),
        (pd.Series(["9999-01-01"]).astype("datetime64[s]"), ValueError, "between the years 1678"),
    ],
)
def test_what_is_no_time_is_refused(times, error, message):
    with pytest.raises(error, match=f"Time column 'day': .*{message}"):
        raw_times(times, "day")


@pytest.mark.parametrize(
    ("times", "freq", "message"),
    [
        (pd.DatetimeIndex(["2021-01-01"]), None, "no series has two different times"),
        (np.array([3]), None, "no series has two different times"),
        (
            pd.DatetimeIndex(["2021-01-01", "2021-01-02", "2021-01-03", "2021-01-03 07:00"]),
            None,
            r"irregular. Most steps are 1 days.* to 2021-01-03 07:00:00 \(row 3\)",
        ),
        (np.array([0, 2, 4, 7]), None, r"irregular. Most steps are 2.* to 7 \(row 3\)"),
        (np.array([0.0, 1.0, 2.0, 2.3]), None, "irregular"),
        (pd.date_range("2021", periods=6, freq="SMS"), None, "irregular"),
        (pd.date_range("2021", periods=6, freq="BME"), None, "irregular"),
        (np.array([20210130, 20210131, 20210201]), None, "look like dates.*%Y%m%d"),
        (np.array([202011, 202012, 202101]), None, "look like dates.*'%Y%m'"),
        (pd.date_range("2021", periods=3), 3, "expected an offset alias"),
        (pd.date_range("2021", periods=3), "SMS", "expected '15min'"),
        (pd.date_range("2021", periods=3), "M", "expected '15min'"),
        (pd.date_range("2021", periods=3), "-1D", "expected a positive step"),
        (pd.date_range("2021", periods=3), "0h", "expected a positive step"),
        (pd.date_range("2021", periods=3), "C", "a calendar with holidays"),
        (np.arange(3), "D", "expected a positive number"),
        (np.arange(3), 0, "expected a positive number"),
        (np.arange(3), np.nan, "expected a positive number"),
        (np.arange(3), True, "expected a positive number"),
    ],
)
def test_times_without_a_frequency_are_refused(times, freq, message):
    with pytest.raises(ValueError, match=message):
        learn(times, freq=freq)


@pytest.mark.parametrize(
    ("first", "second", "step", "mend"),
    [
        (pd.date_range("2021-01-01", periods=6, freq="2D"),
         pd.date_range("2021-01-04", periods=6, freq="2D"), "'2D'", "freq='D'"),
        (pd.date_range("2021-01-01", periods=6, freq="h"),
         pd.date_range("2021-01-01 00:40", periods=6, freq="h"), "'h'", "freq='20min'"),
        (pd.date_range("2021-01-04", periods=6, freq="W-MON"),
         pd.date_range("2021-01-06", periods=6, freq="W-WED"), "'W-MON'", "freq='D'"),
        (pd.date_range("2021-01-01", periods=6, freq="QS"),
         pd.date_range("2021-02-01", periods=6, freq="QS-FEB"), "'QS'", "freq='MS'"),
        (pd.date_range("2021-01-31", periods=6, freq="2YE"),
         pd.date_range("2021-06-30", periods=6, freq="2YE-JUN"), "'2YE'", "freq='6ME'"),
        (np.arange(0, 30, 5), np.arange(3, 33, 5), "5", "freq=1"),
        (np.arange(0, 30, 10), np.arange(5, 35, 10), "10", "freq=5"),
        (np.arange(6) * 0.5, np.arange(6) * 0.5 + 0.2, "0.5", None),
        (pd.date_range("2021-01-01", periods=6, freq="D", tz="Europe/Berlin"),
         pd.date_range("2021-01-01 12:00", periods=6, freq="D", tz="Europe/Berlin"), "'D'",
         "freq='12h'"),
    ],
)  # fmt: skip
def test_series_between_the_steps_of_the_others_are_named(first, second, step, mend):
    raw = raw_times(column([*first, *second]), "t")
    series, labels = np.repeat([0, 1], [len(first), len(second)]), pd.Index(["a", "b"])
    message = (
        rf"series 'b' does not share the steps .* step is {re.escape(step)}, but .* "
        rf"\(row {len(first)}\)"
    )
    with pytest.raises(ValueError, match=message) as caught:
        infer_timeline(raw, series, "t", None, None, labels)
    assert (mend in str(caught.value)) if mend else ("pass freq" not in str(caught.value))
    if mend:
        finer = mend.removeprefix("freq=")
        freq = int(finer) if finer.isdigit() else finer.strip("'")
        infer_timeline(raw, series, "t", freq).ordinals(raw, "t")
    with pytest.raises(ValueError, match="a series does not share"):
        infer_timeline(raw, series, "t")


def test_times_that_stand_for_many_rows_count_as_often():
    raw = raw_times(pd.Series([0, 1, 0, 3]), "t")
    series = np.array([0, 0, 1, 1])
    assert infer_timeline(raw, series, "t").freq == 1
    for count, freq in (([9, 9, 0, 1], 1), ([0, 2, 0, 2], 1)):
        counted = replace(raw, count=np.array(count))
        assert infer_timeline(counted, series, "t").freq == freq
    counted = replace(raw, count=np.array([0, 1, 0, 2]))
    with pytest.raises(ValueError, match=r"Most steps are 3, but the step to 1 \(row 1\)"):
        infer_timeline(counted, series, "t")


def test_integers_like_dates_are_taken_as_numbers_where_asked():
    assert learn(np.array([20210130, 20210131, 20210201]), freq=1).freq == 1


def test_an_irregular_row_is_named_as_in_the_users_frame():
    raw = raw_times(pd.Series([0, 2, 4, 7]), "t")
    with pytest.raises(ValueError, match="row 11"):
        infer_timeline(raw, np.zeros(4, int), "t", None, np.array([5, 9, 2, 11]))


@pytest.mark.parametrize(
    ("fitted", "later", "message"),
    [
        (pd.date_range("2021", periods=3), np.arange(3), "expected datetimes as in fit"),
        (np.arange(3), pd.date_range("2021", periods=3), "expected numbers as in fit"),
        (
            pd.date_range("2021", periods=3, tz="UTC"),
            pd.date_range("2021", periods=3),
            "expected times of zone UTC as in fit, received times without a zone.*tz_localize",
        ),
        (
            pd.date_range("2021", periods=3),
            pd.date_range("2021", periods=3, tz="UTC"),
            "expected times without a zone as in fit, received times of zone UTC",
        ),
        (
            pd.date_range("2021", periods=3),
            pd.period_range("2021", periods=3, freq="M"),
            "expected datetimes as in fit, received periods of 'M'",
        ),
        (
            pd.period_range("2021", periods=3, freq="D"),
            pd.period_range("2021", periods=3, freq="M"),
            "expected periods of 'D' as in fit, received periods of 'M'",
        ),
    ],
)
def test_times_of_another_type_than_in_fit_are_refused(fitted, later, message):
    with pytest.raises(TypeError, match=message):
        steps(learn(fitted), later)


def test_a_weekly_series_among_daily_ones_is_pointed_out():
    daily = pd.date_range("2021-01-01", periods=50, freq="D")
    times = np.concatenate([daily, daily[::7]])
    series = np.repeat([0, 1], [50, 8])
    timeline = learn(times, series)
    with pytest.warns(DataWarning, match=r"Series 'b' holds only one step in 7"):
        warn_of_coarser_series(timeline, steps(timeline, times), series, pd.Index(["a", "b"]))
    gappy = np.concatenate([daily, daily[[0, 2, 5, 8, 12]]])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_coarser_series(
            timeline, steps(timeline, gappy), np.repeat([0, 1], [50, 5]), pd.Index(["a", "b"])
        )


@pytest.mark.parametrize("values", [[3, 1, 3, 2], [10**12, 5], [0.5, 0.25, 0.5], []])
def test_distinct_values(values):
    np.testing.assert_array_equal(distinct(np.array(values)), np.unique(values))
