"""Explanations of any number of windows on average, a block at a time; relies on prediction."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.encoder import Rows
from tsfusion.data.windows import evenly_spaced
from tsfusion.explain.attribution import Task, attribute, level_weights, steps_asked
from tsfusion.explain.averages import AverageExplanation, group_sizes, lag_patterns
from tsfusion.explain.build import Variables, branches_of
from tsfusion.explain.donors import Donors
from tsfusion.explain.explanation import Branch
from tsfusion.explain.parts import (
    NO_HISTORY,
    NO_ROWS,
    Asked,
    HistoryBlock,
    Part,
    RowBlock,
    Seen,
    no_such_horizon,
    no_such_row,
    warn_of_thinning,
)
from tsfusion.explain.sensitivity import CHANGED_WINDOWS, Changes, Others, sensitivity
from tsfusion.prediction import Fitted, plan_rows

__all__ = ["average_history", "average_rows"]

# Windows explained at a time, and rows of history laid out at a time: memory is bounded by both.
_WINDOWS, _ROWS = 512, 200_000
# Windows that the quantiles of temporal patterns are taken over, evenly spaced.
_SAMPLED = 1024
_METHODS = ("attention", "selection", "attribution")


class _Sums:
    """Adds up what blocks of windows show."""

    def __init__(self, fitted: Fitted, model: Any, asked: Asked, donors: Donors | None) -> None:
        self.fitted, self.model, self.asked, self.donors = fitted, model, asked, donors
        self.variables: Variables | None = None
        self.windows = self.forecasts = 0
        self.count = np.zeros(fitted.horizon)
        self.weights: dict[str, pd.Series] = {}
        self.sizes: Any = 0.0
        self.scores: list[Any] = []
        self.branches: tuple[Branch, ...] = ()
        self.sampled: list[list[np.ndarray]] = []
        self.changed: list[Changes] = []

    def add(self, part: Part, sampled: np.ndarray, changed: np.ndarray) -> None:
        """Add windows; keep the patterns of some and the inputs of some (places in the part)."""
        fitted = self.fitted
        seen = Seen.of(fitted, self.model, part)
        variables = self.variables = self.variables or Variables.of(fitted, part.panel)
        self.windows += len(part.windows)
        self.forecasts += len(part.window)
        self.count += np.bincount(part.step - 1, minlength=fitted.horizon)
        for block, table in variables.weights(seen.outputs, seen.batch).items():
            self.weights[block] = self.weights.get(block, 0.0) + table.sum()
        self._add_patterns(part, seen, sampled)
        windows = Changes.of(fitted, part, seen.inputs, seen.outputs["quantiles"])
        self.changed.append(windows.take(changed))
        if self.donors is not None and len(part.window):
            self.sizes = self.sizes + self._sizes(part, seen, variables)

    def _add_patterns(self, part: Part, seen: Seen, sampled: np.ndarray) -> None:
        fitted = self.fitted
        shape = (len(part.windows), fitted.horizon)
        # No head is kept; a step of a window that is not asked for counts for nothing.
        asked = steps_asked(*shape, part.window, part.step)
        every = np.indices(shape).reshape(2, -1)
        self.branches = branches_of(
            self.model.network, seen.outputs, fitted.context_length, every[0], every[1] + 1
        )
        for place, branch in enumerate(self.branches):
            scores = branch.scores.mean(axis=1).reshape(*shape, -1)
            total = np.einsum("whk,wh->hk", scores, asked, dtype=np.float64)
            if place == len(self.scores):
                self.scores.append(0.0)
                self.sampled.append([])
            self.scores[place] = self.scores[place] + total
            some = np.where(asked[sampled, :, None], scores[sampled], np.float32(np.nan))
            self.sampled[place].append(some)

    def _sizes(self, part: Part, seen: Seen, variables: Variables) -> np.ndarray:
        """Return (V,) the sum over forecasts of how far each variable moved them."""
        assert self.donors is not None
        task = Task(
            self.fitted, self.model, part.panel, part.windows, seen.batch, seen.scale[:, 0, 0],
            part.window, part.step, level_weights(self.fitted.levels, self.asked.quantile),
            self.asked.xla, self.asked.verbose,
        )  # fmt: skip
        values = attribute(task, self.donors, self.asked.baselines, self.asked.seed).values
        unit = task.spread(seen.quantiles[part.window, part.step - 1] @ task.weights)
        named = {name: name for name in variables.roles}
        return group_sizes(values, variables.cells, unit, named).sum(axis=0)

    def averages(self, others: Others) -> AverageExplanation:
        """Return what has been added up, over what it is the sum of."""
        assert self.variables is not None
        steps = np.flatnonzero(self.count > 0)
        tables = []
        for branch, total, sampled in zip(self.branches, self.scores, self.sampled):
            some = np.concatenate(sampled)[:, steps]
            table = lag_patterns(
                steps + 1, branch.first, branch.last, total[steps] / self.count[steps, None],
                np.nanquantile(some.astype(np.float64), [0.1, 0.5, 0.9], axis=0),
            )  # fmt: skip
            table.insert(0, "branch", branch.name)
            tables.append(table)
        shares = None
        if self.donors is not None:
            found = (self.sizes / (self.sizes.sum() or 1.0)).tolist()
            shares = dict(zip(self.variables.roles, found))
        return AverageExplanation(
            forecasts=self.forecasts,
            windows=self.windows,
            context_length=self.fitted.context_length,
            roles=self.variables.roles,
            sensitivity_shares=sensitivity(
                self.model.network, Changes.joined(self.changed), self.variables.parts, others,
                most=CHANGED_WINDOWS,
            ),
            attribution_shares=shares,
            mean_weights={
                block: (total / self.windows).to_dict() for block, total in self.weights.items()
            },
            patterns=pd.concat(tables, ignore_index=True),
        )  # fmt: skip


Blocks = Callable[[], Iterator[HistoryBlock | RowBlock]]


def average_history(fitted: Fitted, model: Any, memory: Rows, asked: Asked) -> AverageExplanation:
    """Explain windows spread evenly over the known history, on average."""
    _check(asked)

    def blocks() -> Iterator[HistoryBlock]:
        for series in _series_blocks(memory, np.flatnonzero(memory.counts())):
            yield HistoryBlock.of(fitted, memory.of_series(series).only(series))

    counts = [(len(block.windows), int(block.full.sum())) for block in blocks()]
    if not sum(count for count, _ in counts):
        raise ValueError(NO_HISTORY)
    if sum(full for _, full in counts):
        found = _averaged(
            fitted, model, memory, (block.only_full() for block in blocks()),
            [full for _, full in counts], asked,
        )  # fmt: skip
    else:
        found = _averaged(fitted, model, memory, blocks(), [count for count, _ in counts], asked)
    if found is None:
        raise ValueError(no_such_horizon(asked))
    return found


def average_rows(
    fitted: Fitted, model: Any, memory: Rows, rows: Rows, asked: Asked
) -> AverageExplanation:
    """Explain the forecasts of given rows, on average."""
    _check(asked)
    if len(rows) == 0:
        raise ValueError(NO_ROWS)
    order = np.argsort(rows.series, kind="stable")
    steps: set[int] = set()

    def blocks(noting: bool = False) -> Iterator[RowBlock]:
        of_row = rows.series[order]
        for series in _series_blocks(memory, np.unique(rows.series)):
            low, high = np.searchsorted(of_row, [series[0], series[-1] + 1])
            plan = plan_rows(fitted, memory, rows.take(order[low:high]))
            if noting:
                steps.update(np.unique(plan.step).tolist())
            yield RowBlock.of(plan, asked)

    counts = [len(block.windows) for block in blocks(noting=True)]
    if not sum(counts):
        raise ValueError(no_such_row(asked, np.array(sorted(steps))))
    warn_of_thinning(sum(counts), asked)
    found = _averaged(fitted, model, memory, blocks(), counts, asked)
    assert found is not None
    return found


def _check(asked: Asked) -> None:
    """Raise about what averages cannot hold."""
    wrong = [name for name in asked.methods if name not in _METHODS]
    if wrong:
        raise ValueError(
            f"methods: averages are of {_METHODS} alone, received {wrong}. Leave them out, or use "
            "explain()."
        )


def _series_blocks(memory: Rows, series: np.ndarray) -> Iterator[np.ndarray]:
    """Cut sorted series into blocks of not much more than so many rows and series."""
    rows = np.cumsum(memory.counts()[series])
    block = np.maximum(rows // _ROWS, np.arange(len(series)) // _WINDOWS)
    yield from np.split(series, np.flatnonzero(np.diff(block)) + 1)


def _averaged(
    fitted: Fitted, model: Any, memory: Rows, blocks: Iterator[HistoryBlock | RowBlock],
    counts: list[int], asked: Asked,
) -> AverageExplanation | None:  # fmt: skip
    """Explain evenly spaced windows of all blocks; None if no step asked for is among them."""
    chosen = evenly_spaced(sum(counts), asked.max_windows)
    sampled, changed = (evenly_spaced(len(chosen), most) for most in (_SAMPLED, CHANGED_WINDOWS))
    donors = None
    if "attribution" in asked.methods:
        donors = Donors.of(fitted, fitted.panel(memory))
    sums = _Sums(fitted, model, asked, donors)
    start = first = 0
    for block, count in zip(blocks, counts):
        stop = int(np.searchsorted(chosen, start + count))
        for low in range(first, stop, _WINDOWS):
            high = min(low + _WINDOWS, stop)
            within = partial(_within, low=low, high=high)
            part = block.take(chosen[low:high] - start, asked)
            sums.add(part, within(sampled), within(changed))
        start, first = start + count, stop
    return sums.averages(Others.of(fitted, model, memory)) if sums.forecasts else None


def _within(places: np.ndarray, *, low: int, high: int) -> np.ndarray:
    """Return the sorted places from low to high, counted from low."""
    return places[slice(*np.searchsorted(places, [low, high]))] - low
