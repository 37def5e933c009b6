"""Windows against a plain Python gather; what they may see, and what stays hidden from them."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_panel import build, panels
from tsfusion.data.windows import (
    BLOCKS,
    WindowIndex,
    ahead,
    boundary_rows,
    fallback_scale,
    gather,
    targets,
    training_windows,
    validation_windows,
)

LENGTHS = st.tuples(st.integers(1, 6), st.integers(1, 5))


def series_rows(panel, s):
    return range(panel.offsets[s], panel.offsets[s + 1])


def all_origins(panel):
    """Every origin of every series, that after its last row and two far past it included."""
    pairs = [
        (row, s)
        for s in range(panel.n_series)
        for row in [*series_rows(panel, s), panel.offsets[s + 1], panel.offsets[s + 1] + 7]
    ]
    return WindowIndex(*(np.array(column, dtype=np.int64) for column in zip(*pairs)))


@settings(deadline=None, max_examples=60)
@given(panels(), LENGTHS)
def test_a_window_holds_its_own_series_and_nothing_elsewhere(given_, lengths):
    context, horizon = lengths
    panel, _ = build(given_)
    windows = all_origins(panel)
    batch = gather(panel, windows, context_length=context, horizon=horizon)
    for w, (origin, s) in enumerate(zip(windows.origin, windows.series)):
        own = series_rows(panel, s)
        for i, row in enumerate(range(origin - context, origin)):
            real = panel.real[row] if row in own else np.full(3, np.nan)
            code = panel.categorical[row] if row in own else np.zeros(1)
            np.testing.assert_array_equal(batch["past_real"][w, i], real)
            np.testing.assert_array_equal(batch["past_categorical"][w, i], code)
            assert batch["past_mask"][w, i] == np.isfinite(real[:2]).any()
        for i, row in enumerate(range(origin, origin + horizon)):
            real = panel.real[row, 2:] if row in own else np.full(1, np.nan)
            code = panel.categorical[row] if row in own else np.zeros(1)
            np.testing.assert_array_equal(batch["future_real"][w, i], real)
            np.testing.assert_array_equal(batch["future_categorical"][w, i], code)
        assert batch["static_real"][w] == s
        assert batch["fallback_loc"][w] == panel.fallback[s]


@settings(deadline=None, max_examples=60)
@given(panels(), LENGTHS, st.integers(0, 20))
def test_targets_are_hidden_from_stop_on(given_, lengths, boundary):
    horizon = lengths[1]
    panel, _ = build(given_)
    stop = boundary_rows(panel, boundary)
    windows = all_origins(panel)
    y, weight = targets(panel, windows, horizon=horizon, stop=stop)
    for w, (origin, s) in enumerate(zip(windows.origin, windows.series)):
        for i, row in enumerate(range(origin, origin + horizon)):
            there = row in series_rows(panel, s) and row < stop[s]
            known = there and math.isfinite(panel.target[row])
            assert y[w, i] == (panel.real[row, 0] if known else 0)
            assert weight[w, i] == (panel.weight[row] if known else 0)


def expected_windows(panel, s, first, stop, context, horizon):
    """Full windows; where a series has none, those with a part of a horizon."""

    def useful(origin):
        past = panel.target[max(origin - context, panel.offsets[s]) : origin]
        future = panel.target[origin : min(origin + horizon, stop)]
        return np.isfinite(past).any() and np.isfinite(future).any()

    origins = [origin for origin in range(first, stop) if useful(origin)]
    full = [origin for origin in origins if origin + horizon <= stop]
    return full or origins


@settings(deadline=None, max_examples=120)
@given(panels(), LENGTHS, st.one_of(st.none(), st.integers(-6, 20)))
def test_training_ends_before_the_boundary_and_validation_begins_there(given_, lengths, boundary):
    context, horizon = lengths
    panel, _ = build(given_)
    shape = {"context_length": context, "horizon": horizon}
    training = training_windows(panel, boundary, **shape)
    validation = validation_windows(panel, boundary, **shape)
    wanted = [], []
    for s in range(panel.n_series):
        rows = series_rows(panel, s)
        late = [row for row in rows if boundary is not None and panel.ordinal[row] >= boundary]
        middle = late[0] if late else rows.stop
        wanted[0].extend(expected_windows(panel, s, rows.start, middle, context, horizon))
        wanted[1].extend(expected_windows(panel, s, middle, rows.stop, context, horizon))
    assert training.origin.tolist() == wanted[0]
    assert validation.origin.tolist() == wanted[1]
    for windows in (training, validation):
        assert (windows.origin >= panel.offsets[windows.series]).all()
        assert (windows.origin < panel.offsets[windows.series + 1]).all()


def row(y):
    return (y, 0.0, 0.0, 1)


@pytest.mark.parametrize(
    ("targets_", "origins"),
    [
        ([1, 2], [1]),
        ([1, 2, 3, 4], [1, 2, 3]),
        ([1, 2, 3, 4, 5], [1]),
        ([math.nan] * 5 + [1, 2], [6]),
        ([1], []),
        ([math.nan] * 9, []),
    ],
)
def test_a_series_is_never_too_short_while_two_targets_are_known(targets_, origins):
    panel, _ = build([{t: row(float(y)) for t, y in enumerate(targets_)}])
    windows = training_windows(panel, None, context_length=3, horizon=4)
    assert windows.origin.tolist() == origins


def test_a_short_series_among_long_ones_takes_part():
    long, short = dict.fromkeys(range(12), row(1.0)), dict.fromkeys(range(4), row(2.0))
    panel, _ = build([long, short, {}, long])
    windows = training_windows(panel, None, context_length=3, horizon=4)
    assert np.bincount(windows.series).tolist() == [8, 3, 0, 8]
    assert (np.diff(windows.origin) > 0).all()


@settings(deadline=None, max_examples=40)
@given(panels(), LENGTHS)
def test_nothing_after_the_origin_changes_what_the_past_holds(given_, lengths):
    context, horizon = lengths
    panel, _ = build(given_)
    for w in range(len(all_origins(panel))):
        window = all_origins(panel).take(np.array([w]))
        cut = int(window.origin[0])
        real, codes = panel.real.copy(), panel.categorical.copy()
        real[cut:, :] = 99.0
        codes[cut:] = 3
        changed = replace(panel, real=real, categorical=codes, target=np.full(len(panel), 99.0))
        before = gather(panel, window, context_length=context, horizon=horizon)
        after = gather(changed, window, context_length=context, horizon=horizon)
        for name in ("past_real", "past_categorical", "past_mask", "static_real", "fallback_loc"):
            np.testing.assert_array_equal(after[name], before[name])
        observed_target = replace(panel, real=np.where([True, True, False], real, panel.real))
        future = gather(observed_target, window, context_length=context, horizon=horizon)
        np.testing.assert_array_equal(future["future_real"], before["future_real"])


@settings(deadline=None, max_examples=40)
@given(panels(), LENGTHS, st.integers(1, 4))
def test_windows_found_in_chunks_are_the_same(given_, lengths, size):
    context, horizon = lengths
    panel, _ = build(given_)
    shape = {"context_length": context, "horizon": horizon}
    whole = training_windows(panel, None, **shape)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsfusion.data.panel._CHUNK", size)
        parts = training_windows(panel, None, **shape)
    np.testing.assert_array_equal(parts.origin, whole.origin)
    np.testing.assert_array_equal(parts.series, whole.series)


def test_some_blocks_alone_are_those_of_all():
    panel, _ = build([dict.fromkeys(range(12), row(1.0)), dict.fromkeys(range(3), row(2.0))])
    windows = all_origins(panel)
    shape = {"context_length": 4, "horizon": 3}
    every = gather(panel, windows, **shape)
    assert set(every) == set(BLOCKS) - {"static_categorical"}
    for name, values in every.items():
        alone = gather(panel, windows, **shape, only=[name])
        assert list(alone) == [name]
        np.testing.assert_array_equal(alone[name], values)
    assert gather(panel, windows, **shape, only=["static_categorical"]) == {}


@settings(deadline=None, max_examples=60)
@given(
    panels(), st.integers(1, 6), st.lists(st.booleans(), min_size=9, max_size=9),
    st.sampled_from([0.0, 3.0, 1e4]),
)  # fmt: skip
def test_a_spread_that_was_not_learned_is_that_of_the_window(given_, context, unknown, usual):
    panel, _ = build(given_)
    unknown = np.array(unknown[: panel.n_series])
    panel = replace(panel, unknown_spread=unknown, usual_level=usual)
    windows = all_origins(panel)
    batch = gather(panel, windows, context_length=context, horizon=2)
    assert ("fallback_scale" in batch) == panel.unknown_spread.any()
    found = fallback_scale(panel, windows, batch["past_real"][..., 0])
    alive = fallback_scale(panel, windows, batch["past_real"][..., 0], constant=False)
    np.testing.assert_array_equal(batch.get("fallback_scale", found), found)
    for i, (origin, s) in enumerate(zip(windows.origin, windows.series)):
        first, stop = max(panel.offsets[s], origin - context), min(origin, panel.offsets[s + 1])
        zero = panel.offset[s] / panel.unit[s]
        values = [float(v) for v in panel.real[first:stop, 0] if math.isfinite(v)]
        n, expected, equal = len(values), 1.0, False
        if panel.unknown_spread[s] and n > 1:
            equal = np.std(values) <= 1e-5 * max(map(abs, values))
            expected = np.std(values) ** ((n - 1) / n)
        if equal:
            level = panel.unit[s] * abs(zero + np.mean(values))
            share = max(level / usual, 1e-6) if 0 < level < usual else 1
            expected = share / n
        assert found[i] == pytest.approx(expected, rel=1e-5)
        assert alive[i] == pytest.approx(1 if equal else expected, rel=1e-5)


def test_ahead_reads_a_column_up_to_the_end_of_the_series():
    panel, _ = build([dict.fromkeys(range(3), row(1.0)), dict.fromkeys(range(2), row(1.0))])
    windows = WindowIndex(np.array([1, 2, 3, 5]), np.array([0, 0, 1, 1]))
    column = np.arange(5)
    found = ahead(column, panel, windows, 3, blank=-1)
    assert found.tolist() == [[1, 2, -1], [2, -1, -1], [3, 4, -1], [-1, -1, -1]]
    assert np.isnan(ahead(column.astype(float), panel, windows, 1)[3, 0])


def test_a_batch_owns_its_memory():
    panel, _ = build([dict.fromkeys(range(12), row(1.0))])
    kept = panel.real.copy()
    window = WindowIndex(np.array([5]), np.array([0]))
    for values in gather(panel, window, context_length=3, horizon=2).values():
        values[...] = 0
    np.testing.assert_array_equal(panel.real, kept)


@pytest.mark.parametrize("most", [1, 3, 10, 99])
def test_thinning_keeps_windows_spread_evenly(most):
    index = WindowIndex(np.arange(10), np.zeros(10, np.int64)).thinned(most)
    assert len(index) == min(most, 10)
    assert len(np.unique(index.origin)) == len(index)
