"""From windows and a trained model to an `Explanation`; relies on prediction and on Keras."""

from __future__ import annotations

import warnings
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from keras import ops

from tsfusion.data.encoder import Rows
from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex, ahead, gather, training_windows
from tsfusion.exceptions import DataWarning, ExplanationWarning
from tsfusion.explain.attribution import Attribution, Task, attribute, level_weights, run_in_chunks
from tsfusion.explain.donors import Donors
from tsfusion.explain.explanation import Branch, Explanation
from tsfusion.explain.paths import knock_out
from tsfusion.explain.regimes import MemoryUse, Reference, find_regimes, memory_use
from tsfusion.explain.trust import examine
from tsfusion.prediction import Fitted, RowPlan

__all__ = ["METHODS", "Asked", "explain_history", "explain_rows"]


METHODS = (
    "attention", "selection", "sensitivity", "attribution", "paths", "regimes", "memory",
)  # fmt: skip
# Windows of the known history that the attention of a window is compared with.
_REFERENCE = 256
# Windows that sensitivities are measured on if nothing else is asked for: each takes a pass for
# every variable. And windows that are run at a time for it.
_CHANGED_WINDOWS, _CHANGED = 64, 512


@dataclass(frozen=True)
class Asked:
    """What an explanation is to hold; made by `Asked.of`, which checks it."""

    max_windows: int
    lags_of: list[Any]
    horizons: tuple[int, ...] | None
    quantile: float
    methods: tuple[str, ...]
    checks: str | None
    baselines: int
    seed: int

    @classmethod
    def of(
        cls, horizon: int, *, max_windows: Any, lags_of: Any, horizons: Any, quantile: Any,
        methods: Any, checks: Any, baselines: Any, random_state: Any,
    ) -> Asked:  # fmt: skip
        """Return the request, or raise ``ValueError`` about what is wrong with it."""
        for name, value in (("max_windows", max_windows), ("baselines", baselines)):
            if not _is_int(value) or value < 1:
                raise ValueError(f"{name}: expected an integer >= 1, received {value!r}.")
        listed = list(lags_of) if isinstance(lags_of, (list, tuple)) else [lags_of]
        methods = tuple(_listed(methods))
        wrong = [name for name in methods if name not in METHODS]
        if wrong or not methods:
            raise ValueError(f"methods: expected some of {METHODS}, received {wrong or methods!r}.")
        if checks not in ("fast", "full", None):
            raise ValueError(f"checks: expected 'fast', 'full' or None, received {checks!r}.")
        if checks == "full" and "attribution" not in methods:
            methods = (*methods, "attribution")
        number = isinstance(quantile, Real) and not isinstance(quantile, bool)
        if not number or not 0 < quantile < 1:
            raise ValueError(f"quantile: expected one number in (0, 1), received {quantile!r}.")
        return cls(
            max_windows=int(max_windows),
            lags_of=[] if lags_of is None else listed,
            horizons=_check_horizons(horizons, horizon),
            quantile=float(quantile),
            methods=methods,
            checks=checks,
            baselines=int(baselines),
            # A generator would move on, and the next explanation would be another.
            seed=int(random_state) if _is_int(random_state) else 0,
        )

    def keep(self, step: np.ndarray) -> np.ndarray:
        """Return (R,) whether each forecast's step is asked for."""
        return np.ones(len(step), bool) if self.horizons is None else np.isin(step, self.horizons)


def _is_int(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool)


def _listed(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, set, range, np.ndarray)) else [value]


def _check_horizons(horizons: Any, horizon: int) -> tuple[int, ...] | None:
    if horizons is None:
        return None
    listed = _listed(horizons)
    wrong = [step for step in listed if not _is_int(step) or not 1 <= step <= horizon]
    if wrong or not listed:
        raise ValueError(
            f"horizons: expected steps ahead from 1 to the horizon of {horizon}, received "
            f"{wrong or listed}."
        )
    return tuple(sorted({int(step) for step in listed}))


def explain_history(fitted: Fitted, model: Any, memory: Rows, asked: Asked) -> Explanation:
    """Explain whole horizons at cutoffs spread evenly over the known history."""
    panel = fitted.panel(memory)
    windows = training_windows(
        panel, None, context_length=fitted.context_length, horizon=fitted.horizon
    )
    if len(windows) == 0:
        raise ValueError(
            "Nothing to explain: no series has two known targets. Pass X, or history in context=."
        )
    full = windows.origin - panel.offsets[windows.series] >= fitted.context_length
    windows = (windows.take(full) if full.any() else windows).thinned(asked.max_windows)
    window = np.repeat(np.arange(len(windows)), fitted.horizon)
    step = np.tile(np.arange(1, fitted.horizon + 1), len(windows))
    inside = windows.origin[window] + step - 1 < panel.offsets[windows.series[window] + 1]
    inside &= asked.keep(step)
    if not inside.any():
        raise ValueError(
            f"horizons: no series of the known history has steps {list(asked.horizons or ())} "
            "ahead of a known target. Leave horizons out, or pass X."
        )
    return _explain(
        fitted, model, memory, panel, windows, window[inside], step[inside], None, asked
    )


def explain_rows(
    fitted: Fitted, model: Any, memory: Rows, plan: RowPlan, asked: Asked
) -> Explanation:
    """Explain the forecasts of given rows."""
    if len(plan.step) == 0:
        raise ValueError("explain: X has no row to explain.")
    if asked.horizons is not None:
        plan = _at_horizons(plan, asked)
    max_windows = asked.max_windows
    past = plan.step > fitted.horizon
    if past.any():
        raise ValueError(
            f"explain: {int(past.sum())} rows lie past the horizon of {fitted.horizon} steps; what "
            "is rolled forward rests on forecasts and cannot be explained. Leave them out."
        )
    windows, window, step = plan.windows, plan.window, plan.step
    if len(windows) > max_windows:
        chosen = np.linspace(0, len(windows) - 1, max_windows).round().astype(np.int64)
        warnings.warn(
            f"explain: {len(windows)} windows asked for, {max_windows} of them explained, evenly "
            "spaced. Pass max_windows= for more.",
            DataWarning,
            stacklevel=3,
        )
        place = np.full(len(windows), -1)
        place[chosen] = np.arange(max_windows)
        kept = place[window] >= 0
        windows, window, step = windows.take(chosen), place[window[kept]], step[kept]
        known = (plan.real[kept], plan.categorical[kept])
    else:
        known = (plan.real, plan.categorical)
    return _explain(fitted, model, memory, plan.panel, windows, window, step, known, asked)


def _at_horizons(plan: RowPlan, asked: Asked) -> RowPlan:
    """Return the rows at the steps asked for, and their windows."""
    kept = asked.keep(plan.step)
    if not kept.any():
        raise ValueError(
            f"horizons: no row of X is at the steps {list(asked.horizons or ())} ahead of its last "
            f"known target; they are at {sorted({int(step) for step in plan.step})}."
        )
    used, window = np.unique(plan.window[kept], return_inverse=True)
    return replace(
        plan,
        windows=plan.windows.take(used),
        window=window,
        step=plan.step[kept],
        real=plan.real[kept],
        categorical=plan.categorical[kept],
    )


def _explain(
    fitted: Fitted, model: Any, memory: Rows, panel: Panel, windows: WindowIndex,
    window: np.ndarray, step: np.ndarray, known: tuple[np.ndarray, np.ndarray] | None,
    asked: Asked,
) -> Explanation:  # fmt: skip
    batch = gather(panel, windows, context_length=fitted.context_length, horizon=fitted.horizon)
    if known is not None:
        for name, values in zip(("future_real", "future_categorical"), known):
            if name in batch:
                batch[name][window, step - 1] = values
    variables = _Variables.of(fitted, panel)
    variables.check_past(asked.lags_of)
    inputs, loc, scale = _scale(model, batch)
    outputs = run_in_chunks(model.network, inputs, return_attention=True)
    series = windows.series
    task = Task(
        fitted, model, panel, windows, batch, window, step,
        level_weights(fitted.levels, asked.quantile),
    )  # fmt: skip
    quantiles = outputs["quantiles"].astype(np.float64) * scale + loc
    entry = np.arange(len(window))
    times = _times(fitted, panel, windows)
    context = fitted.context_length
    branches = _branches(model.network, outputs, context, window, step)
    evidence = _Evidence.of(task, outputs, branches, quantiles, memory, asked)
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
        sensitivity_shares=_sensitivity(
            fitted, model.network, inputs, outputs, variables,
            most=len(windows) if "sensitivity" in asked.methods else _CHANGED_WINDOWS,
        ),
        median=task.in_user_units(entry, quantiles[window, step - 1, fitted.median]),
        lag_changes={
            name: _lag_change(fitted, model.network, inputs, outputs, variables, name, window, step)
            for name in asked.lags_of
        },
        quantile=asked.quantile,
        value=task.in_user_units(entry, quantiles[window, step - 1] @ task.weights),
        spread=(panel.unit[series] * scale[:, 0, 0])[window],
        cells=variables.cells,
        attributed=evidence.attributed,
        path_table=evidence.paths,
        trust_table=evidence.trust,
        regime_table=evidence.regimes,
        memory_use=evidence.memory,
        target=fitted.encoder.roles.target,
        target_values=_target_values(fitted, panel, windows, batch),
        levels=tuple(fitted.levels),
        quantiles=fitted.in_user_units(panel, series[window], quantiles[window, step - 1]),
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
            attributed = attribute(task, donors, asked.baselines, rng)
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


def _branches(
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


def _scale(model: Any, batch: dict[str, np.ndarray]) -> tuple[dict, np.ndarray, np.ndarray]:
    """Return the network's own inputs, and level and spread of each window."""
    past, loc, scale = model.scaled(batch)
    inputs = {key: value for key, value in batch.items() if key != "fallback_loc"}
    inputs["past_real"] = ops.convert_to_numpy(past)
    return inputs, ops.convert_to_numpy(loc), ops.convert_to_numpy(scale)


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


class _Variables:
    """Names and places of the network's variables in the user's terms."""

    def __init__(self, past: list, future: list, static: list, roles: dict, parts: dict) -> None:
        self.past, self.future, self.static = past, future, static
        self.roles = roles
        self.parts = parts

    @classmethod
    def of(cls, fitted: Fitted, panel: Panel) -> _Variables:
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


def _anchor(inputs: dict[str, np.ndarray]) -> np.ndarray:
    """Return (W, 1) the last known scaled target, to which the network's output is added."""
    target = inputs["past_real"][..., 0]
    known = np.isfinite(target)
    last = target.shape[1] - 1 - known[:, ::-1].argmax(axis=1)
    value = target[np.arange(len(target)), last]
    return np.where(known.any(axis=1), value, 0)[:, None]


def _median(fitted: Fitted, inputs: dict[str, np.ndarray], quantiles: np.ndarray) -> np.ndarray:
    """Return (W, H) the median forecast in units of each window."""
    return quantiles[:, :, fitted.median] + _anchor(inputs)


def _sensitivity(
    fitted: Fitted, network: Any, inputs: dict, outputs: dict, variables: _Variables, *, most: int
) -> dict[Any, float] | None:
    """Return each variable's share of the change when it is taken from another window.

    The donor is the window half the list away: another series or another season, never itself.
    At most ``most`` windows, evenly spaced, are changed.
    """
    size = len(inputs["past_real"])
    if size < 2:
        return None
    quantiles = outputs["quantiles"]
    if size > most:
        some = np.linspace(0, size - 1, most).round().astype(np.int64)
        inputs = {name: value[some] for name, value in inputs.items()}
        quantiles, size = quantiles[some], most
    donor = np.roll(np.arange(size), size // 2)
    base = _median(fitted, inputs, quantiles)
    change = {}
    names = list(variables.parts)
    per_pass = max(1, _CHANGED // size)
    for first in range(0, len(names), per_pass):
        some_names = names[first : first + per_pass]
        changed = {
            key: np.repeat(value[None], len(some_names), axis=0) for key, value in inputs.items()
        }
        for place, name in enumerate(some_names):
            for key, i in variables.parts[name]:
                changed[key][place, ..., i] = inputs[key][donor][..., i]
        changed = {key: value.reshape(-1, *value.shape[2:]) for key, value in changed.items()}
        moved = _median(fitted, changed, _quantiles(network, changed))
        moved = np.abs(moved.reshape(len(some_names), *base.shape) - base)
        change |= dict(zip(some_names, moved.mean(axis=(1, 2), dtype=np.float64).tolist()))
    total = sum(change.values()) or 1.0
    return {name: value / total for name, value in change.items()}


def _quantiles(network: Any, inputs: dict) -> np.ndarray:
    """Return (W, H, Q) by the function that is compiled already, with the attention."""
    found: np.ndarray = run_in_chunks(network, inputs, only="quantiles", return_attention=True)
    return found


def _lag_change(
    fitted: Fitted, network: Any, inputs: dict, outputs: dict, variables: _Variables, name: Any,
    window: np.ndarray, step: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """Return (T, H) mean absolute change over windows when one past value comes from a donor."""
    size, context = inputs["past_real"].shape[:2]
    asked = np.zeros((size, fitted.horizon), bool)
    asked[window, step - 1] = True
    count = asked.sum(axis=0)
    result = np.full((context, fitted.horizon), np.nan)
    if size < 2:
        return result
    donor = np.roll(np.arange(size), size // 2)
    base = _median(fitted, inputs, outputs["quantiles"])
    key, i = next(part for part in variables.parts[name] if part[0].startswith("past"))
    original = inputs[key]
    for past in range(context):
        values = original.copy()
        values[:, past, i] = original[donor, past, i]
        changed = {**inputs, key: values}
        moved = _median(fitted, changed, _quantiles(network, changed))
        change = np.where(asked, np.abs(moved - base), 0).sum(axis=0)
        result[past] = np.where(count > 0, change / np.maximum(count, 1), np.nan)
    return result
