"""The panel against a plain Python one: gaps, ragged lengths, unknown values, empty series."""

import math
from dataclasses import fields

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsfusion.data.encoder import Rows
from tsfusion.data.panel import CalendarCodes, Panel, Units, chunks
from tsfusion.data.timeline import Timeline

DAYS = Timeline("tick", "D", 86_400_000_000_000, 0, is_datetime=True)
STEPS = Timeline("number", 1)
ROWS = Timeline("rows", "rows")
# Sixteenths: differences are exact, and none is so small that its square vanishes.
TARGET = st.one_of(st.just(math.nan), st.integers(-(10**7), 10**7).map(lambda i: i / 16))


@st.composite
def panels(draw, series=4, longest=8):
    """Series as dictionaries step -> (target, observed, known, category)."""
    row = st.tuples(
        TARGET, st.floats(-5, 5, width=32), st.floats(-5, 5, width=32), st.integers(0, 3)
    )
    one = st.dictionaries(st.integers(-6, 20), row, max_size=longest)
    found = draw(st.lists(one, min_size=1, max_size=series))
    return found if any(found) else [*found, {0: (1.0, 0.0, 0.0, 1)}]


def rows_of(given):
    flat = [(s, t, *given[s][t]) for s in range(len(given)) for t in sorted(given[s])]
    series, ordinal, target, observed, known, code = (np.array(column) for column in zip(*flat))
    n_series = len(given)
    return Rows(
        labels=pd.Index([f"s{i}" for i in range(n_series)]),
        series=series.astype(np.int64),
        ordinal=ordinal.astype(np.int64),
        target=target.astype(float),
        real=np.stack([observed, known], axis=1).astype(np.float32),
        categorical=code.astype(np.int32)[:, None],
        weight=np.full(len(flat), 2.0, np.float32),
        static_real=np.arange(n_series, dtype=np.float32)[:, None],
        static_categorical=np.zeros((n_series, 0), np.int32),
        row=np.arange(len(flat)),
    )


def build(given, timeline=STEPS, boundary=None, calendar=None, release=False):
    rows = rows_of(given)
    units = Units.learn(rows, boundary)
    calendar = calendar or CalendarCodes((), (), ())
    return Panel.build(
        rows,
        timeline,
        calendar,
        units,
        n_observed_real=1,
        n_observed_categorical=0,
        release=release,
    ), units


def grid(series, timeline=STEPS):
    """The steps that a series takes up."""
    if not series:
        return []
    return list(range(min(series), max(series) + 1)) if timeline.is_regular else sorted(series)


@settings(deadline=None, max_examples=80)
@given(panels(), st.sampled_from([STEPS, ROWS]))
def test_the_panel_lays_every_row_where_plain_python_does(given_, timeline):
    panel, units = build(given_, timeline)
    assert panel.lengths.tolist() == [len(grid(series, timeline)) for series in given_]
    at = 0
    for s, series in enumerate(given_):
        targets = [series[t][0] for t in sorted(series)]
        offset = next((y for y in targets if math.isfinite(y)), units.typical_level)
        assert panel.offset[s] == offset
        for t in grid(series, timeline):
            y, observed, known, code = series.get(t, (math.nan, math.nan, math.nan, 0))
            assert panel.ordinal[at] == t
            assert panel.present[at] == (t in series)
            assert panel.weight[at] == (2.0 if t in series else 0.0)
            assert panel.categorical[at].tolist() == [code]
            np.testing.assert_array_equal(panel.target[at], y)
            network = np.float32((y - offset) / panel.unit[s])
            np.testing.assert_array_equal(panel.real[at], np.float32([network, observed, known]))
            at += 1
    assert at == len(panel)


@pytest.mark.parametrize("n", [0, 1, 2, 3, 4, 7])
def test_chunks_cover_every_row_once(monkeypatch, n):
    monkeypatch.setattr("tsfusion.data.panel._CHUNK", 3)
    parts = list(chunks(n))
    assert [i for part in parts for i in range(n)[part]] == list(range(n))
    assert all(0 < part.stop - part.start <= 3 for part in parts)


@settings(deadline=None, max_examples=60)
@given(panels(), st.sampled_from([DAYS, STEPS, ROWS]), st.integers(1, 5))
def test_a_panel_built_in_chunks_from_released_rows_is_the_same(given_, timeline, size):
    calendar = CalendarCodes.learn(timeline, np.arange(12))
    whole, _ = build(given_, timeline, calendar=calendar)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsfusion.data.panel._CHUNK", size)
        parts, _ = build(given_, timeline, calendar=calendar, release=True)
    for field in fields(Panel):
        one, other = getattr(whole, field.name), getattr(parts, field.name)
        assert getattr(one, "dtype", None) == getattr(other, "dtype", None)
        np.testing.assert_array_equal(other, one, err_msg=field.name)


def test_released_rows_are_taken_apart_and_others_kept():
    rows = rows_of([{0: (1.0, 0.5, 2.0, 1), 3: (2.0, 0.5, 2.0, 1)}])
    units, none = Units.learn(rows, None), CalendarCodes((), (), ())
    shape = {"n_observed_real": 1, "n_observed_categorical": 0}
    Panel.build(rows, STEPS, none, units, **shape)
    assert len(rows) == 2
    Panel.build(rows, STEPS, none, units, **shape, release=True)
    held = [name for name, value in vars(rows).items() if isinstance(value, np.ndarray)]
    assert held == ["static_real", "static_categorical"]


@settings(deadline=None, max_examples=80)
@given(panels(), st.sampled_from([STEPS, ROWS]))
def test_find_insertion_and_last_known_agree_with_a_search(given_, timeline):
    panel, _ = build(given_, timeline)
    wanted = [(s, t) for s in range(len(given_)) for t in range(-8, 23)]
    series, ordinal = (np.array(column) for column in zip(*wanted))
    found = panel.find(series, ordinal, timeline)
    left, right = (panel.insertion(series, ordinal, side=side) for side in ("left", "right"))
    steps = [grid(one, timeline) for one in given_]
    for i, (s, t) in enumerate(wanted):
        first = panel.offsets[s]
        assert found[i] == (first + steps[s].index(t) if t in steps[s] else -1)
        assert left[i] == first + sum(u < t for u in steps[s])
        assert right[i] == first + sum(u <= t for u in steps[s])
    last, known = panel.last_known(), -1
    for s in range(panel.n_series):
        known = -1
        for row in range(panel.offsets[s], panel.offsets[s + 1]):
            known = row if math.isfinite(panel.target[row]) else known
            assert last[row] == known


@settings(deadline=None, max_examples=50)
@given(panels(), st.integers(-4, 18))
def test_units_are_the_spread_of_the_rows_before_the_boundary(given_, boundary):
    rows = rows_of(given_)
    units = Units.learn(rows, boundary)
    spreads = []
    for series in given_:
        y = [v[0] for t, v in series.items() if t < boundary and math.isfinite(v[0])]
        spread = np.std(y) if y else 0.0
        moves = spread > max(1e-8 * abs(np.mean(y or [0])), 1e-20)
        spreads.append(spread if moves else math.nan)
    useful = [spread for spread in spreads if spread > 0]
    for found, unknown, spread in zip(
        units.of(rows.labels), units.unknown(rows.labels), spreads, strict=True
    ):
        assert unknown == (not spread > 0)
        expected = units.typical_unit if not spread > 0 else spread
        assert found == pytest.approx(expected, rel=1e-6)
    if useful:
        assert units.typical_unit == pytest.approx(np.median(useful), rel=1e-6)
    assert units.of(pd.Index(["new"]))[0] == units.typical_unit
    changed = [
        {t: ((-3e5, *v[1:]) if t >= boundary else v) for t, v in series.items()}
        for series in given_
    ]
    again = Units.learn(rows_of(changed), boundary)
    assert again.unit.equals(units.unit)
    assert again.typical_level == units.typical_level


def test_a_stray_date_is_refused_before_memory_is_taken():
    given_ = [{0: (1.0, 0.0, 0.0, 0)}, {0: (1.0, 0.0, 0.0, 0), 10**9: (2.0, 0.0, 0.0, 0)}]
    with pytest.raises(ValueError, match="too sparse.*'s1' alone spans 1000000001"):
        build(given_)
    assert len(build(given_, ROWS)[0]) == 3


def test_memory_grows_with_the_rows_alone():
    row = (1.0, 0.0, 0.0, 0)
    small, large = (build([dict.fromkeys(range(n), row)])[0] for n in (1_000, 4_000))
    size = [sum(v.nbytes for v in vars(p).values() if isinstance(v, np.ndarray))
            for p in (small, large)]  # fmt: skip
    assert size[1] / size[0] == pytest.approx(4, rel=0.02)
    assert size[0] < 60 * 1_000


def test_a_panel_without_rows_finds_nothing():
    panel, _ = build([{0: (1.0, 0.0, 0.0, 0)}])
    empty = rows_of([{0: (1.0, 0.0, 0.0, 0)}]).take(np.zeros(0, np.int64))
    units = Units.learn(empty, None)
    panel = Panel.build(
        empty, STEPS, CalendarCodes((), (), ()), units, n_observed_real=1, n_observed_categorical=0
    )
    assert len(panel) == 0
    assert panel.find(np.array([0]), np.array([3]), STEPS).tolist() == [-1]
    assert panel.last_known().tolist() == []


def test_calendar_codes_not_seen_in_training_are_zero():
    days = np.arange(0, 28)
    weekdays = days[(days + 3) % 7 < 5]
    calendar = CalendarCodes.learn(DAYS, weekdays)
    place = calendar.names.index(next(n for n in calendar.names if "week" in n))
    _, codes = calendar.encode(DAYS, days)
    assert ((codes[:, place] == 0) == ((days + 3) % 7 >= 5)).all()
    real, scattered = calendar.encode(DAYS, days[[25, 1, 1]])
    np.testing.assert_array_equal(scattered, codes[[25, 1, 1]])
    assert real.shape == (3, len(calendar.real_names))
    assert CalendarCodes.learn(STEPS, days).encode(STEPS, days)[0].shape == (28, 0)


def test_gaps_have_a_calendar_too():
    rows = dict.fromkeys((0, 1, 2, 3, 4, 5, 6, 10), (1.0, 0.0, 0.0, 1))
    calendar = CalendarCodes.learn(DAYS, np.arange(11))
    panel, _ = build([rows], DAYS, calendar=calendar)
    assert np.isfinite(panel.real[8, 3:]).all()
    assert np.isnan(panel.real[8, :3]).all()
    assert (panel.categorical[8, 1:] > 0).all()


@pytest.mark.parametrize(
    "levels", [([0.0, 1e-100], [1e6, 1e6]), ([1e-300] * 2, [1e-300] * 2, [1e6] * 2)]
)
def test_a_series_that_hardly_moves_leaves_the_others_finite(levels):
    panel, _ = build([{t: (y, 0.0, 0.0, 1) for t, y in enumerate(one)} for one in levels])
    assert np.isfinite(panel.real).all()
    assert np.isfinite(panel.fallback).all()
