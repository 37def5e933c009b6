"""What an exported graph takes and gives: its inputs by name and shape, its columns and codes.

Relies on what was learned about the data alone; knows nothing of TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.prediction import Fitted

__all__ = ["METADATA_VERSION", "Column", "Contract", "minute_width"]

METADATA_VERSION = 1


@dataclass(frozen=True)
class Column:
    """A column of an input block.

    Attributes
    ----------
    name : str
    source : {"column", "time_features", "holidays"}
        Whether it is a column of the user's, or what a function of time or the holidays gave.
    location, scale : float
        What a number goes through inside the graph.
    categories : tuple or None
        The category of each code from 1 on; None for numbers.
    """

    name: Any
    source: str = "column"
    location: float = 0.0
    scale: float = 1.0
    categories: tuple[Any, ...] | None = None

    def described(self) -> dict[str, Any]:
        """Return it fit for JSON."""
        found: dict[str, Any] = {"name": _plain(self.name), "source": self.source}
        if self.categories is not None:
            found["categories"] = [_plain(value) for value in self.categories]
        return found


@dataclass(frozen=True)
class Contract:
    """The inputs and outputs of the graph of a fitted forecaster.

    Attributes
    ----------
    fitted : Fitted
    quantiles : tuple of float
        The levels that the graph gives.
    observed, known, static : tuple of Column
        Numbers first, then categories; of the known, those of a calendar made by holidays or
        functions of time come last.
    """

    fitted: Fitted
    quantiles: tuple[float, ...]
    observed: tuple[Column, ...]
    known: tuple[Column, ...]
    static: tuple[Column, ...]

    @classmethod
    def of(cls, fitted: Fitted, quantiles: Sequence[float]) -> Contract:
        """Read the contract off what was learned."""
        roles = fitted.encoder.roles
        return cls(
            fitted,
            tuple(quantiles),
            _columns(fitted, roles.observed_real, roles.observed_categorical),
            (*_columns(fitted, roles.known_real, roles.known_categorical), *_made(fitted)),
            _columns(fitted, roles.static_real, roles.static_categorical),
        )

    @property
    def n_calendar(self) -> tuple[int, int]:
        """How many numbers and categories the graph makes of the times itself."""
        calendar = self.fitted.calendar
        made = [column for column in self.known if column.source != "column"]
        made_reals = sum(column.categories is None for column in made)
        return len(calendar.real_names) - made_reals, len(calendar.seen)

    @property
    def clock(self) -> bool:
        """Whether the graph takes times."""
        return any(self.n_calendar)

    @property
    def series(self) -> pd.Index:
        """The training series; the place of one plus 1 is its code.

        One that was constant in training has no spread of its own, but its transform.
        """
        units = self.fitted.units
        if units.scaler is None or units.scaler.by != "series":
            return units.unit.index
        return units.unit.index.append(
            units.scaler.labels_.difference(units.unit.index, sort=False)
        )

    def block(self, role: str, *, real: bool) -> tuple[Column, ...]:
        """Return the columns of an input: ``role`` is past, future or static."""
        columns = {
            "past": (*self.observed, *self.known), "future": self.known, "static": self.static
        }[role]  # fmt: skip
        return tuple(column for column in columns if (column.categories is None) == real)

    def inputs(self) -> dict[str, tuple[tuple[int | None, ...], str]]:
        """Return shape (None is the batch) and dtype of each input, in the order of the graph."""
        past, future = self.fitted.context_length, self.fitted.horizon
        found: dict[str, tuple[tuple[int | None, ...], str]] = {}
        if self.fitted.encoder.roles.series:
            found["series"] = (None,), "int32"
        found["past_target"] = (None, past), "float64"
        for role, steps in (("past", (past,)), ("future", (future,)), ("static", ())):
            if self.clock and steps:
                found[f"{role}_time"] = (None, *steps), "int64"
            for kind, dtype in (("real", "float64"), ("categorical", "int32")):
                width = len(self.block(role, real=kind == "real"))
                if width:
                    found[f"{role}_{kind}"] = (None, *steps, width), dtype
        return found

    def described(self) -> dict[str, Any]:
        """Return the metadata that goes with the graph, fit for JSON."""
        from tsfusion import __version__

        fitted, timeline = self.fitted, self.fitted.encoder.timeline
        steps = fitted.horizon
        columns = {
            f"{role}_{kind}": [
                column.described() for column in self.block(role, real=kind == "real")
            ]
            for role in ("past", "future", "static")
            for kind in ("real", "categorical")
        }
        inputs = {
            name: {"shape": list(shape), "dtype": dtype, "columns": columns.get(name)}
            for name, (shape, dtype) in self.inputs().items()
        }
        return {
            "kind": "tsfusion graph",
            "metadata_version": METADATA_VERSION,
            "tsfusion": __version__,
            "inputs": {
                name: {key: value for key, value in given.items() if value is not None}
                for name, given in inputs.items()
            },
            "outputs": {
                "quantiles": {"shape": [None, steps, len(self.quantiles)], "dtype": "float64"},
                "mean": {"shape": [None, steps], "dtype": "float64"},
            },
            "target": _plain(fitted.encoder.roles.target),
            "levels": list(self.quantiles),
            "horizon": steps,
            "context_length": fitted.context_length,
            "series": {
                "columns": [_plain(name) for name in fitted.encoder.roles.series],
                "labels": [_plain(label) for label in self.series],
            },
            "time": {
                "column": _plain(fitted.encoder.roles.time_label),
                "freq": _plain(timeline.freq),
                "clock": "seconds since 1970-01-01 on the local clock" if self.clock else None,
                "tz": None if timeline.tz is None else str(timeline.tz),
            },
        }


def _columns(fitted: Fitted, real: Sequence[Any], categorical: Sequence[Any]) -> tuple[Column, ...]:
    encoder = fitted.encoder
    numbers = [Column(n, location=encoder.location[n], scale=encoder.scale[n]) for n in real]
    codes = [Column(n, categories=tuple(encoder.vocabularies[n])) for n in categorical]
    return (*numbers, *codes)


def _made(fitted: Fitted) -> list[Column]:
    """Return what the graph cannot make of times: functions of the user's, and holidays."""
    calendar = fitted.calendar
    found = [
        Column(
            one.name,
            "time_features",
            one.location,
            one.scale,
            None if one.vocabulary is None else tuple(one.vocabulary),
        )
        for one in calendar.functions
    ]
    holidays = calendar.holidays
    if holidays is not None:
        named = ("none", *holidays.vocabulary)
        found += [
            Column(name, "holidays", holidays.location, holidays.scale)
            for name in holidays.real_names
        ]
        found += [Column(name, "holidays", categories=named) for name in holidays.names]
    return found


def minute_width(fitted: Fitted) -> int:
    """Return how many minutes share a code of the calendar, by the number of its codes."""
    calendar = fitted.calendar
    if "minute_of_hour" not in calendar.names:
        return 1
    return 60 // len(calendar.seen[calendar.names.index("minute_of_hour")])


def _plain(value: Any) -> Any:
    """Return a value fit for JSON: itself, or its text."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, tuple):
        return [_plain(part) for part in value]
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float) and math.isfinite(value):
        return value
    return str(value)
