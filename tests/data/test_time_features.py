"""Holidays against the dates themselves, day by day; functions of time against what they return."""

import builtins
import datetime
import functools
import pickle

import holidays as package
import numpy as np
import pandas as pd
import pytest

from tsfusion.data import time_features
from tsfusion.data.encoder import PanelEncoder
from tsfusion.data.panel import CalendarCodes, Panel, Units
from tsfusion.data.roles import resolve_roles
from tsfusion.data.time_features import holiday_calendar
from tsfusion.exceptions import DataWarning

COUNTRIES = {"a": "DE", "b": ("US", "CA"), "c": None}


def encode(
    freq="D", start="2022-01-01", n=800, validation_size=0.0, regions=None, tz=None, rule=None
):
    """Three series in rows of one grid, read; and the encoder."""
    times = pd.date_range(start, periods=n, freq=freq, tz=tz)
    parts = [
        pd.DataFrame({"t": times, "s": label, "y": 1.0, "land": (regions or {}).get(label, "x")})
        for label in "abc"
    ]
    frame = pd.concat(parts, ignore_index=True)
    roles = resolve_roles(frame, time="t", series="s", target="y", static="land")
    encoder = PanelEncoder(roles, rule)
    rows = encoder.fit(frame, None, validation_size=validation_size, horizon=2)
    return encoder, rows


def learn(holidays, encoder, rows):
    train = slice(None) if encoder.boundary is None else rows.ordinal < encoder.boundary
    return CalendarCodes.learn(
        encoder.timeline, rows.ordinal[train], rows, rows.series[train],
        holidays=holiday_calendar(holidays, encoder),
    )  # fmt: skip


def table(calendar, encoder, rows):
    """What the rows of the panel say, by name; holidays by name, too, and in days."""
    real, codes = calendar.encode(encoder.timeline, rows.ordinal, rows, rows.series)
    assert real.dtype == np.float32
    assert codes.dtype == np.int32
    assert (codes < calendar.cardinalities).all()
    learned = calendar.holidays
    frame = pd.DataFrame(
        {"s": rows.labels[rows.series], "t": encoder.timeline.wall_clock(rows.ordinal)}
    )
    for name, column in zip((*calendar.real_names, *calendar.names), (*real.T, *codes.T)):
        frame[name] = column
    for name in learned.real_names:
        frame[name] = (frame[name] * learned.scale + learned.location).round(4)
    if learned.daily:
        frame["holiday"] = np.array(["unseen", "none", *learned.vocabulary])[frame["holiday"]]
    return frame


@functools.cache
def dates_of(country):
    if country is None:
        return {}
    country, part = country if isinstance(country, tuple) else (country, None)
    return package.country_holidays(country, part, years=range(2021, 2026), language="en_US")


def test_which_holiday_it_is_and_how_far_the_next_one():
    encoder, rows = encode()
    found = table(learn(COUNTRIES, encoder, rows), encoder, rows)
    for label, country in COUNTRIES.items():
        dates = dates_of(country)
        here = found[found["s"] == label]
        for day, name, ahead in zip(here["t"].dt.date, here["holiday"], here["days_to_holiday"]):
            expected = dates.get(day, "none")
            assert expected.split(" (")[0] == name or name in expected.split("; ")
            distance = [k for k in range(7) if day + datetime.timedelta(days=k) in dates]
            assert ahead == min(distance, default=7)
    assert {"Christmas Day", "German Unity Day", "Thanksgiving Day"} <= set(found["holiday"])


def test_one_country_for_all_and_its_subdivision():
    encoder, rows = encode()
    for given in ("US-CA", ("US", "CA")):
        found = table(learn(given, encoder, rows), encoder, rows)
        expected = [day in dates_of(("US", "CA")) for day in found["t"].dt.date]
        assert ((found["holiday"] != "none") == expected).all()
    plain = table(learn("US", encoder, rows), encoder, rows)
    assert (plain["holiday"] != found["holiday"]).any()


def test_a_static_column_of_countries():
    lands = {"a": "DE", "b": "US-CA", "c": "DE"}
    encoder, rows = encode(regions=lands)
    by_column = table(learn("land", encoder, rows), encoder, rows)
    by_label = table(learn(lands, encoder, rows), encoder, rows)
    pd.testing.assert_frame_equal(by_column, by_label)


def test_holidays_not_seen_in_training_have_the_code_of_unseen_ones():
    encoder, rows = encode(start="2022-02-01", n=365, validation_size=0.2)
    calendar = learn("DE", encoder, rows)
    assert "Christmas Day" not in calendar.holidays.vocabulary
    found = table(calendar, encoder, rows).set_index("t")["holiday"]
    assert set(found["2022-12-25"]) == {"unseen"}
    assert set(found["2022-10-03"]) == {"German Unity Day"}
    assert set(found["2022-12-28"]) == {"none"}


def test_the_local_date_counts_below_a_day():
    encoder, rows = encode("6h", start="2023-12-20", n=60, tz="America/Los_Angeles")
    found = table(learn("US", encoder, rows), encoder, rows)
    christmas = found["holiday"] == "Christmas Day"
    assert (christmas == (found["t"].dt.date == datetime.date(2023, 12, 25))).all()
    assert christmas.sum() == 12


def test_business_days_and_rows_are_days():
    for rule in (None, "rows"):
        encoder, rows = encode("B", rule=rule)
        found = table(learn("DE", encoder, rows), encoder, rows)
        expected = [day in dates_of("DE") for day in found["t"].dt.date]
        assert ((found["holiday"] != "none") == expected).all()


@pytest.mark.parametrize(
    ("freq", "first", "last"),
    [
        ("W-SUN", 0, 6), ("W-MON", 0, 6), ("2D", 0, 1), ("36h", 0, 1),
        ("MS", "start", "end"), ("ME", "start", "end"),
    ],
)  # fmt: skip
def test_longer_steps_count_their_holidays(freq, first, last):
    encoder, rows = encode(freq, n=24)
    found = table(learn("DE", encoder, rows), encoder, rows)
    assert "holiday" not in found
    dates = pd.DatetimeIndex(dates_of("DE"))
    for t, count, following in zip(found["t"], found["holidays"], found["t"].shift(-1)):
        t = t.normalize()
        if first == "start":
            low, high = t.replace(day=1), t + pd.offsets.MonthEnd(0)
        elif freq == "36h":
            if pd.isna(following) or following < t:
                continue
            low, high = t, following.normalize() - pd.Timedelta(days=1)
        else:
            low, high = t, t + pd.Timedelta(days=last)
        assert count == ((dates >= low) & (dates <= high)).sum()


def test_a_series_without_a_country():
    encoder, rows = encode()
    with pytest.raises(ValueError, match=r"a country for every series, 'b' has none \(2 series"):
        learn({"a": "DE"}, encoder, rows)
    late = rows.take((rows.labels[rows.series] != "b") | (rows.ordinal > rows.ordinal[700]))
    encoder.boundary = rows.ordinal[700]
    with pytest.warns(DataWarning, match="no country is known for series 'b'"):
        learn({"a": "DE", "c": "DE"}, encoder, late)
    calendar = learn({"a": "DE", "b": "US", "c": "DE"}, encoder, rows)
    new = encode(n=30)[1]
    new = new.only(np.array([0]))
    object.__setattr__(new, "labels", pd.Index(["new"]))
    with pytest.warns(DataWarning, match="no country is known for series 'new'"):
        calendar.holidays.warn_of_unknown(new)
    real, codes = calendar.encode(encoder.timeline, new.ordinal, new, new.series)
    assert (codes[:, calendar.names.index("holiday")] == 0).all()
    assert (real[:, calendar.real_names.index("days_to_holiday")] == 0).all()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("Germany", "'Germany' is neither a country code nor a static column.*'DE'"),
        ("us", "'us' is neither a country code.*'US'"),
        ("US-Californa", "'Californa' is no subdivision of 'US'.*'California'"),
        (("DE", "XX"), "'XX' is no subdivision of 'DE' known here. Known are"),
        ({"a": "Frence"}, "holidays of series 'a': 'Frence'.*'FR'"),
        (("DE", 1, 2), "expected a country such as"),
        ({"a": 5}, "of series 'a': expected a country such as"),
    ],
)
def test_unknown_countries(given, message):
    encoder, _ = encode(n=20)
    with pytest.raises((ValueError, TypeError), match=message):
        holiday_calendar(given, encoder)
    with pytest.raises(ValueError, match="in column 'land': 'x' is neither a country"):
        holiday_calendar("land", encoder)


def test_a_country_of_many_series_is_looked_up_once(monkeypatch):
    encoder, _ = encode(n=20)
    asked = []
    look = time_features.check_region
    monkeypatch.setattr(
        time_features, "check_region", lambda *given: [asked.append(given[0]), look(*given)][1]
    )
    countries = ["DE", ["US", "CA"], None, "US-CA"]
    calendar = holiday_calendar({f"s{i}": countries[i % 4] for i in range(40)}, encoder)
    assert asked == countries
    assert calendar.regions == (("DE", None), ("US", "CA"), None)
    assert calendar.by_label.tolist() == [0, 1, 2, 1] * 10


def test_holidays_need_dates():
    frame = pd.DataFrame({"t": np.arange(20), "y": 1.0})
    encoder = PanelEncoder(resolve_roles(frame, time="t", target="y"))
    rows = encoder.fit(frame, None, validation_size=0, horizon=1)
    with pytest.raises(ValueError, match="holidays: expected times that are dates"):
        learn("DE", encoder, rows)


def test_without_the_package_the_extra_is_named(monkeypatch):
    encoder, _ = encode(n=20)
    usual = builtins.__import__

    def without(name, *args, **kwargs):
        if name.startswith("holidays"):
            raise ImportError(name)
        return usual(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ImportError, match=r"pip install 'tsfusion\[holidays\]'"):
        holiday_calendar("DE", encoder)


# Functions of time


def moon(times):
    return np.sin((times - pd.Timestamp("2000-01-06")) / pd.Timedelta(days=29.53) * 2 * np.pi)


def term(times):
    return np.where(times.month.isin([7, 8]), "break", "school")


def weekend(times):
    return times.day_of_week >= 5


FEATURES = {"moon": moon, "term": term, "weekend": weekend}


def test_functions_become_known_variables():
    encoder, rows = encode(validation_size=0.3)
    train = rows.ordinal < encoder.boundary
    calendar = CalendarCodes.learn(encoder.timeline, rows.ordinal[train], functions=FEATURES)
    plain = CalendarCodes.learn(encoder.timeline, rows.ordinal[train])
    assert calendar.real_names == (*plain.real_names, "moon", "weekend")
    assert calendar.names == (*plain.names, "term")
    assert calendar.cardinalities == (*plain.cardinalities, 3)
    real, codes = calendar.encode(encoder.timeline, rows.ordinal)
    usual_real, usual_codes = plain.encode(encoder.timeline, rows.ordinal)
    np.testing.assert_array_equal(real[:, :-2], usual_real)
    np.testing.assert_array_equal(codes[:, :-1], usual_codes)
    times = encoder.timeline.wall_clock(rows.ordinal)
    for name, function in (("moon", moon), ("weekend", weekend)):
        values = np.asarray(function(times), float)
        steps = np.asarray(function(times[train].unique()), float)
        column = real[:, calendar.real_names.index(name)]
        np.testing.assert_allclose(column, (values - steps.mean()) / steps.std(), atol=1e-5)
    expected = pd.Series(term(times)).map({"break": 1, "school": 2})
    assert codes[:, -1].tolist() == expected.tolist()


def test_a_category_of_time_not_seen_in_training_is_code_zero():
    encoder, rows = encode(start="2022-01-01", n=150)
    calendar = CalendarCodes.learn(encoder.timeline, rows.ordinal, functions={"term": term})
    later = rows.ordinal + 190
    codes = calendar.encode(encoder.timeline, later)[1][:, -1]
    times = encoder.timeline.wall_clock(later)
    assert ((codes == 0) == times.month.isin([7, 8])).all()
    assert calendar.encode(encoder.timeline, later[:0])[1].shape == (0, 2)


def test_numbers_as_times_are_handed_on():
    frame = pd.DataFrame({"t": np.arange(30) * 2, "y": 1.0})
    encoder = PanelEncoder(resolve_roles(frame, time="t", target="y"))
    rows = encoder.fit(frame, None, validation_size=0, horizon=1)
    wave = {"wave": lambda t: np.sin(np.asarray(t) / 3)}
    calendar = CalendarCodes.learn(encoder.timeline, rows.ordinal, functions=wave)
    values = np.sin(frame["t"] / 3)
    real = calendar.encode(encoder.timeline, rows.ordinal)[0]
    np.testing.assert_allclose(real[:, 0], (values - values.mean()) / values.std(ddof=0), rtol=1e-4)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda t: np.arange(len(t)), "'f'.*expected a function of each time alone"),
        (lambda t: (t - t.mean()) / pd.Timedelta(days=1), "a function of each time alone"),
        (lambda t: 3.0, "one value for each of 800 times, received 3.0"),
        (lambda t: np.ones(3), r"one value for each of 800 times, received shape \(3,\)"),
        (lambda t: np.ones((len(t), 2)), r"received shape \(800, 2\)"),
        (lambda t: np.where(t.day == 5, np.nan, 1), "received nan at 2022-01-05 .*27 times"),
        (lambda t: np.where(t.day == 5, np.inf, 1), "finite number or a category.*inf"),
        (lambda t: [None if day == 5 else "x" for day in t.day], "at 2022-01-05"),
        (lambda t: t, "Time feature column 'f': expected numbers, received datetime64"),
    ],
)
def test_functions_are_checked(function, message):
    encoder, rows = encode()
    with pytest.raises((ValueError, TypeError), match=message):
        CalendarCodes.learn(encoder.timeline, rows.ordinal, functions={"f": function})


def test_a_function_that_changes_its_kind():
    encoder, rows = encode(n=60)
    late = pd.Timestamp("2022-03-10")
    functions = {"f": lambda t: np.ones(len(t)) if t.min() < late else np.full(len(t), "x")}
    calendar = CalendarCodes.learn(encoder.timeline, rows.ordinal, functions=functions)
    with pytest.raises(TypeError, match=r"'f'\]: expected numbers as in fit, received categories"):
        calendar.encode(encoder.timeline, rows.ordinal + 100)


def test_names_of_the_calendar_are_taken():
    encoder, rows = encode()
    with pytest.raises(ValueError, match="a variable 'day_of_week' already"):
        CalendarCodes.learn(encoder.timeline, rows.ordinal, functions={"day_of_week": moon})


def test_pickle_and_a_panel_with_gaps():
    encoder, rows = encode(n=40)
    rows = rows.take(rows.ordinal % 5 != 0)
    calendar = CalendarCodes.learn(
        encoder.timeline, rows.ordinal, rows, rows.series, functions=FEATURES,
        holidays=holiday_calendar(COUNTRIES, encoder),
    )  # fmt: skip
    calendar = pickle.loads(pickle.dumps(calendar))
    panel = Panel.build(
        rows, encoder.timeline, calendar, Units.learn(rows, None),
        n_observed_real=0, n_observed_categorical=0,
    )  # fmt: skip
    expected = calendar.encode(encoder.timeline, rows.ordinal, rows, rows.series)
    np.testing.assert_array_equal(panel.real[panel.present, 1:], expected[0])
    np.testing.assert_array_equal(panel.categorical[panel.present], expected[1])
    assert np.isfinite(panel.real[:, 1:]).all()
