"""How far an explanation can be trusted, each check with a figure; relies on NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.windows import (
    WindowIndex,
    evenly_spaced,
    gather,
    training_windows,
    validation_windows,
)
from tsfusion.explain.attribution import Attribution, Task, run_in_chunks
from tsfusion.explain.donors import Batch, Donors
from tsfusion.explain.explanation import Branch
from tsfusion.explain.paths import Truth, ratio_interval
from tsfusion.explain.verdicts import of_share
from tsfusion.prediction import run_model

__all__ = ["examine", "overlap", "step_attribution"]

# Fewer windows with a known target than this say too little of a loss: the history is taken then.
_LEAST_WINDOWS, _MOST_WINDOWS = 8, 64
# Forecasts whose cells are removed, and donors for each.
_MOST_REMOVED, _REMOVALS = 64, 4
_SHARES = (0.05, 0.1, 0.2)
_TOP = 5
_COLUMNS = ["check", "value", "low", "high", "threshold", "passed", "verdict"]


def examine(
    task: Task, donors: Donors, branches: tuple[Branch, ...], quantiles: np.ndarray,
    attributed: Attribution | None, rng: np.random.Generator, *, full: bool,
) -> pd.DataFrame:  # fmt: skip
    """Return a row per check.

    Parameters
    ----------
    task : Task
    donors : Donors
    branches : tuple of Branch
        The attention.
    quantiles : ndarray, shape (W, H, Q)
        What the explanation says was forecast, in network units.
    attributed : Attribution or None
    rng : numpy.random.Generator
    full : bool
        Whether to remove cells, which takes passes of its own.

    Returns
    -------
    DataFrame
        Columns: ``check``, ``value``, ``low``, ``high`` (95 % interval; NaN without one),
        ``threshold``, ``passed``, ``verdict``.
    """
    rows = [_equality(task, quantiles)]
    if hasattr(task.model.network, "knockouts"):
        rows.append(_necessity(task, donors, quantiles, rng))
    if attributed is not None:
        rows.append(_additivity(task, quantiles, attributed))
        rows += [_overlaps(task, branch, attributed, rng) for branch in branches]
        if full:
            rows += _removals(task, donors, attributed, rng)
    return pd.DataFrame(rows, columns=_COLUMNS)


def _row(check: str, interval: Any, threshold: float, passed: bool, verdict: str) -> tuple:
    return (check, *interval, threshold, bool(passed), verdict)


def _equality(task: Task, quantiles: np.ndarray) -> tuple:
    """The explained forecast against that of the whole model, as `predict` runs it."""
    predicted = np.concatenate(
        [
            run_model(task.model, {k: v[first : first + 128] for k, v in task.batch.items()})
            for first in range(0, len(task.windows), 128)
        ]
    )
    at = (task.window, task.step - 1)
    entry = np.arange(len(task.window))
    ours, theirs = (
        task.in_user_units(entry, values[at].astype(np.float64) @ task.weights)
        for values in (quantiles, predicted)
    )
    size = np.maximum(np.abs(theirs), task.panel.unit[task.windows.series[task.window]])
    value = float((np.abs(ours - theirs) / size).max())
    passed = value <= 1e-5
    verdict = (
        "The forecasts explained are those of predict, before any calibration."
        if passed
        else f"The forecasts explained differ from those of predict by {value:.1e} of their size."
    )
    return _row("equals predict", (value, np.nan, np.nan), 1e-5, passed, verdict)


def _necessity(
    task: Task, donors: Donors, quantiles: np.ndarray, rng: np.random.Generator
) -> tuple:
    """The loss when the horizon looks at everything alike, by the loss as it is."""
    fitted = task.fitted
    asked = task.asked
    truth = Truth.of(task.panel, task.windows, asked, fitted.levels)
    batch, whole, where = task.batch, quantiles, "the windows explained"
    if truth.useful.sum() < min(_LEAST_WINDOWS, len(donors.windows)):
        windows, where = _tested(donors)
        batch = gather(
            donors.panel, windows, context_length=fitted.context_length, horizon=fitted.horizon
        )
        steps = np.broadcast_to(asked.any(axis=0), (len(windows), fitted.horizon))
        truth = Truth.of(donors.panel, windows, steps, fitted.levels)
        whole = run_in_chunks(task.model, batch).astype(np.float64)
    less = run_in_chunks(task.model, batch, rarely=True, without=("attention",)).astype(np.float64)
    useful = truth.useful
    if not useful.any():
        missing = (np.nan,) * 3
        verdict = "Not known: there is no known target to measure the error by."
        return _row("necessity", missing, 1.05, False, verdict)
    interval = ratio_interval(truth.losses(less)[useful], truth.losses(whole)[useful], rng)
    passed = interval[0] >= 1.05
    said = (
        f"Attention is load-bearing: without it the error is {interval[0]:.2f}x"
        if passed
        else f"Attention is not load-bearing: without it the error is {interval[0]:.2f}x"
    )
    verdict = f"{said} ({interval[1]:.2f} to {interval[2]:.2f}, on {int(useful.sum())} of {where})."
    return _row("necessity", interval, 1.05, passed, verdict)


def _tested(donors: Donors) -> tuple[WindowIndex, str]:
    """Return windows of the validation tail, or of training where there is no tail."""
    fitted = donors.fitted
    sizes = {"context_length": fitted.context_length, "horizon": fitted.horizon}
    boundary = fitted.encoder.boundary
    if boundary is not None:
        windows = validation_windows(donors.panel, boundary, **sizes)
        if len(windows) >= _LEAST_WINDOWS:
            return windows.thinned(_MOST_WINDOWS), "the validation windows"
    windows = training_windows(donors.panel, None, **sizes)
    return windows.thinned(_MOST_WINDOWS), "the windows of the known history"


def _additivity(task: Task, quantiles: np.ndarray, attributed: Attribution) -> tuple:
    """The largest rest beside the mean distance, each in the spread of its own window."""
    unit = task.spread(quantiles[task.window, task.step - 1] @ task.weights)
    unit = np.maximum(unit, np.finfo(float).tiny)
    distance = (np.abs(attributed.forecast - attributed.baseline) / unit).mean()
    rest = (np.abs(attributed.residual) / unit).max()
    value = float(rest / max(distance, np.finfo(float).tiny))
    passed = value <= 0.01
    verdict = (
        f"The attributions {'add' if passed else 'do not add'} up: the largest rest is {value:.2%} "
        "of the mean distance from the baseline, each in the spread of its window."
    )
    return _row("adds up", (value, np.nan, np.nan), 0.01, passed, verdict)


def step_attribution(attributed: Attribution, context: int) -> np.ndarray:
    """Return (E, T + H) the sum of absolute attributions over the variables of each step."""
    first = next(iter(attributed.values.values()))
    horizon = next((v.shape[1] for k, v in attributed.values.items() if k.startswith("future")), 0)
    result = np.zeros((len(first), context + horizon))
    for name, value in attributed.values.items():
        place = {"past": slice(0, context), "future": slice(context, None)}.get(name.split("_")[0])
        if place is not None:
            result[:, place] += np.abs(value).sum(axis=2)
    return result


def overlap(first: np.ndarray, second: np.ndarray, k: int) -> np.ndarray:
    """Return (E,) the share of the k largest of each row that two tables (E, K) have in common.

    Examples
    --------
    >>> overlap(np.array([[3.0, 2.0, 1.0]]), np.array([[3.0, 1.0, 2.0]]), 2).tolist()
    [0.5]
    """
    chosen = []
    for table in (first, second):
        top = np.zeros(table.shape, bool)
        np.put_along_axis(top, np.argsort(-table, axis=1, kind="stable")[:, :k], True, axis=1)
        chosen.append(top)
    return (chosen[0] & chosen[1]).sum(axis=1) / k


def _overlaps(
    task: Task, branch: Branch, attributed: Attribution, rng: np.random.Generator
) -> tuple:
    """Top steps by attention against top steps by attribution, of the mean of each horizon."""
    context = task.fitted.context_length
    steps = step_attribution(attributed, context)
    summed = np.concatenate([np.zeros((len(steps), 1)), np.cumsum(steps, axis=1)], axis=1)
    low = np.clip(branch.first + context, 0, steps.shape[1])
    high = np.clip(branch.last + 1 + context, 0, steps.shape[1])
    by_source = summed[:, high] - summed[:, low]
    size = np.maximum(steps.sum(axis=1, keepdims=True), np.finfo(float).tiny)
    horizons, group = np.unique(task.step, return_inverse=True)
    looked, moved = (np.zeros((len(horizons), len(branch.first))) for _ in range(2))
    np.add.at(looked, group, branch.scores.mean(axis=1))
    np.add.at(moved, group, by_source / size)
    k = max(1, min(_TOP, len(branch.first) // 3))
    shares = overlap(looked, moved, k)
    interval = ratio_interval(shares, np.ones(len(shares)), rng)
    passed = interval[0] >= 0.6
    name = "" if branch.name == "all" else f" in the {branch.name} window"
    said = "Attention and attribution agree" if passed else "Prefer the attribution here"
    whose = "they share" if passed else "it shares with the attention"
    verdict = f"{said}: {whose} {interval[0]:.0%} of the top {k}{name}."
    return _row(f"overlap {branch.name}", interval, 0.6, passed, verdict)


def _removals(
    task: Task, donors: Donors, attributed: Attribution, rng: np.random.Generator
) -> list[tuple]:
    """How far the forecast moves when the cells attributed most are removed, or all others are.

    Beside as many cells taken at random: comprehensiveness and sufficiency of DeYoung et al.
    (2020), "ERASER", with values of other windows in place of the removed ones.
    """
    size = len(task.window)
    some = evenly_spaced(size, _MOST_REMOVED)
    own = task.window[some]
    windows = task.windows.take(own)
    batch = {name: value[own] for name, value in task.batch.items()}
    usable = _usable(batch, task.step[some], attributed.values)
    score = np.concatenate(
        [np.abs(v[some]).reshape(len(some), -1) for v in attributed.values.values()], axis=1
    )
    whole = _at_step(task, task.forecasts(batch), some)
    # Share, removed or kept, attributed most or random, forecast.
    moved = np.zeros((len(_SHARES), 2, 2, len(some)))
    for _ in range(_REMOVALS):
        chosen = donors.choose(task.panel, windows, 1, int(rng.integers(2**32)))
        other = donors.batch(task.panel, windows, batch, chosen)
        for j, ranks in enumerate((score, rng.random(score.shape))):
            ranks = np.where(usable, ranks, -1)
            for i, share in enumerate(_SHARES):
                top = _top_share(ranks, usable, share)
                for k, removed in enumerate((top, usable & ~top)):
                    mixed = _replaced(batch, other, removed, attributed.values)
                    change = np.abs(_at_step(task, task.forecasts(mixed), some) - whole)
                    moved[i, k, j] += change
    rows = []
    for share, (removed, kept) in zip(_SHARES, moved):
        for check, further, less in (
            ("comprehensiveness", removed[0], removed[1]), ("sufficiency", kept[1], kept[0]),
        ):  # fmt: skip
            interval = ratio_interval(further, less, rng)
            said = of_share(check, share, interval[0])
            rows.append(_row(f"{check} {100 * share:.0f} %", interval, 2.0, interval[0] >= 2, said))
    return sorted(rows, key=lambda row: row[0].split()[0])


def _at_step(task: Task, forecasts: np.ndarray, entry: np.ndarray) -> np.ndarray:
    """Return (E,) of forecasts (E, H), one window for each entry."""
    return forecasts[np.arange(len(entry)), task.step[entry] - 1]


def _usable(batch: Batch, step: np.ndarray, names: Any) -> np.ndarray:
    """Return (E, C) which cells a forecast could have used."""
    parts = []
    for name in names:
        role, kind = name.split("_")
        value = batch[name]
        known = np.isfinite(value) if kind == "real" else np.ones(value.shape, bool)
        if role == "past":
            known = known & batch["past_mask"][:, :, None].astype(bool)
        if role == "future":
            known = known & (np.arange(value.shape[1]) < step[:, None])[:, :, None]
        parts.append(known.reshape(len(step), -1))
    return np.concatenate(parts, axis=1)


def _top_share(ranks: np.ndarray, usable: np.ndarray, share: float) -> np.ndarray:
    """Return (E, C) the given share of the usable cells, those of the highest ranks."""
    count = np.ceil(share * usable.sum(axis=1)).astype(np.int64)
    order = np.argsort(-ranks, axis=1, kind="stable")
    place = np.empty_like(order)
    np.put_along_axis(place, order, np.arange(ranks.shape[1])[None], axis=1)
    return usable & (place < count[:, None])


def _replaced(batch: Batch, other: Batch, removed: np.ndarray, names: Any) -> Batch:
    """Return the batch with the removed cells taken from another."""
    result, first = dict(batch), 0
    for name in names:
        shape = batch[name].shape
        size = int(np.prod(shape[1:]))
        cells = removed[:, first : first + size].reshape(shape)
        result[name] = np.where(cells, other[name], batch[name])
        first += size
    return result
