"""What an explanation is asked for, and the windows it is about; relies on prediction and Keras."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Any

import numpy as np
import pandas as pd
from keras import ops

from tsfusion.data.encoder import Rows
from tsfusion.data.panel import Panel
from tsfusion.data.windows import WindowIndex, gather, training_windows
from tsfusion.exceptions import DataWarning
from tsfusion.explain.attribution import run_in_chunks
from tsfusion.prediction import Fitted, RowPlan

__all__ = [
    "METHODS", "NO_HISTORY", "NO_ROWS", "Asked", "HistoryBlock", "Part", "RowBlock", "Seen",
    "named_apart", "no_such_horizon", "no_such_row", "warn_of_thinning",
]  # fmt: skip

METHODS = (
    "attention", "selection", "sensitivity", "attribution", "paths", "regimes", "memory",
)  # fmt: skip
NO_ROWS = (
    "explain: X has no row to explain. Pass rows to forecast, or leave X out to explain windows of "
    "the known history."
)
NO_HISTORY = (
    "Nothing to explain: no series has a known target with another within the horizon after it. "
    "Pass X, or history in context=."
)


@dataclass(frozen=True)
class Asked:
    """What an explanation is to hold; made by `Asked.of`, which checks it.

    ``calibrated`` makes calibrated quantiles of those of the network (E, Q), in its units, given
    the series' labels and the steps ahead (E,).
    """

    horizon: int
    max_windows: int
    lags_of: list[Any]
    horizons: tuple[int, ...] | None
    quantile: float
    methods: tuple[str, ...]
    checks: str | None
    baselines: int
    seed: int
    xla: bool = True
    verbose: int = 0
    calibrated: Callable[[np.ndarray, pd.Index, np.ndarray], np.ndarray] | None = None

    @classmethod
    def of(
        cls, horizon: int, *, max_windows: Any, lags_of: Any, horizons: Any, quantile: Any,
        methods: Any, checks: Any, baselines: Any, random_state: Any, xla: bool = True,
        verbose: int = 0,
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
            horizon=horizon,
            max_windows=int(max_windows),
            lags_of=[] if lags_of is None else listed,
            horizons=_check_horizons(horizons, horizon),
            quantile=float(quantile),
            methods=methods,
            checks=checks,
            baselines=int(baselines),
            # A generator would move on, and the next explanation would be another.
            seed=int(random_state) if _is_int(random_state) else 0,
            xla=xla,
            verbose=verbose,
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


def named_apart(fitted: Fitted) -> Fitted:
    """Return it with other names for variables of the calendar whose names columns have.

    A column ``hour`` keeps its name, and that of the calendar becomes ``hour (calendar)``. The
    names stand in explanations alone: what the network is given does not change.
    """
    roles, calendar = fitted.encoder.roles, fitted.calendar
    columns = {roles.target, *roles.known, *roles.observed, *roles.static}
    own = (*calendar.names, *calendar.real_names)
    if columns.isdisjoint(own):
        return fitted
    taken = columns.union(own)

    def apart(name: str) -> str:
        if name not in columns:
            return name
        while name in taken:
            name = f"{name} (calendar)"
        return name

    names, reals = (tuple(map(apart, of)) for of in (calendar.names, calendar.real_names))
    return replace(fitted, calendar=replace(calendar, names=names, real_names=reals))


def no_such_horizon(asked: Asked) -> str:
    """Say that no series of the history is long enough."""
    return (
        f"horizons: no series of the known history has steps {list(asked.horizons or ())} ahead of "
        "a known target. Leave horizons out, or pass X."
    )


def no_such_row(asked: Asked, steps: np.ndarray) -> str:
    """Say that no row is at the steps asked for, but at others."""
    return (
        f"horizons: no row of X is at the steps {list(asked.horizons or ())} ahead of its last "
        f"known target; they are at {steps.tolist()}."
    )


def warn_of_thinning(count: int, asked: Asked) -> None:
    """Warn where fewer windows are explained than X asked for."""
    if count > asked.max_windows:
        warnings.warn(
            f"explain: {count} windows asked for, {asked.max_windows} of them explained, evenly "
            "spaced. Pass max_windows= for more.",
            DataWarning,
            stacklevel=4,
        )


@dataclass(frozen=True)
class Part:
    """Forecasts to explain: ``window`` and ``step`` (E,) of some windows of a panel.

    ``known`` are the values that the rows themselves have in the future inputs, if there are rows.
    """

    panel: Panel
    windows: WindowIndex
    window: np.ndarray
    step: np.ndarray
    known: tuple[np.ndarray, np.ndarray] | None = None


@dataclass(frozen=True)
class HistoryBlock:
    """All forecasts of some known history, each made at a known target.

    ``full`` (W,) tells which windows have their whole context.
    """

    fitted: Fitted
    panel: Panel
    windows: WindowIndex
    full: np.ndarray

    @classmethod
    def of(cls, fitted: Fitted, memory: Rows) -> HistoryBlock:
        """List them."""
        panel = fitted.panel(memory)
        windows = training_windows(
            panel, None, context_length=fitted.context_length, horizon=fitted.horizon
        )
        # A forecast counts its steps from the last known target, and is made when it is known.
        windows = windows.take(np.isfinite(panel.target[windows.origin - 1]))
        full = windows.origin - panel.offsets[windows.series] >= fitted.context_length
        return cls(fitted, panel, windows, full)

    def only_full(self) -> HistoryBlock:
        """Leave out windows with a part of their context."""
        return replace(self, windows=self.windows.take(self.full), full=self.full[self.full])

    def take(self, chosen: np.ndarray, asked: Asked) -> Part:
        """Return the steps asked for of the chosen windows, as far as the history goes."""
        horizon, windows = self.fitted.horizon, self.windows.take(chosen)
        window = np.repeat(np.arange(len(windows)), horizon)
        step = np.tile(np.arange(1, horizon + 1), len(windows))
        inside = windows.origin[window] + step - 1 < self.panel.offsets[windows.series[window] + 1]
        inside &= asked.keep(step)
        return Part(self.panel, windows, window[inside], step[inside])


@dataclass(frozen=True)
class RowBlock:
    """The windows of some planned rows, at the steps asked for."""

    plan: RowPlan

    @classmethod
    def of(cls, plan: RowPlan, asked: Asked) -> RowBlock:
        """Keep the rows asked for, or raise about rows past the horizon."""
        if asked.horizons is not None:
            kept = asked.keep(plan.step)
            used, window = np.unique(plan.window[kept], return_inverse=True)
            plan = replace(
                plan,
                windows=plan.windows.take(used),
                window=window,
                step=plan.step[kept],
                real=plan.real[kept],
                categorical=plan.categorical[kept],
            )
        horizon, past = asked.horizon, plan.step > asked.horizon
        if past.any():
            raise ValueError(
                f"explain: {int(past.sum())} rows lie past the horizon of {horizon} steps; what "
                "is rolled forward rests on forecasts and cannot be explained. Leave them out."
            )
        return cls(plan)

    @property
    def windows(self) -> WindowIndex:
        """W of them."""
        return self.plan.windows

    def take(self, chosen: np.ndarray, asked: Asked) -> Part:
        """Return the rows of the chosen windows."""
        plan = self.plan
        place = np.full(len(plan.windows), -1)
        place[chosen] = np.arange(len(chosen))
        window = place[plan.window]
        kept = window >= 0
        known = (plan.real[kept], plan.categorical[kept])
        return Part(plan.panel, plan.windows.take(chosen), window[kept], plan.step[kept], known)


@dataclass(frozen=True)
class Seen:
    """What the network was given for a part, and what it gave.

    ``batch`` is for the whole model, ``inputs`` for the network, with level ``loc`` and spread
    ``scale`` (W, 1, 1) taken off.
    """

    batch: dict[str, np.ndarray]
    inputs: dict[str, np.ndarray]
    loc: np.ndarray
    scale: np.ndarray
    outputs: dict[str, np.ndarray]

    @classmethod
    def of(cls, fitted: Fitted, model: Any, part: Part) -> Seen:
        """Run the network, with attention."""
        batch = gather(
            part.panel, part.windows, context_length=fitted.context_length, horizon=fitted.horizon
        )
        if part.known is not None:
            for name, values in zip(("future_real", "future_categorical"), part.known):
                if name in batch:
                    batch[name][part.window, part.step - 1] = values
        inputs, loc, scale = model.to_network(batch)
        inputs["past_real"] = ops.convert_to_numpy(inputs["past_real"])
        outputs = run_in_chunks(model.network, inputs, return_attention=True)
        return cls(batch, inputs, ops.convert_to_numpy(loc), ops.convert_to_numpy(scale), outputs)

    @property
    def quantiles(self) -> np.ndarray:
        """(W, H, Q) in network units."""
        found: np.ndarray = self.outputs["quantiles"].astype(np.float64) * self.scale + self.loc
        return found
