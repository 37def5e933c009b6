"""The losses of naive forecasts, beside a reference in plain Python."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.test_panel import build, panels
from tests.data.test_windows import all_origins
from tsfusion.data.windows import WindowIndex, targets
from tsfusion.models.losses import PinballLoss
from tsfusion.training.naive import naive_losses

LEVELS = (0.1, 0.4, 0.9)


def reference(panel, windows, season, context, horizon):
    """Return the point forecasts of each window by name, NaN where nothing is known."""
    found = {}
    for origin, series in zip(windows.origin, windows.series):
        low = panel.offsets[series]
        past = [
            float(panel.real[row, 0]) if row >= low else float("nan")
            for row in range(origin - context, origin)
        ]

        def latest(values):
            known = [value for value in values if value == value]
            return known[-1] if known else float("nan")

        last = latest(past)
        points = {"last value": [last] * horizon}
        known = [value for value in past if value == value]
        mean = sum(known) / len(known) if known else float("nan")
        points["mean of the window"] = [mean] * horizon
        if 1 < season <= context:
            whole = past[context % season :]
            phases = [latest(whole[phase::season]) for phase in range(season)]
            phases = [last if value != value else value for value in phases]
            del points["mean of the window"]
            points["seasonal naive"] = [phases[h % season] for h in range(horizon)]
            points["mean of the last season"] = [sum(phases) / season] * horizon
        for name, values in points.items():
            found.setdefault(name, []).append(values)
    return {name: np.array(values) for name, values in found.items()}


@settings(deadline=None, max_examples=60)
@given(panels(), st.integers(1, 3), st.integers(1, 5), st.integers(1, 4))
def test_losses_are_those_of_the_reference(given_, season, context, horizon):
    panel, _ = build(given_)
    every = all_origins(panel)
    every = every.take(np.flatnonzero(every.origin < panel.offsets[every.series + 1]))
    half = len(every) // 2
    training, validation = every.take(np.arange(half)), every.take(np.arange(half, len(every)))
    shape = {"season": season, "context_length": context, "horizon": horizon}
    found = naive_losses(
        panel, training, validation, levels=LEVELS, stop=panel.offsets[1:], **shape
    )
    if not found:
        return
    y, weight = targets(panel, training, horizon=horizon)
    truth, counted = targets(panel, validation, horizon=horizon)
    past = reference(panel, training, season, context, horizon)
    for name, point in reference(panel, validation, season, context, horizon).items():
        errors = np.where(weight > 0, y, np.nan) - past[name]
        pooled = errors[np.isfinite(errors)]
        total = parts = 0.0
        for window, values in enumerate(point):
            for step, value in enumerate(values):
                own = errors[:, step][np.isfinite(errors[:, step])]
                spread = np.quantile(own if len(own) else pooled, LEVELS) if len(pooled) else 0.0
                w = counted[window, step]
                if w > 0 and np.isfinite(value):
                    each = PinballLoss(LEVELS, reduction="none")(
                        np.array([[truth[window, step]]], np.float64),
                        np.array(value + np.broadcast_to(spread, 3))[None, None],
                    )
                    total += w * float(keras.ops.convert_to_numpy(each)[0, 0])
                    parts += w
        assert found[name] == pytest.approx(total / parts, rel=1e-4, abs=1e-6)


def test_nothing_is_compared_without_windows():
    panel, _ = build([{t: (float(t), 0.0, 0.0, 0) for t in range(6)}])
    every = WindowIndex(np.arange(1, 6), np.zeros(5, np.int64))
    none = every.take(np.arange(0))
    rest = {"levels": LEVELS, "season": 1, "context_length": 2, "horizon": 1}
    stop = panel.offsets[1:]
    assert naive_losses(panel, none, every, stop=stop, **rest) == {}
    assert naive_losses(panel, every, none, stop=stop, **rest) == {}
    # A straight line: the last value is always one too low, and its errors in training say so.
    found = naive_losses(panel, every.take(np.arange(3)), every.take([4]), stop=stop, **rest)
    assert list(found) == ["last value", "mean of the window"]
    assert found["last value"] == pytest.approx(0, abs=1e-6)
