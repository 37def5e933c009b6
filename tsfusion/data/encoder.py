"""From the user's frame to plain numbers: series codes, time steps, scaled reals, category codes.

Relies on NumPy and pandas. A `PanelEncoder` learns everything from training rows alone and then
reads any later frame (history, future, context) in the same terms.
"""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.frames import as_frame, as_target, check_not_infinite, numbers
from tsfusion.data.outliers import warn_of_far_values
from tsfusion.data.roles import INDEX, Roles, missing_column
from tsfusion.data.timeline import (
    RawTimes,
    Timeline,
    distinct,
    infer_timeline,
    raw_times,
    warn_of_coarser_series,
)
from tsfusion.exceptions import DataWarning

__all__ = ["PanelEncoder", "Rows", "differing_types"]

_MOST_WEIGHT = 1e30
_BY_ROW = ("series", "ordinal", "target", "real", "categorical", "weight", "row")


@dataclass(frozen=True)
class Rows:
    """Encoded rows, one entry for each row of a frame, in any order.

    Attributes
    ----------
    labels : Index of length S
        The series.
    series : ndarray of int64, shape (R,)
        Codes into ``labels``.
    ordinal : ndarray, shape (R,)
        Step numbers (or raw times where every row is one step).
    target : ndarray of float64, shape (R,)
        In the user's units; NaN where unknown.
    real : ndarray of float32, shape (R, K)
        Observed reals, then known reals, standardised.
    categorical : ndarray of int32, shape (R, C)
        Observed categories, then known ones; 0 is unseen or missing.
    weight : ndarray of float32, shape (R,)
        Row weights.
    static_real, static_categorical : ndarray, shape (S, .)
        One row per series.
    row : ndarray of int64, shape (R,)
        The row of the user's frame.
    """

    labels: pd.Index
    series: np.ndarray
    ordinal: np.ndarray
    target: np.ndarray
    real: np.ndarray
    categorical: np.ndarray
    weight: np.ndarray
    static_real: np.ndarray
    static_categorical: np.ndarray
    row: np.ndarray

    def __len__(self) -> int:
        return len(self.series)

    def counts(self, size: int | None = None) -> np.ndarray:
        """Return (S,) the number of rows of each series, S at least ``size``."""
        return np.bincount(self.series, minlength=size or len(self.labels))

    def take(self, index: np.ndarray) -> Rows:
        """Return some of the rows (an index vector or a mask)."""
        if index.dtype == bool:
            if index.all():
                return replace(self)
            index = np.flatnonzero(index)
        return replace(self, **{name: getattr(self, name).take(index, axis=0) for name in _BY_ROW})

    def sorted(self) -> Rows:
        """Return the rows in order of series and time; itself if they are so already."""
        order = _order(self.series, self.ordinal)
        return self if order is None else self.take(order)

    def of_series(self, series: np.ndarray) -> Rows:
        """Return the rows of some series (sorted codes) of sorted rows, the labels as they are.

        Costs what it returns, not what there is.
        """
        bounds = np.searchsorted(self.series, [series, series + 1])
        length = bounds[1] - bounds[0]
        if length.sum() == len(self):
            return self
        first = np.repeat(bounds[0] - np.cumsum(length) + length, length)
        return self.take(first + np.arange(len(first)))

    def only(self, series: np.ndarray) -> Rows:
        """Return the rows of some series (codes), with codes and labels renumbered."""
        if np.array_equal(series, np.arange(len(self.labels))):
            return replace(self)
        position = np.full(len(self.labels), -1, np.int64)
        position[series] = np.arange(len(series))
        kept = self.take(position[self.series] >= 0)
        return replace(
            kept,
            labels=self.labels[series],
            series=position[kept.series],
            static_real=self.static_real[series],
            static_categorical=self.static_categorical[series],
        )

    def with_labels(self, other: Rows) -> Rows:
        """Return these rows with codes that count first other's labels, then new ones of theirs."""
        position = other.labels.get_indexer(self.labels)
        new = np.flatnonzero(position < 0)
        position[new] = len(other.labels) + np.arange(len(new))
        labels = other.labels.append(self.labels[new]) if len(new) else other.labels
        return replace(
            self,
            labels=labels,
            series=position[self.series],
            static_real=np.concatenate([other.static_real, self.static_real[new]]),
            static_categorical=np.concatenate(
                [other.static_categorical, self.static_categorical[new]]
            ),
        )

    def upsert(self, newer: Rows, *, ties: bool = False, kept: np.ndarray | None = None) -> Rows:
        """Return these rows with newer ones added; the newer win at the same series and time.

        ``newer`` must have been renumbered by ``newer.with_labels(self)``. Of newer rows at one
        time the last stays, or with ``ties`` each. Of these rows those at the indices ``kept``
        count, by default all.
        """
        kept = np.arange(len(self)) if kept is None else kept
        old = len(kept)
        series = np.concatenate([self.series[kept], newer.series])
        ordinal = np.concatenate([self.ordinal[kept], newer.ordinal])
        is_new = np.arange(len(series)) >= old
        source = np.concatenate([kept, np.zeros(len(newer), np.int64)])
        order = _order(series, ordinal)
        place = np.arange(old, len(series))
        if order is not None:
            is_new, source = is_new[order], source[order]
            back = np.empty_like(order)
            back[order] = np.arange(len(order))
            place = back[old:]

        def merged(name: str) -> np.ndarray:
            own, other = getattr(self, name), getattr(newer, name)
            # In the place of new rows stands any, until they are written over it.
            result = own.take(source, axis=0).astype(np.result_type(own, other), copy=False)
            result[place] = other
            return result

        joined = newer
        if old:
            joined = replace(newer, **{name: merged(name) for name in _BY_ROW})
        elif order is not None:
            joined = newer.take(order)
        again = (np.diff(joined.series) == 0) & (np.diff(joined.ordinal) == 0)
        if not again.any():
            return joined
        place = np.append(0, np.cumsum(~again))
        # Within a time the newer rows come last.
        last = np.append(~again, True)
        kept = np.where(is_new, last | ties, ~is_new[last][place])
        return joined.take(kept)


class PanelEncoder:
    """Learns how to read a panel, and reads it.

    Parameters
    ----------
    roles : Roles
        Which column plays which part.
    freq : str, number or None, default=None
        The frequency; None infers it.
    scaler : {"standard", "robust"} or None, default="standard"
        What numeric columns are scaled by: mean and standard deviation, or median and
        interquartile range (the standard deviation where that is 0); None leaves them as they are.
    max_categories : int or None, default=None
        The most categories of a column that get a code of their own: those with the most training
        rows, ties in sort order. The others share the code of unseen ones. None for no limit.

    Attributes
    ----------
    timeline : Timeline
        The time axis.
    vocabularies : dict
        Category column -> Index of the categories seen in training (code i + 1).
    location, scale : dict
        Real column -> what is taken off and divided by, learned from the training rows.
    boundary : int, float or None
        The first step of the validation tail; rows from there on taught the encoder nothing.
    """

    def __init__(
        self,
        roles: Roles,
        freq: Any = None,
        *,
        scaler: str | None = "standard",
        max_categories: int | None = None,
    ) -> None:
        self.roles = roles
        self.freq = freq
        self.scaler = scaler
        self.max_categories = max_categories
        self.timeline: Timeline
        self.boundary: Any = None
        self.vocabularies: dict[Any, pd.Index] = {}
        self.location: dict[Any, float] = {}
        self.scale: dict[Any, float] = {}

    @property
    def _named(self) -> list[Any]:
        roles = self.roles
        return [*roles.series, roles.time, *roles.known, *roles.observed, *roles.static]

    @property
    def columns(self) -> set[Any]:
        """The columns of a frame that are read; the others have no role."""
        return {*self._named, self.roles.target, self.roles.weight}

    def fit(self, X: Any, y: Any, *, validation_size: float, horizon: int) -> Rows:
        """Learn from training rows and return all rows, sorted by series and time.

        Parameters
        ----------
        X : DataFrame
            The training frame.
        y : array-like or None
            The target; None takes the target column.
        validation_size : float
            The share of the time span kept from the encoders, for early stopping.
        horizon : int
            The least length of that tail, in steps.

        Returns
        -------
        Rows
        """
        frame = as_frame(X, columns=self.columns)
        target = self._target(frame, y, X)
        labels, codes = self._series(frame)
        raw = self._times(frame)
        order = _order(codes, raw.values)
        if order is None:
            order = np.arange(len(codes))
            sorted_codes, sorted_raw = codes, raw
        else:
            sorted_codes, sorted_raw = codes[order], _take_raw(raw, order)
        self.timeline = infer_timeline(
            sorted_raw, sorted_codes, self.roles.time_label, self.freq, order, labels
        )
        ordinal = self.timeline.ordinals(sorted_raw, self.roles.time_label, order)
        self._check_unique(sorted_codes, ordinal, order, labels, frame)
        if self.freq is None:
            warn_of_coarser_series(self.timeline, ordinal, sorted_codes, labels)
        self.boundary = _tail_start(ordinal, validation_size, horizon)
        train = np.ones(len(codes), bool)
        if self.boundary is not None:
            train[order] = ordinal < self.boundary
        static_real, static_categorical = self._statics(frame, codes, len(labels), labels, train)
        weight = self._weights(frame)
        place = None if sorted_codes is codes else order
        # Before the columns take their memory.
        del raw, sorted_raw, codes
        if place is not None:
            target, weight = target.take(place), weight.take(place)
        real, categorical = self._columns(frame, with_observed=True, train=train, order=place)
        return Rows(
            labels=labels,
            series=sorted_codes,
            ordinal=ordinal,
            target=target,
            real=real,
            categorical=categorical,
            weight=weight,
            static_real=static_real,
            static_categorical=static_categorical,
            row=order,
        )

    def read(
        self, X: Any, y: Any = None, *, kind: str, memory: Rows, with_target: bool, first: int = 0
    ) -> Rows:
        """Read a frame that comes after fit.

        Parameters
        ----------
        X : DataFrame
            Rows to forecast (``with_target=False``) or new history.
        y : array-like or None
            The target of new history; None takes the target column.
        kind : str
            What the frame is to the user, for messages: ``"X"``, ``"future"``, ``"context"``.
        memory : Rows
            The known history: labels are numbered after it, static values come from it.
        with_target : bool
            Whether the frame brings history (target and observed columns) or asks for forecasts.
        first : int, default=0
            The step number of the first row where there is no time column.

        Returns
        -------
        Rows
            In the order of the frame; codes count memory's labels first.
        """
        frame = as_frame(X, self._named, self.columns)
        roles = self.roles
        for role in ("known", "observed") if with_target else ("known",):
            for name in getattr(roles, role):
                if name not in frame.columns:
                    raise self._absent(name, role, kind, frame)
        target = self._target(frame, y, X) if with_target else np.full(len(frame), np.nan)
        labels, codes = self._series(frame, kind)
        raw = self._times(frame, kind, first)
        ordinal = self.timeline.ordinals(raw, roles.time_label)
        # Rows to predict may repeat; a future, like a history, has each step once.
        if with_target or kind == "future":
            order = _order(codes, ordinal)
            if order is None:
                order = np.arange(len(codes))
            self._check_unique(
                codes[order], ordinal[order], order, labels, frame, history=with_target
            )
        real, categorical = self._columns(frame, with_observed=with_target)
        static_real, static_categorical = self._read_statics(
            frame, codes, labels, memory, kind, with_target
        )
        rows = Rows(
            labels=labels,
            series=codes,
            ordinal=ordinal,
            target=target,
            real=real,
            categorical=categorical,
            weight=self._weights(frame) if with_target else np.ones(len(frame), np.float32),
            static_real=static_real,
            static_categorical=static_categorical,
            row=np.arange(len(frame)),
        )
        return rows.with_labels(memory)

    def read_training(
        self, X: Any, y: Any, *, validation_size: float, horizon: int, memory: Rows
    ) -> tuple[PanelEncoder, Rows]:
        """Read rows to train on once more, with what was learned before.

        Returns
        -------
        tuple of PanelEncoder and Rows
            The encoder with the boundary of the new validation tail; the rows, sorted, of the
            frame's series alone. Static values that the frame lacks come from ``memory``.
        """
        rows = self.read(X, y, kind="X", memory=memory, with_target=True).sorted()
        encoder = copy.copy(self)
        encoder.boundary = _tail_start(rows.ordinal, validation_size, horizon)
        return encoder, rows.only(np.unique(rows.series))

    def __deepcopy__(self, memo: dict) -> PanelEncoder:
        return copy.copy(self)

    def _absent(self, name: Any, role: str, kind: str, frame: pd.DataFrame) -> ValueError:
        base = missing_column(name, kind, frame.columns)
        return ValueError(
            f"{kind}: expected the {role} column {name!r}, which is not there"
            f"{' (its values are needed for every step to forecast)' if role == 'known' else ''}. "
            + str(base).split("not there.", 1)[1].strip()
        )

    def _target(self, frame: pd.DataFrame, y: Any, X: Any) -> np.ndarray:
        if y is not None:
            return as_target(y, frame, X)
        name = self.roles.target
        if name not in frame.columns:
            raise ValueError(
                f"No target: expected y, or the target column {name!r} in X. requires y to be "
                "passed, but the target y is None."
            )
        values = numbers(frame[name], name, "target")
        check_not_infinite(values, name, "target")
        return values

    def _series(self, frame: pd.DataFrame, kind: str = "X") -> tuple[pd.Index, np.ndarray]:
        """Return the labels and each row's code."""
        names = self.roles.series
        if not names:
            return pd.Index([0]), np.zeros(len(frame), np.int64)
        if self.roles.series_in_index:
            if not isinstance(frame.index, pd.MultiIndex) or frame.index.nlevels != len(names) + 1:
                raise ValueError(
                    f"{kind}: expected a MultiIndex with the levels "
                    f"{[*names, self.roles.time_label]} as in fit."
                )
            columns = [frame.index.get_level_values(i) for i in range(len(names))]
        else:
            for name in names:
                if name not in frame.columns:
                    raise missing_column(name, f"{kind} (series)", frame.columns)
            columns = [frame[name] for name in names]
        parts = [_labelled(column, name) for name, column in zip(names, columns)]
        if len(parts) == 1:
            return pd.Index(parts[0][1], name=names[0]), parts[0][0]
        # Row by row as tuples, the same took twenty times as long.
        key = np.zeros(len(frame), np.int64)
        for codes, labels in parts:
            key = key * len(labels) + codes
        used = distinct(key)
        levels, rest = [], used
        for _, labels in reversed(parts):
            rest, code = np.divmod(rest, max(len(labels), 1))
            levels.append(labels[code])
        index = pd.MultiIndex.from_arrays(levels[::-1], names=names)
        return index, np.searchsorted(used, key)

    def _times(self, frame: pd.DataFrame, kind: str = "X", first: int = 0) -> RawTimes:
        roles = self.roles
        if roles.time is None:
            _check_row_order(frame, kind)
            return RawTimes(np.arange(first, first + len(frame), dtype=np.int64), False)
        if roles.time is INDEX:
            index = frame.index
            level = index.get_level_values(-1) if isinstance(index, pd.MultiIndex) else index
            return raw_times(level, roles.time_label)
        if roles.time not in frame.columns:
            raise missing_column(roles.time, f"{kind} (time)", frame.columns)
        return raw_times(frame[roles.time], roles.time)

    def _check_unique(
        self, codes: np.ndarray, ordinal: np.ndarray, order: np.ndarray, labels: pd.Index,
        frame: pd.DataFrame, history: bool = True,
    ) -> None:  # fmt: skip
        twice = (np.diff(codes) == 0) & (np.diff(ordinal) == 0)
        if not twice.any():
            return
        at = int(twice.argmax())
        time = self.timeline.times(ordinal[at : at + 1])[0]
        rows = sorted((int(order[at]), int(order[at + 1])))
        if history and self.timeline.kind == "rows":
            warnings.warn(
                f"{int(twice.sum())} rows have the time of another, the first {time} (rows "
                f"{rows[0]} and {rows[1]}): with freq='rows' they are steps one after the other, "
                "in the order of the table.",
                DataWarning,
                stacklevel=5,
            )
            return
        if not self.roles.series:
            text = [
                name
                for name in frame.columns
                if not pd.api.types.is_numeric_dtype(frame[name].dtype) and name != self.roles.time
            ]
            hint = f" (perhaps {text[0]!r})" if text else ""
            raise ValueError(
                f"Time {time} occurs more than once (rows {rows[0]} and {rows[1]}, "
                f"{int(twice.sum())} repeats in all). If the frame holds several series, pass "
                f"series= with the column that tells them apart{hint}; if not, keep one row per "
                "time."
            )
        raise ValueError(
            f"Series {labels[codes[at]]!r} has more than one row at time {time} (rows {rows[0]} "
            f"and {rows[1]}, {int(twice.sum())} repeats in all). Keep one row per series and time: "
            "drop_duplicates, or aggregate."
        )

    def in_training(self, ordinal: np.ndarray) -> np.ndarray:
        """Return (R,) whether steps lie before the validation tail, if there is one."""
        if self.boundary is None:
            return np.ones(len(ordinal), bool)
        return ordinal < self.boundary

    def _learn_real(self, name: Any, values: np.ndarray) -> None:
        """Learn a scaler from the values of the training rows."""
        if self.scaler is None:
            self._set_scale(name, 0.0, 1.0)
            return
        known = values[np.isfinite(values)]
        warn_of_far_values(name, known)
        center = float(known.mean()) if len(known) else 0.0
        spread = float(known.std()) if len(known) else 0.0
        if self.scaler == "robust" and len(known):
            low, center, high = np.quantile(known, [0.25, 0.5, 0.75]).tolist()
            spread = high - low or spread
        self._set_scale(name, center, spread)

    def _set_scale(self, name: Any, center: float, spread: float) -> None:
        self.location[name] = center
        self.scale[name] = spread if spread > 1e-12 * max(abs(center), 1e-300) else 1.0

    def _learn_categories(self, name: Any, codes: np.ndarray, values: list[Any]) -> None:
        """Learn a vocabulary from the codes of the training rows."""
        count = np.bincount(codes[codes >= 0], minlength=len(values))
        self._learn_vocabulary(name, {v: n for v, n in zip(values, count.tolist()) if n})

    def _learn_vocabulary(self, name: Any, rows: dict[Any, int]) -> None:
        """Learn a vocabulary from the training rows of each category."""
        kept = list(rows)
        with contextlib.suppress(TypeError):
            kept = sorted(kept)
        if (number := _usual_number(kept)) is not None:
            warnings.warn(
                f"Column {name!r} is read as {len(kept)} categories, most of them numbers with "
                f"decimals, such as {number!r}. If it is a quantity, make numbers of it first, "
                "with pd.to_numeric (and .str.replace(',', '.') before, if need be).",
                DataWarning,
                stacklevel=2,
            )
        most = self.max_categories
        if most is not None and len(kept) > most:
            by_rows = sorted(kept, key=lambda value: -rows[value])
            dropped = set(by_rows[most:])
            kept = [value for value in kept if value not in dropped]
            warnings.warn(
                f"Column {name!r} has {len(rows)} categories in training: the {most} most frequent "
                f"keep a code of their own, the other {len(dropped)} "
                f"({sum(rows[value] for value in dropped)} of {sum(rows.values())} rows) count as "
                "unseen. Pass max_categories= for more, or group the rare ones.",
                DataWarning,
                stacklevel=2,
            )
        self.vocabularies[name] = pd.Index(kept, dtype=object)

    def _real(self, frame: pd.DataFrame, name: Any, role: str) -> np.ndarray:
        values = numbers(frame[name], name, role)
        check_not_infinite(values, name, role)
        if role != "observed":
            missing = np.isnan(values)
            if missing.any():
                other = "" if role == "static" else ", or declare the column as observed"
                raise ValueError(
                    f"{role.capitalize()} column {name!r}: Input contains NaN at row "
                    f"{int(missing.argmax())} ({int(missing.sum())} rows in all); {role} values "
                    f"must be given for every row. Fill them{other}."
                )
        return values

    def _categories(self, frame: pd.DataFrame, name: Any, role: str) -> tuple[np.ndarray, list]:
        """Return each row's code (-1 where there is no category) and what the codes stand for."""
        try:
            codes, unique = pd.factorize(frame[name])
        except TypeError as error:
            raise TypeError(
                f"{role.capitalize()} column {name!r}: expected categories, received values that "
                f"cannot be compared ({error})."
            ) from error
        missing = codes < 0
        if role != "observed" and missing.any():
            raise ValueError(
                f"{role.capitalize()} column {name!r}: Input contains NaN (no category) at row "
                f"{int(missing.argmax())} ({int(missing.sum())} rows in all). Fill it, for "
                "instance with 'missing'."
            )
        return codes, list(pd.Index(unique).astype(object))

    def _known_codes(
        self, frame: pd.DataFrame, name: Any, role: str, codes: np.ndarray, values: list
    ) -> np.ndarray:
        """Return codes into the vocabulary, 0 for what it does not hold."""
        vocabulary = self.vocabularies[name]
        position = vocabulary.get_indexer(pd.Index(values, dtype=object)) + 1
        if len(values) and len(vocabulary) and not position.any():
            of_type = isinstance(vocabulary[0], str), isinstance(values[0], str)
            if of_type[0] != of_type[1]:
                raise TypeError(
                    f"{role.capitalize()} column {name!r}: expected categories such as "
                    f"{vocabulary[0]!r} as in fit, received {frame[name].dtype} such as "
                    f"{values[0]!r}. Convert it with .astype."
                )
        return np.append(position, 0)[codes].astype(np.int32)

    def _columns(
        self, frame: pd.DataFrame, *, with_observed: bool, train: np.ndarray | None = None,
        order: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Return (R, K) reals and (R, C) categories: observed, then known; learn where to train.

        One column at a time is put in ``order``, so that no table is held twice.
        """
        roles, n = self.roles, len(frame)
        reals = [("observed", name) for name in roles.observed_real]
        reals += [("known", name) for name in roles.known_real]
        real = np.full((n, len(reals)), np.nan, np.float32)
        for i, (role, name) in enumerate(reals):
            if role == "known" or with_observed:
                scaled = self._scaled(frame, name, role, train).astype(np.float32)
                real[:, i] = scaled if order is None else scaled.take(order)
        names = [("observed", name) for name in roles.observed_categorical]
        names += [("known", name) for name in roles.known_categorical]
        categorical = np.zeros((n, len(names)), np.int32)
        for i, (role, name) in enumerate(names):
            if role == "known" or with_observed:
                codes, values = self._categories(frame, name, role)
                if train is not None:
                    self._learn_categories(name, codes[train], values)
                codes = self._known_codes(frame, name, role, codes, values)
                categorical[:, i] = codes if order is None else codes.take(order)
        return real, categorical

    def _scaled(
        self, frame: pd.DataFrame, name: Any, role: str, train: np.ndarray | None = None
    ) -> np.ndarray:
        values = self._real(frame, name, role)
        if train is not None:
            self._learn_real(name, values[train])
        scaled = values - self.location[name]
        scaled /= self.scale[name]
        return scaled

    def _weights(self, frame: pd.DataFrame) -> np.ndarray:
        name = self.roles.weight
        if name is None or name not in frame.columns:
            return np.ones(len(frame), np.float32)
        values = numbers(frame[name], name, "weight")
        # Float32, of which sums over a batch have to stay finite.
        good = (values == 0) | ((values >= 1 / _MOST_WEIGHT) & (values <= _MOST_WEIGHT))
        if not good.all():
            row = int(good.argmin())
            raise ValueError(
                f"Weight column {name!r}: expected numbers >= 0, row {row} holds {values[row]}. "
                f"Those above 0 range from {1 / _MOST_WEIGHT:g} to {_MOST_WEIGHT:g}."
            )
        return values.astype(np.float32)

    def _statics(
        self, frame: pd.DataFrame, codes: np.ndarray, n_series: int, labels: pd.Index,
        train: np.ndarray | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Return one row of static values per series, 0 where the frame has none.

        Raises where they vary within a series.
        """
        roles = self.roles
        first = np.zeros(n_series, np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        real = np.zeros((n_series, len(roles.static_real)), np.float32)
        for i, name in enumerate(roles.static_real):
            if name not in frame.columns:
                continue
            given = self._real(frame, name, "static")
            self._check_constant(frame[name], given, codes, first, labels)
            if train is not None:
                self._learn_real(name, given[train])
            real[:, i] = (given[first] - self.location[name]) / self.scale[name]
        categorical = np.zeros((n_series, len(roles.static_categorical)), np.int32)
        for i, name in enumerate(roles.static_categorical):
            if name not in frame.columns:
                continue
            shown, values = self._categories(frame, name, "static")
            self._check_constant(frame[name], shown, codes, first, labels)
            if train is not None:
                self._learn_categories(name, shown[train], values)
            categorical[:, i] = self._known_codes(frame, name, "static", shown, values)[first]
        return real, categorical

    def _check_constant(
        self, column: pd.Series, values: np.ndarray, codes: np.ndarray, first: np.ndarray,
        labels: pd.Index,
    ) -> None:  # fmt: skip
        differs = values != values[first][codes]
        if not differs.any():
            return
        row = int(differs.argmax())
        # As Python's own numbers, whose repr does not name a type.
        before, now = column.iloc[[int(first[codes[row]]), row]].tolist()
        raise ValueError(
            f"Static column {column.name!r} varies within series {labels[codes[row]]!r}: "
            f"{before!r} and then {now!r} at row {row}. Declare it as known or observed."
        )

    def _read_statics(
        self, frame: pd.DataFrame, codes: np.ndarray, labels: pd.Index, memory: Rows, kind: str,
        with_target: bool,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Return statics per label of the frame; where it has none, memory's stand."""
        roles = self.roles
        known = memory.labels.get_indexer(labels)
        absent = [name for name in roles.static if name not in frame.columns]
        unseen = np.flatnonzero(known < 0)
        if absent and with_target and len(unseen):
            twins = differing_types(labels[unseen[:1]], memory.labels)
            raise ValueError(
                f"{kind}: expected the static column {absent[0]!r} for the unseen series "
                f"{labels[unseen[0]]!r}{''.join(twins.values())}, which is not there."
            )
        real, categorical = self._statics(frame, codes, len(labels), labels)
        seen = np.flatnonzero(known >= 0)
        off_real = ~np.isclose(real[seen], memory.static_real[known[seen]], atol=1e-5)
        off_categorical = categorical[seen] != memory.static_categorical[known[seen]]
        for off, names in (
            (off_real, roles.static_real),
            (off_categorical, roles.static_categorical),
        ):
            off = off & np.array([name in frame.columns for name in names], bool)
            if off.any():
                at, column = np.argwhere(off)[0]
                raise ValueError(
                    f"{kind}: static column {names[column]!r} of series {labels[seen[at]]!r} "
                    "differs from the value remembered from fit. A static value cannot change: "
                    "declare the column as known."
                )
        return real, categorical


def differing_types(labels: Iterable[Any], known: Iterable[Any]) -> dict[Any, str]:
    """Say of labels, none of them known, which read like a known one but are of another type.

    Returns
    -------
    dict
        Label -> what to add to a message, such as ``" ('1' is not 1: the types differ)"``.

    Examples
    --------
    >>> differing_types(["1", "2"], [0, 1])
    {'1': " ('1' is not 1: the types differ)"}
    """
    by_text = {_as_text(label): label for label in labels}
    found = {}
    # Most often no label is new: then the known ones, which may be many, are not read.
    for one in known if by_text else ():
        label = by_text.get(_as_text(one))
        if label is not None and _types(label) != _types(one):
            found[label] = f" ({label!r} is not {one!r}: the types differ)"
    return found


def _as_text(label: Any) -> Any:
    return tuple(map(str, label)) if isinstance(label, tuple) else str(label)


def _types(label: Any) -> Any:
    return tuple(map(type, label)) if isinstance(label, tuple) else type(label)


def _order(series: np.ndarray, time: np.ndarray) -> np.ndarray | None:
    """Return the stable order by series and time, or None where rows are in it already."""
    step = np.diff(series)
    if np.all((step > 0) | ((step == 0) & (time[1:] >= time[:-1]))):
        return None
    codes, unique = pd.factorize(time)
    place = np.empty(len(unique), np.int64)
    place[np.argsort(unique)] = np.arange(len(unique))
    key = series * len(unique) + place[codes]
    n, slots = len(key), (int(series.max()) + 1) * len(unique)
    # A table with a slot for every series and time orders rows without comparing them, as long as
    # most slots are filled; two rows in one slot need the sort.
    if slots <= 4 * n + 1024:
        table = np.full(slots, -1, np.int64)
        table[key] = np.arange(n)
        order = table[table >= 0]
        if len(order) == n:
            return order
    return np.argsort(key, kind="stable")


def _labelled(column: pd.Series | pd.Index, name: Any) -> tuple[np.ndarray, pd.Index]:
    """Return each row's code and the labels in order."""
    codes, unique = pd.factorize(column)
    missing = codes < 0
    if missing.any():
        raise ValueError(
            f"Series column {name!r}: expected a label in every row, row "
            f"{int(missing.argmax())} has none ({int(missing.sum())} in all)."
        )
    labels = pd.Index(unique)
    if isinstance(labels, pd.CategoricalIndex):
        labels = labels.astype(labels.categories.dtype)
    try:
        order = np.argsort(labels)
    except TypeError:
        return codes.astype(np.int64), labels
    rank = np.empty(len(labels), np.int64)
    rank[order] = np.arange(len(labels))
    return rank[codes], labels[order]


def _usual_number(categories: list[Any]) -> Any:
    """Return the first number with decimals if most of at least ten categories are such."""
    some = [v.replace(",", ".") if isinstance(v, str) else v for v in categories[:1000]]
    values = pd.to_numeric(pd.Series(some, dtype=object), errors="coerce")
    decimals = (values.notna() & (values % 1 != 0)).to_numpy()
    usual = len(some) >= 10 and decimals.mean() > 0.5
    return categories[int(decimals.argmax())] if usual else None


def _take_raw(raw: RawTimes, order: np.ndarray) -> RawTimes:
    wall = None if raw.wall is None else raw.wall[order]
    return replace(raw, values=raw.values[order], wall=wall)


def _check_row_order(frame: pd.DataFrame, kind: str) -> None:
    """Without a time column the row order is the time: refuse rows that were shuffled."""
    index = frame.index
    if pd.api.types.is_integer_dtype(index.dtype) and not index.is_monotonic_increasing:
        row = int(np.argmax(index[1:] < index[:-1])) + 1
        raise ValueError(
            f"{kind} has no time column, so its row order is the time, but its index goes "
            f"backwards at row {row}: the rows look shuffled. Pass time= with the time column, "
            "sort the rows (sort_index), or reset_index(drop=True) if the order is right."
        )


def _tail_start(ordinal: np.ndarray, validation_size: float, horizon: int) -> Any:
    """Return the first time of the validation tail, or None where there is too little to share."""
    if not validation_size or len(ordinal) == 0:
        return None
    times = distinct(ordinal)
    tail = max(horizon, round(validation_size * len(times)))
    if len(times) - tail < max(2 * horizon, 4):
        return None
    boundary = times[len(times) - tail]
    return boundary.item()
