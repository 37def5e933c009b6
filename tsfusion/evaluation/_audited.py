"""What an audit looks at: the estimator in its parts, the rows in time, and the rows held out.

Relies on scikit-learn, NumPy, pandas and `tsfusion.data`.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.pipeline import Pipeline

from tsfusion.data.encoder import PanelEncoder, Rows
from tsfusion.data.frames import as_frame, as_target, numbers
from tsfusion.data.roles import INDEX, Roles, is_categorical, resolve_roles
from tsfusion.learning import bounds_of
from tsfusion.prediction import UNBOUNDED

__all__ = ["Data", "HeldOut", "Subject", "fit_noted", "fresh", "plain", "replaced"]


@dataclass(frozen=True)
class Subject:
    """The estimator in its two parts: transformers (or None), and what predicts."""

    prep: Any
    model: Any
    is_forecaster: bool
    fitted: bool
    seed: int

    @classmethod
    def of(cls, estimator: Any, seed: int) -> Subject:
        # Only here: metrics are used without the estimator.
        from tsfusion.forecaster import FusionForecaster

        in_pipeline = isinstance(estimator, Pipeline)
        model = estimator.steps[-1][1] if in_pipeline else estimator
        if isinstance(model, type) or not (hasattr(model, "fit") and hasattr(model, "predict")):
            raise TypeError(
                "estimator: expected an object with fit and predict, or a Pipeline that ends in "
                f"one, received {model!r}."
            )
        prep = estimator[:-1] if in_pipeline and len(estimator) > 1 else None
        return cls(prep, model, isinstance(model, FusionForecaster), _is_fitted(model), seed)

    @property
    def horizon(self) -> int:
        return self.model.horizon if self.is_forecaster else 1

    def prepared(self, data: Data, rows: np.ndarray) -> tuple[Subject, Any]:
        """Return a copy whose transformers are fitted on some rows, and these as they make them."""
        frame = data.frame[rows]
        if self.prep is None:
            return self, frame
        prep = fresh(self.prep, self.seed)
        table = fit_noted(prep.fit_transform, frame, data.y_of(rows))
        return replace(self, prep=prep), table

    def fit(self, data: Data, rows: np.ndarray) -> Subject:
        """Return a copy fitted on some rows."""
        subject, table = self.prepared(data, rows)
        return subject.taught(fresh(self.model, self.seed), table, data.y_of(rows))

    def taught(self, model: Any, table: Any, y: pd.Series | None) -> Subject:
        """Return a copy with another model, fitted on transformed rows."""
        fit_noted(model.fit, table, y)
        return replace(self, model=model, fitted=True)

    def transform(self, frame: pd.DataFrame, steps: int | None = None) -> Any:
        """Return the rows as the model gets them, or as the first ``steps`` transformers do."""
        if self.prep is None:
            return frame
        table = (self.prep if steps is None else self.prep[:steps]).transform(frame)
        return _check_rows(table, len(frame), "the transformers")

    def history(self, frame: pd.DataFrame, y: pd.Series | None) -> pd.DataFrame:
        """Return rows as a `FusionForecaster`'s context: transformed, with the target."""
        table = as_frame(self.transform(frame))
        if y is None:
            return table
        table = table.copy()
        table[self.model._fitted.encoder.roles.target] = y.to_numpy()
        return table

    def predict(self, table: Any, **context: Any) -> pd.DataFrame:
        """Return what is predicted for rows that are transformed already."""
        if self.is_forecaster:
            context["quantiles"] = list(self.model.levels_)
        values = np.asarray(self.model.predict(table, **context), np.float64)
        return pd.DataFrame(_check_rows(values, _length(table), "predict"))


def _is_fitted(model: Any) -> bool:
    if hasattr(model, "__sklearn_is_fitted__"):
        return bool(model.__sklearn_is_fitted__())
    return any(name.endswith("_") and not name.startswith("_") for name in vars(model))


def fresh(estimator: Any, seed: int) -> Any:
    """Return an unfitted copy whose open seeds are set, so that two fits are one."""
    if not hasattr(estimator, "get_params"):
        return copy.deepcopy(estimator)
    twin = clone(estimator)
    seeds = [
        name
        for name, value in twin.get_params().items()
        if name.rsplit("__", 1)[-1] == "random_state" and value is None
    ]
    return twin.set_params(**dict.fromkeys(seeds, seed))


def fit_noted(method: Callable[..., Any], table: Any, y: pd.Series | None) -> Any:
    try:
        return method(table) if y is None else method(table, y)
    except Exception as error:
        call = f"{method.__name__}({'X' if y is None else 'X, y'})"
        error.add_note(f"audit_leakage called {call} with {_length(table)} rows.")
        raise


def _length(table: Any) -> int:
    return table.shape[0] if hasattr(table, "shape") else len(table)


def _check_rows(table: Any, expected: int, who: str) -> Any:
    if _length(table) != expected:
        raise ValueError(
            f"Expected one answer per row: {who} returned {_length(table)} for {expected} rows."
        )
    return table


@dataclass(frozen=True)
class Data:
    """The rows to audit; arrays are in the order of the frame unless they say otherwise."""

    frame: pd.DataFrame
    y: pd.Series | None
    roles: Roles
    encoder: PanelEncoder
    rows: Rows
    """Sorted by series and time; series and target only."""
    series: np.ndarray
    step: np.ndarray
    """(R,) step of each row; where every row is a step, the rank of its time."""
    steps: np.ndarray
    """The distinct steps in order."""
    times: pd.Index
    """Their times."""
    bounds: tuple[float, float] = UNBOUNDED
    """What the forecaster takes as a target."""

    @classmethod
    def read(cls, subject: Subject, df: Any, y: Any, given: dict[str, Any], freq: Any) -> Data:
        names = [given["time"], given["target"]]
        for name in ("series", "known", "observed", "static"):
            listed = given[name]
            names += listed if isinstance(listed, list) else [listed]
        frame = as_frame(df, names)
        if subject.is_forecaster:
            given = _own_roles(subject, frame, given)
            freq = subject.model.freq if freq is None else freq
        roles = resolve_roles(
            frame, **given, y_name=getattr(y, "name", None), y_given=y is not None
        )
        if y is not None:
            y = pd.Series(as_target(y, frame, df), frame.index, name=roles.target)
        # What the columns hold is judged here, not refused by the encoder.
        encoder = PanelEncoder(_keys_only(roles), freq)
        rows = encoder.fit(frame, y, validation_size=0, horizon=1)
        series = np.empty(len(frame), np.int64)
        series[rows.row] = rows.series
        ordinal = np.empty(len(frame), rows.ordinal.dtype)
        ordinal[rows.row] = rows.ordinal
        distinct, rank = np.unique(ordinal, return_inverse=True)
        regular = encoder.timeline.is_regular
        return cls(
            frame=frame,
            y=y,
            roles=roles,
            encoder=encoder,
            rows=rows,
            series=series,
            step=ordinal if regular else rank,
            steps=distinct if regular else np.arange(len(distinct)),
            times=encoder.timeline.times(distinct),
            bounds=bounds_of(subject.model) if subject.is_forecaster else UNBOUNDED,
        )

    @property
    def regular(self) -> bool:
        return self.encoder.timeline.is_regular

    @property
    def unknown(self) -> list[Any]:
        """The columns that nobody knows after a cutoff."""
        return [self.roles.target, *self.roles.observed]

    def y_of(self, rows: np.ndarray) -> pd.Series | None:
        return None if self.y is None else self.y[rows]

    def label(self, series: int) -> Any:
        return plain(self.rows.labels[series]) if self.roles.series else None

    def place(self, time: Any) -> int:
        """Return the index of the last of `times` that is not after a time, or -1."""
        return int(self.times.searchsorted(time, side="right")) - 1

    def after(self, cutoff: int) -> np.ndarray:
        """Return (R,) how manieth row of its series after the cutoff each row is.

        0 up to the cutoff; -1 after it where the series has no known target up to it, or steps in
        between are not there.
        """
        rows, step = self.rows, self.step[self.rows.row]
        early = step <= cutoff
        place = np.arange(len(rows))
        last, known = np.full((2, len(rows.labels)), -1)
        last[rows.series[early]] = place[early]
        at = early & np.isfinite(rows.target)
        known[rows.series[at]] = place[at]
        here = known[rows.series]
        reached = here >= 0
        if self.regular:
            reached &= step - step[here] == place - here
        result = np.empty(len(rows), np.int64)
        result[rows.row] = np.where(early, 0, np.where(reached, place - last[rows.series], -1))
        return result

    def perturbed(
        self, columns: list[Any], late: np.ndarray, seed: int
    ) -> tuple[pd.DataFrame, pd.Series | None]:
        """Return the frame and y with other values in the late rows of some columns."""
        frame, y = self.frame.copy(), self.y
        rng = np.random.default_rng(seed)
        for name in columns:
            if name in frame.columns:
                wild = name not in self.roles.known
                bounds = self.bounds if name == self.roles.target else UNBOUNDED
                frame[name] = replaced(frame[name], late, rng, wild=wild, bounds=bounds)
            if name == self.roles.target and y is not None:
                y = replaced(y, late, rng, bounds=self.bounds)
        return frame, y


def plain(label: Any) -> Any:
    """Return Python's own number, whose repr does not name a type."""
    return label.item() if isinstance(label, np.generic) else label


def _own_roles(subject: Subject, frame: pd.DataFrame, given: dict[str, Any]) -> dict[str, Any]:
    """Return the parts of df's columns, as the forecaster names them unless they are given."""
    own = {role: getattr(subject.model, role) for role in (*given, "weight")}
    if subject.prep is not None:
        own = {role: _before_transformers(value, frame) for role, value in own.items()}
        own["known"] = None
    return own | {role: value for role, value in given.items() if value is not None}


def _before_transformers(value: Any, frame: pd.DataFrame) -> Any:
    """Return names of columns as they are in df: without the prefix of a transformer.

    Of a list, columns that only the transformers make are left out.
    """
    if isinstance(value, (list, tuple)):
        named = [_before_transformers(name, frame) for name in value]
        return [name for name in named if name in frame.columns]
    if not isinstance(value, str) or value in frame.columns or value == INDEX.value:
        return value
    bare = value.split("__", 1)[-1]
    return bare if bare in frame.columns else value


def _keys_only(roles: Roles) -> Roles:
    return replace(
        roles,
        weight=None,
        known_real=(),
        known_categorical=(),
        observed_real=(),
        observed_categorical=(),
        static_real=(),
        static_categorical=(),
    )


def replaced(
    column: pd.Series, late: np.ndarray, rng: np.random.Generator, *, wild: bool = True,
    unseen: bool = False, bounds: tuple[float, float] = UNBOUNDED,
) -> pd.Series:  # fmt: skip
    """Return a column with other values in its late rows, of the same type.

    Floats become far larger than any of them (never negative where none was), or lie anywhere
    between bounds that this would leave; other values, or all if not ``wild``, are drawn from the
    column's own. With ``unseen``, categories become a new one.
    """
    if unseen and is_categorical(column):
        return column.astype(object).where(~late, "another")
    if wild and pd.api.types.is_float_dtype(column.dtype):
        values = numbers(column, column.name, "perturbed")
        size = np.nanmax(np.abs(values), initial=0) or 1.0
        other = size * rng.uniform(10, 1000, len(column))
        if np.nanmin(values, initial=0) < 0:
            other *= rng.choice([-1, 1], len(column))
        outside = (other < bounds[0]) | (other > bounds[1])
        if outside.any():
            low, high = (
                end if math.isfinite(end) else rest for end, rest in zip(bounds, (-size, size))
            )
            other[outside] = rng.uniform(low, high, int(outside.sum()))
        return column.where(~late, pd.Series(other, column.index).astype(column.dtype))
    other = column.iloc[rng.integers(0, len(column), len(column))].set_axis(column.index)
    return column.where(~late, other)


@dataclass(frozen=True)
class HeldOut:
    """The test rows, with codes that count the training rows' series first."""

    frame: pd.DataFrame
    rows: Rows
    times: pd.Index

    @classmethod
    def read(cls, data: Data, test: Any) -> HeldOut:
        frame = as_frame(test)
        rows = data.encoder.read(
            frame, kind="test", memory=data.rows, with_target=False, first=len(data.rows)
        )
        return cls(frame, rows, data.encoder.timeline.times(rows.ordinal))
