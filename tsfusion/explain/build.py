"""From windows and a trained model to an `Explanation`; relies on prediction and on Keras."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.encoder import Rows
from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex, ahead, evenly_spaced, fallback_scale
from tsfusion.exceptions import ExplanationWarning
from tsfusion.explain.attribution import Attribution, Task, attribute, level_weights
from tsfusion.explain.donors import Donors
from tsfusion.explain.explanation import Branch, Explanation
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
from tsfusion.explain.paths import knock_out
from tsfusion.explain.regimes import MemoryUse, Reference, find_regimes, memory_use
from tsfusion.explain.sensitivity import (
    CHANGED_WINDOWS,
    Changes,
    Others,
    lag_changes,
    sensitivity,
)
from tsfusion.explain.trust import examine
from tsfusion.prediction import Fitted, RowPlan

__all__ = ["Variables", "branches_of", "explain_history", "explain_rows"]


# Windows of the known history that the attention of a window is compared with.
_REFERENCE = 256


def explain_history(fitted: Fitted, model: Any, memory: Rows, asked: Asked) -> Explanation:
    """Explain whole horizons at cutoffs spread evenly over the known history."""
    block = HistoryBlock.of(fitted, memory)
    if len(block.windows) == 0:
        raise ValueError(NO_HISTORY)
    if block.full.any():
        block = block.only_full()
    part = block.take(evenly_spaced(len(block.windows), asked.max_windows), asked)
    if len(part.window) == 0:
        raise ValueError(no_such_horizon(asked))
    return _explain(fitted, model, memory, part, asked)


def explain_rows(
    fitted: Fitted, model: Any, memory: Rows, plan: RowPlan, asked: Asked
) -> Explanation:
    """Explain the forecasts of given rows."""
    if len(plan.step) == 0:
        raise ValueError(NO_ROWS)
    block = RowBlock.of(plan, asked)
    if len(block.windows) == 0:
        raise ValueError(no_such_row(asked, np.unique(plan.step)))
    warn_of_thinning(len(block.windows), asked)
    part = block.take(evenly_spaced(len(block.windows), asked.max_windows), asked)
    return _explain(fitted, model, memory, part, asked)


def _explain(fitted: Fitted, model: Any, memory: Rows, part: Part, asked: Asked) -> Explanation:
    panel, windows, window, step = part.panel, part.windows, part.window, part.step
    variables = Variables.of(fitted, panel)
    variables.check_past(asked.lags_of)
    seen = Seen.of(fitted, model, part)
    batch, inputs, outputs, scale = seen.batch, seen.inputs, seen.outputs, seen.scale
    quantiles = seen.quantiles
    series = windows.series
    task = Task(
        fitted, model, panel, windows, batch, scale[:, 0, 0], window, step,
        level_weights(fitted.levels, asked.quantile), asked.xla, asked.verbose,
    )  # fmt: skip
    others = Others.of(fitted, model, memory)
    trained = quantiles[window, step - 1]

    def own_units(values: np.ndarray) -> np.ndarray:
        return fitted.in_user_units(panel, series[window], values[:, None])[:, 0]

    calibrated = None
    if asked.calibrated is not None:
        past = batch["past_real"][..., 0]
        spread = fallback_scale(panel, windows, past, constant=False)[window, None]
        moved = asked.calibrated(trained / spread, panel.labels[series[window]], step)
        calibrated = fitted.in_user_units(panel, series[window], moved * spread)
    times = _times(fitted, panel, windows)
    context = fitted.context_length
    branches = branches_of(model.network, outputs, context, window, step)
    evidence = _Evidence.of(task, outputs, branches, quantiles, memory, asked)
    changes = Changes.of(fitted, part, inputs, outputs["quantiles"])
    found = Explanation(
        series_names=fitted.encoder.roles.series,
        series_labels=panel.labels[series],
        cutoffs=times[1],
        window=window,
        step=step,
        target_times=times[0][window * (context + fitted.horizon) + context + step - 1],
        source_times=times[0],
        branches=branches,
        context_length=context,
        weights=variables.weights(outputs, batch),
        roles=variables.roles,
        sensitivity_shares=sensitivity(
            model.network,
            changes,
            variables.parts,
            others,
            most=None if "sensitivity" in asked.methods else CHANGED_WINDOWS,
        ),
        median=own_units(trained[:, fitted.median]),
        lag_changes={
            name: lag_changes(model.network, changes, variables.parts[name], others)
            for name in asked.lags_of
        },
        quantile=asked.quantile,
        value=own_units(trained @ task.weights),
        spread=task.spread(trained @ task.weights),
        cells=variables.cells,
        attributed=evidence.attributed,
        path_table=evidence.paths,
        trust_table=evidence.trust,
        regime_table=evidence.regimes,
        memory_use=evidence.memory,
        target=fitted.encoder.roles.target,
        target_values=_target_values(fitted, panel, windows, batch),
        levels=tuple(fitted.levels),
        quantiles=fitted.in_user_units(panel, series[window], trained),
        calibrated=calibrated,
    )
    _warn_of_attention(found, asked)
    return found


def _warn_of_attention(found: Explanation, asked: Asked) -> None:
    """Warn where attention stands alone and the forecast does not rest on it."""
    if found.trust_table is None or "attention" not in asked.methods:
        return
    row = found.trust_table[found.trust_table["check"] == "necessity"]
    if "attribution" in asked.methods or not (row["value"] < row["threshold"]).any():
        return
    warnings.warn(
        f"explain: {row['verdict'].iloc[0]} Prefer methods=('attribution',), or see trust.",
        ExplanationWarning,
        stacklevel=5,
    )


@dataclass(frozen=True)
class _Evidence:
    """What is found beside attention and selection; None for what was not asked for."""

    attributed: Attribution | None = None
    paths: pd.DataFrame | None = None
    trust: pd.DataFrame | None = None
    regimes: pd.DataFrame | None = None
    memory: MemoryUse | None = None

    @classmethod
    def of(
        cls, task: Task, outputs: dict, branches: tuple[Branch, ...], quantiles: np.ndarray,
        memory: Rows, asked: Asked,
    ) -> _Evidence:  # fmt: skip
        """Find it, in an order in which one part can use another."""
        if asked.checks is None and not {"attribution", "paths", "regimes", "memory"} & set(
            asked.methods
        ):
            return cls()
        donors = Donors.of(task.fitted, task.fitted.panel(memory))
        rng = np.random.default_rng(asked.seed)
        attributed = None
        if "attribution" in asked.methods:
            attributed = attribute(task, donors, asked.baselines, asked.seed)
        paths = knock_out(task, rng) if "paths" in asked.methods else None
        trust = None
        if asked.checks is not None:
            trust = examine(
                task, donors, branches, quantiles, attributed, rng, full=asked.checks == "full"
            )
        regimes = use = None
        if {"regimes", "memory"} & set(asked.methods):
            reference = Reference.of(task, donors, _REFERENCE)
            if "regimes" in asked.methods:
                regimes = find_regimes(task, outputs, reference, rng)
            if "memory" in asked.methods:
                use = memory_use(task, outputs, reference)
        return cls(attributed, paths, trust, regimes, use)


def branches_of(
    network: Any, outputs: dict, context: int, window: np.ndarray, step: np.ndarray
) -> tuple[Branch, ...]:
    """Return the attention of each explained forecast, and the steps that it could look at."""

    def branch(name: str, scores: np.ndarray, first: np.ndarray, last: np.ndarray) -> Branch:
        return Branch(name, scores[window, :, step - 1], first, last)

    if "attention" in outputs:
        scores = outputs["attention"]
        steps = np.arange(scores.shape[-1]) - context
        return (branch("all", scores, steps, steps),)
    short, spans = outputs["short_attention"], network.token_spans() - context
    steps = np.arange(-short.shape[-1], 0)
    return (
        branch("short", short, steps, steps),
        branch("long", outputs["long_attention"], spans[:, 0], spans[:, 1] - 1),
    )


def _times(fitted: Fitted, panel: Panel, windows: WindowIndex) -> tuple[pd.Index, pd.Index]:
    """Return the times of all W * K steps of the windows, and their cutoffs."""
    timeline = fitted.encoder.timeline
    position = np.arange(-fitted.context_length, fitted.horizon)
    rows = windows.origin[:, None] + position
    low = panel.offsets[windows.series][:, None]
    high = panel.offsets[windows.series + 1][:, None] - 1
    if timeline.is_regular:
        anchor = np.clip(windows.origin, low[:, 0], high[:, 0])
        ordinal = panel.ordinal[anchor][:, None] + (rows - anchor[:, None])
    else:
        # Steps before the first row have no time of their own; their weight is 0.
        ordinal = panel.ordinal[np.clip(rows, low, high)]
    times = timeline.times(ordinal.reshape(-1))
    cutoff = np.arange(len(windows)) * len(position) + fitted.context_length - 1
    return times, times[cutoff]


def _target_values(
    fitted: Fitted, panel: Panel, windows: WindowIndex, batch: dict[str, np.ndarray]
) -> np.ndarray:
    """Return (W * K,) the target at every step of the windows, NaN where it is not known."""
    later = ahead(panel.real[:, 0], panel, windows, fitted.horizon)
    scaled = np.concatenate([batch["past_real"][..., 0], later], axis=1).astype(np.float64)
    series = np.repeat(windows.series, scaled.shape[1])
    found = fitted.in_user_units(panel, series, np.nan_to_num(scaled).reshape(-1, 1))[:, 0]
    return np.where(np.isfinite(scaled.reshape(-1)), found, np.nan)


class Variables:
    """Names and places of the network's variables in the user's terms."""

    def __init__(self, past: list, future: list, static: list, roles: dict, parts: dict) -> None:
        self.past, self.future, self.static = past, future, static
        self.roles = roles
        self.parts = parts

    @classmethod
    def of(cls, fitted: Fitted, panel: Panel) -> Variables:
        """List them: reals first, then categories, as in the selection weights."""
        roles, calendar = fitted.encoder.roles, fitted.calendar
        target = roles.target
        role: dict[Any, str] = {target: "target"}
        role |= dict.fromkeys(roles.observed, "observed") | dict.fromkeys(roles.known, "known")
        role |= dict.fromkeys([*calendar.names, *calendar.real_names], "calendar")
        role |= dict.fromkeys(roles.static, "static")
        future_real = [*roles.known_real, *calendar.real_names]
        future_categorical = [*roles.known_categorical, *calendar.names]
        past_real = [target, *roles.observed_real, *future_real]
        past_categorical = [*roles.observed_categorical, *future_categorical]
        parts: dict[Any, list[tuple[str, int]]] = {name: [] for name in role}
        for key, names in (
            ("past_real", past_real), ("past_categorical", past_categorical),
            ("future_real", future_real), ("future_categorical", future_categorical),
            ("static_real", roles.static_real), ("static_categorical", roles.static_categorical),
        ):  # fmt: skip
            for i, name in enumerate(names):
                parts[name].append((key, i))
        return cls(
            [*past_real, *past_categorical],
            [*future_real, *future_categorical],
            [*roles.static_real, *roles.static_categorical],
            role,
            parts,
        )

    @property
    def cells(self) -> dict[str, list[Any]]:
        """The variable of each column of each input."""
        found: dict[str, dict[int, Any]] = {}
        for name, parts in self.parts.items():
            for key, i in parts:
                found.setdefault(key, {})[i] = name
        return {key: [names[i] for i in range(len(names))] for key, names in found.items()}

    def check_past(self, names: list[Any]) -> None:
        """Raise if a variable has no past."""
        for name in names:
            if name not in self.past:
                raise ValueError(
                    f"lags_of: expected variables with a past, of {self.past}, received {name!r}."
                )

    def weights(self, outputs: dict, batch: dict) -> dict[str, pd.DataFrame]:
        """Return selection weights (W, V) per block, averaged over the steps that have any."""
        result = {}
        for block, names in (("past", self.past), ("future", self.future), ("static", self.static)):
            weight = outputs.get(f"{block}_selection")
            if weight is None:
                continue
            if weight.ndim == 3:
                counted = (weight.sum(-1, keepdims=True) > 0).astype(np.float32)
                if block == "past":
                    counted = counted * batch["past_mask"][:, -weight.shape[1] :, None]
                total = np.maximum(counted.sum(axis=1), 1)
                weight = (weight * counted).sum(axis=1) / total
            result[block] = pd.DataFrame(weight, columns=pd.Index(names, dtype=object))
        return result
