"""Rows with some values changed, in the units and period of the user; relies on pandas."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.encoder import PanelEncoder, Rows
from tsfusion.exceptions import ExplanationWarning
from tsfusion.prediction import known_end

__all__ = ["OWN_COLUMNS", "Change", "paired"]

# What the result has beside the series and the time.
OWN_COLUMNS = ("statistic", "forecast", "changed", "difference")


class Change:
    """Changes to known and observed values of some series in a period.

    Parameters
    ----------
    encoder : PanelEncoder
    changes : mapping
        Column -> new value, or a function of the present values (numeric columns). True and False
        are 1 and 0 to a column that is read as numbers.
    start, end : time or None
        The period, both ends included; None for open.
    series : label, list of labels or None
        Whose values; None for all.

    Raises
    ------
    ValueError
        If a column is neither known nor observed, or a value cannot be one of its values.
    """

    def __init__(
        self, encoder: PanelEncoder, changes: Any, *, start: Any, end: Any, series: Any
    ) -> None:
        roles = encoder.roles
        self.encoder = encoder
        self.reals = [*roles.observed_real, *roles.known_real]
        self.categories = [*roles.observed_categorical, *roles.known_categorical]
        self.observed = set(roles.observed)
        self.start, self.end, self.series = start, end, series
        if not isinstance(changes, Mapping) or not changes:
            raise ValueError(
                "changes: expected a dict of columns and their new values (or functions of the "
                f"present ones), received {changes!r}."
            )
        if not self.reals and not self.categories:
            raise ValueError(
                "what_if: this forecaster was fitted with no known and no observed columns, so "
                "there is nothing to change. Fit it with known= or observed=."
            )
        for name, value in changes.items():
            if name not in self.reals and name not in self.categories:
                raise ValueError(
                    f"changes: expected known or observed columns, of "
                    f"{[*self.reals, *self.categories]}, received {name!r}."
                )
            if name in self.categories and callable(value):
                raise ValueError(
                    f"changes: {name!r} holds categories; give it one category, not a function."
                )
            if name in self.reals and not callable(value) and not _is_number(value):
                raise ValueError(
                    f"changes: {name!r} holds numbers; expected a finite number or a function, "
                    f"received {value!r}."
                )
        self.changes = dict(changes)

    def check_reaches(self, *tables: Rows) -> None:
        """Raise if a column has no row to change in any of the tables."""
        for name in self.changes:
            if not any(self._meant(rows, name).any() for rows in tables):
                kind = "observed" if name in self.observed else "known"
                raise ValueError(
                    f"what_if: no row to change of the {kind} column {name!r} between "
                    f"{self.start} and {self.end}: expected a period that meets the steps forecast "
                    "or the history"
                    f"{' (an observed column ends with it)' if kind == 'observed' else ''}."
                )

    def applied(self, rows: Rows, memory: Rows) -> Rows:
        """Return the rows with the changes, after a warning of values not met in ``memory``."""
        real, categorical = rows.real.copy(), rows.categorical.copy()
        for name, value in self.changes.items():
            meant = self._meant(rows, name)
            if not meant.any():
                continue
            if name in self.categories:
                column = self.categories.index(name)
                categorical[meant, column] = self._code(name, value)
                continue
            column = self.reals.index(name)
            location, scale = self.encoder.location[name], self.encoder.scale[name]
            present = real[meant, column].astype(np.float64) * scale + location
            given = _called(name, value, present) if callable(value) else value
            wanted = _wanted(name, given, present)
            if not np.isfinite(wanted[np.isfinite(present)]).all():
                raise ValueError(f"changes: the function of {name!r} gave NaN or infinity.")
            self._warn_outside(name, wanted, memory, column)
            real[meant, column] = (wanted - location) / scale
        return replace(rows, real=real, categorical=categorical)

    def _meant(self, rows: Rows, name: Any) -> np.ndarray:
        """Return (R,) which rows a change of a column is about."""
        times = self.encoder.timeline.times(rows.ordinal)
        meant = np.ones(len(rows), bool)
        if self.start is not None:
            meant &= np.asarray(times >= _as_time(self.start, times, "start"))
        if self.end is not None:
            meant &= np.asarray(times <= _as_time(self.end, times, "end"))
        if self.series is not None:
            meant &= np.isin(rows.series, self._codes(rows.labels))
        if name in self.observed:
            # After its last known target, nothing is observed of a series.
            meant &= np.arange(len(rows)) <= known_end(rows)[rows.series]
        return meant

    def _codes(self, labels: pd.Index) -> np.ndarray:
        single = isinstance(self.series, (str, tuple)) or np.isscalar(self.series)
        wanted = [self.series] if single else list(self.series)
        codes = labels.get_indexer(wanted)
        if (codes < 0).any():
            missing = wanted[int((codes < 0).argmax())]
            raise ValueError(
                f"series: {missing!r} is not one of the known series, such as {labels[0]!r}."
            )
        return codes

    def _code(self, name: Any, value: Any) -> int:
        vocabulary = self.encoder.vocabularies[name]
        code = int(vocabulary.get_indexer(pd.Index([value], dtype=object))[0]) + 1
        if code == 0:
            warnings.warn(
                f"what_if: {value!r} of {name!r} was not met in training (categories such as "
                f"{list(vocabulary[:3])}): it counts as unknown.",
                ExplanationWarning,
                stacklevel=4,
            )
        return code

    def _warn_outside(self, name: Any, wanted: np.ndarray, memory: Rows, column: int) -> None:
        boundary = self.encoder.boundary
        met = memory.real[:, column]
        if boundary is not None and (memory.ordinal < boundary).any():
            met = met[memory.ordinal < boundary]
        met = met[np.isfinite(met)].astype(np.float64)
        if len(met) == 0:
            return
        location, scale = self.encoder.location[name], self.encoder.scale[name]
        low, high = met.min() * scale + location, met.max() * scale + location
        # Float32 on the way in and out.
        slack = 1e-6 * max(abs(low), abs(high), scale)
        outside = (wanted < low - slack) | (wanted > high + slack)
        if outside.any():
            warnings.warn(
                f"what_if: {name!r} of {wanted[outside][0]:g} lies outside of the training range "
                f"of {low:g} to {high:g} ({int(outside.sum())} values): what the network makes of "
                "it is a guess.",
                ExplanationWarning,
                stacklevel=4,
            )


def paired(
    keys: dict[Any, Any], names: list[str], before: np.ndarray, after: np.ndarray
) -> pd.DataFrame:
    """Return forecasts (R, K) with and without changes as a tidy frame, R * K rows.

    Columns: those of ``keys``, ``statistic``, ``forecast``, ``changed``, ``difference``.
    """
    table = pd.DataFrame(keys)
    table = table.loc[np.repeat(np.arange(len(table)), len(names))].reset_index(drop=True)
    table["statistic"] = np.tile(np.asarray(names, dtype=object), len(before))
    table["forecast"] = before.reshape(-1)
    table["changed"] = after.reshape(-1)
    table["difference"] = table["changed"] - table["forecast"]
    return table


def _called(name: Any, function: Any, present: np.ndarray) -> Any:
    """Return what a function makes of the present values, or tell what it was given."""
    try:
        return function(present)
    except Exception as error:
        raise ValueError(
            f"changes: the function of {name!r} failed with {type(error).__name__}: {error}. It "
            f"was given an array of {len(present)} float64 numbers such as {present[0]:g} (True "
            "and False are 1 and 0), and is to return as many."
        ) from error


def _wanted(name: Any, given: Any, present: np.ndarray) -> np.ndarray:
    """Return what a change gave as numbers, one for each present value."""
    try:
        wanted = np.asarray(given, dtype=np.float64)
        return np.broadcast_to(wanted, present.shape)
    except (TypeError, ValueError) as error:
        shown = f"shape {np.shape(given)}" if np.ndim(given) else repr(given)
        raise ValueError(
            f"changes: the function of {name!r} was given {len(present)} numbers; expected as many "
            f"back, or one, received {shown}."
        ) from error


def _as_time(value: Any, times: pd.Index, name: str) -> Any:
    try:
        return pd.Index([value]).astype(times.dtype)[0]
    except (ValueError, TypeError) as error:
        raise ValueError(
            f"{name}: expected a time such as {times[0]!r}, received {value!r}."
        ) from error


def _is_number(value: Any) -> bool:
    # True and False count too, as they do in the tables that fit reads.
    number = isinstance(value, (int, float, np.bool_, np.integer, np.floating))
    return number and bool(np.isfinite(value))
