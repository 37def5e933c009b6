"""From the user's frame to plain numbers: series codes, time steps, scaled reals, category codes.

Relies on NumPy and pandas. A `PanelEncoder` learns everything from training rows alone and then
reads any later frame (history, future, context) in the same terms.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.data.frames import as_frame, as_target, check_not_infinite, numbers
from tsfusion.data.roles import INDEX, Roles, missing_column
from tsfusion.data.timeline import RawTimes, Timeline, infer_timeline, raw_times

__all__ = ["PanelEncoder", "Rows"]


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

    def take(self, index: np.ndarray) -> Rows:
        """Return some of the rows (an index vector or a mask)."""
        return replace(
            self,
            series=self.series[index],
            ordinal=self.ordinal[index],
            target=self.target[index],
            real=self.real[index],
            categorical=self.categorical[index],
            weight=self.weight[index],
            row=self.row[index],
        )

    def sorted(self) -> Rows:
        """Return the rows in order of series and time; itself if they are so already."""
        step = np.diff(self.series)
        if np.all((step > 0) | ((step == 0) & (np.diff(self.ordinal) >= 0))):
            return self
        return self.take(np.lexsort((self.ordinal, self.series)))

    def only(self, series: np.ndarray) -> Rows:
        """Return the rows of some series (codes), with codes and labels renumbered."""
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

    def upsert(self, newer: Rows) -> Rows:
        """Return these rows with newer ones added; the newer wins at the same series and time.

        ``newer`` must have been renumbered by ``newer.with_labels(self)``.
        """
        joined = Rows(
            labels=newer.labels,
            static_real=newer.static_real,
            static_categorical=newer.static_categorical,
            **{
                name: np.concatenate([getattr(self, name), getattr(newer, name)])
                for name in ("series", "ordinal", "target", "real", "categorical", "weight", "row")
            },
        ).sorted()
        later = (np.diff(joined.series) == 0) & (np.diff(joined.ordinal) == 0)
        return joined.take(np.append(~later, True)) if later.any() else joined


class PanelEncoder:
    """Learns how to read a panel, and reads it.

    Parameters
    ----------
    roles : Roles
        Which column plays which part.
    freq : str, number or None, default=None
        The frequency; None infers it.

    Attributes
    ----------
    timeline : Timeline
        The time axis.
    vocabularies : dict
        Category column -> Index of the categories seen in training (code i + 1).
    location, scale : dict
        Real column -> mean and standard deviation over the training rows.
    boundary : int, float or None
        The first step of the validation tail; rows from there on taught the encoder nothing.
    """

    def __init__(self, roles: Roles, freq: Any = None) -> None:
        self.roles = roles
        self.freq = freq
        self.timeline: Timeline
        self.boundary: Any = None
        self.vocabularies: dict[Any, pd.Index] = {}
        self.location: dict[Any, float] = {}
        self.scale: dict[Any, float] = {}

    @property
    def _named(self) -> list[Any]:
        roles = self.roles
        return [*roles.series, roles.time, *roles.known, *roles.observed, *roles.static]

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
        frame = as_frame(X)
        target = self._target(frame, y, X)
        labels, codes = self._series(frame)
        raw = self._times(frame)
        order = np.lexsort((raw.values, codes))
        self.timeline = infer_timeline(
            _take_raw(raw, order), codes[order], self.roles.time_label, self.freq
        )
        ordinal = self.timeline.ordinals(raw, self.roles.time_label)
        self._check_unique(codes[order], ordinal[order], order, labels, frame)
        self.boundary = _tail_start(ordinal, codes, validation_size, horizon)
        train = np.ones(len(codes), bool) if self.boundary is None else ordinal < self.boundary
        self._learn(frame, train)
        rows = self._encode(frame, labels, codes, ordinal, target, need=("known", "observed"))
        static_real, static_categorical = self._statics(frame, codes, len(labels), labels)
        rows = replace(rows, static_real=static_real, static_categorical=static_categorical)
        return rows.sorted()

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
        frame = as_frame(X, self._named)
        roles = self.roles
        needed = roles.known + (roles.observed if with_target else ())
        for role in ("known", "observed") if with_target else ("known",):
            for name in getattr(roles, role):
                if name not in frame.columns:
                    raise self._absent(name, role, kind, frame)
        target = self._target(frame, y, X) if with_target else np.full(len(frame), np.nan)
        labels, codes = self._series(frame, kind)
        raw = self._times(frame, kind, first)
        ordinal = self.timeline.ordinals(raw, roles.time_label)
        order = np.lexsort((ordinal, codes))
        if with_target:
            self._check_unique(codes[order], ordinal[order], order, labels, frame)
        rows = self._encode(frame, labels, codes, ordinal, target, need=needed)
        known = memory.labels.get_indexer(labels)
        real, categorical = self._read_statics(
            frame, codes, labels, known, memory, kind, with_target
        )
        rows = replace(rows, static_real=real, static_categorical=categorical)
        return rows.with_labels(memory)

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
                    f"{kind}: expected a MultiIndex with the levels {[*names, 'time']} as in fit."
                )
            columns = [frame.index.get_level_values(i) for i in range(len(names))]
        else:
            for name in names:
                if name not in frame.columns:
                    raise missing_column(name, f"{kind} (series)", frame.columns)
            columns = [frame[name] for name in names]
        for name, column in zip(names, columns):
            missing = np.asarray(pd.isna(column))
            if missing.any():
                raise ValueError(
                    f"Series column {name!r}: expected a label in every row, row "
                    f"{int(missing.argmax())} has none ({int(missing.sum())} in all)."
                )
        if len(names) == 1:
            values = columns[0]
            if isinstance(values.dtype, pd.CategoricalDtype):
                values = values.astype(values.dtype.categories.dtype)
            try:
                codes, labels = pd.factorize(values, sort=True)
            except TypeError:
                codes, labels = pd.factorize(values)
            return pd.Index(labels, name=names[0]), codes.astype(np.int64)
        index = pd.MultiIndex.from_arrays([pd.Index(column) for column in columns], names=names)
        codes, labels = pd.factorize(index, sort=True)
        return pd.MultiIndex.from_tuples(list(labels), names=names), codes.astype(np.int64)

    def _times(self, frame: pd.DataFrame, kind: str = "X", first: int = 0) -> RawTimes:
        roles = self.roles
        if roles.time is None:
            _check_row_order(frame, kind)
            return RawTimes(np.arange(first, first + len(frame), dtype=np.int64), False)
        if roles.time == INDEX and INDEX not in frame.columns:
            index = frame.index
            level = index.get_level_values(-1) if isinstance(index, pd.MultiIndex) else index
            return raw_times(level, roles.time_label)
        if roles.time not in frame.columns:
            raise missing_column(roles.time, f"{kind} (time)", frame.columns)
        return raw_times(frame[roles.time], roles.time)

    def _check_unique(
        self, codes: np.ndarray, ordinal: np.ndarray, order: np.ndarray, labels: pd.Index,
        frame: pd.DataFrame,
    ) -> None:  # fmt: skip
        twice = (np.diff(codes) == 0) & (np.diff(ordinal) == 0)
        if not twice.any():
            return
        at = int(twice.argmax())
        time = self.timeline.times(ordinal[at : at + 1])[0]
        rows = sorted((int(order[at]), int(order[at + 1])))
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

    def _learn(self, frame: pd.DataFrame, train: np.ndarray) -> None:
        """Learn vocabularies and scalers from the training rows."""
        roles = self.roles
        for name in roles.known_categorical + roles.observed_categorical + roles.static_categorical:
            values = frame[name][train].astype(object).dropna().unique()
            try:
                values = sorted(values)
            except TypeError:
                values = list(values)
            self.vocabularies[name] = pd.Index(values, dtype=object)
        for role in ("known", "observed", "static"):
            for name in getattr(roles, f"{role}_real"):
                values = self._real(frame, name, role)[train]
                known = values[np.isfinite(values)]
                mean = float(known.mean()) if len(known) else 0.0
                spread = float(known.std()) if len(known) else 0.0
                self.location[name] = mean
                self.scale[name] = spread if spread > 1e-12 * max(abs(mean), 1e-300) else 1.0

    def _real(self, frame: pd.DataFrame, name: Any, role: str) -> np.ndarray:
        values = numbers(frame[name], name, role)
        check_not_infinite(values, name, role)
        if role != "observed":
            missing = np.isnan(values)
            if missing.any():
                raise ValueError(
                    f"{role.capitalize()} column {name!r}: Input contains NaN at row "
                    f"{int(missing.argmax())} ({int(missing.sum())} rows in all); {role} values "
                    "must be given for every row. Fill them, or declare the column as observed."
                )
        return values

    def _codes(self, frame: pd.DataFrame, name: Any, role: str) -> np.ndarray:
        values = frame[name]
        missing = values.isna().to_numpy()
        if role != "observed" and missing.any():
            raise ValueError(
                f"{role.capitalize()} column {name!r}: Input contains NaN (no category) at row "
                f"{int(missing.argmax())} ({int(missing.sum())} rows in all). Fill it, for "
                "instance with 'missing'."
            )
        if pd.api.types.is_numeric_dtype(values.dtype) and len(self.vocabularies[name]):
            first = self.vocabularies[name][0]
            if isinstance(first, str):
                raise TypeError(
                    f"{role.capitalize()} column {name!r}: expected categories such as {first!r} "
                    f"as in fit, received {values.dtype}. Convert it: .astype(str)."
                )
        unique_codes, unique = pd.factorize(values.astype(object))
        position = self.vocabularies[name].get_indexer(pd.Index(unique, dtype=object)) + 1
        return np.where(unique_codes < 0, 0, np.append(position, 0)[unique_codes]).astype(np.int32)

    def _scaled(self, frame: pd.DataFrame, name: Any, role: str) -> np.ndarray:
        values = self._real(frame, name, role)
        return ((values - self.location[name]) / self.scale[name]).astype(np.float32)

    def _encode(
        self, frame: pd.DataFrame, labels: pd.Index, codes: np.ndarray, ordinal: np.ndarray,
        target: np.ndarray, need: tuple,
    ) -> Rows:  # fmt: skip
        roles = self.roles
        n = len(frame)
        wanted = {"known": True, "observed": "observed" in need or set(roles.observed) <= set(need)}
        real = np.full((n, len(roles.observed_real) + len(roles.known_real)), np.nan, np.float32)
        categorical = np.zeros(
            (n, len(roles.observed_categorical) + len(roles.known_categorical)), np.int32
        )
        columns = [("observed", name) for name in roles.observed_real]
        columns += [("known", name) for name in roles.known_real]
        for i, (role, name) in enumerate(columns):
            if wanted[role]:
                real[:, i] = self._scaled(frame, name, role)
        columns = [("observed", name) for name in roles.observed_categorical]
        columns += [("known", name) for name in roles.known_categorical]
        for i, (role, name) in enumerate(columns):
            if wanted[role]:
                categorical[:, i] = self._codes(frame, name, role)
        return Rows(
            labels=labels,
            series=codes,
            ordinal=ordinal,
            target=target,
            real=real,
            categorical=categorical,
            weight=self._weights(frame),
            static_real=np.zeros((len(labels), 0), np.float32),
            static_categorical=np.zeros((len(labels), 0), np.int32),
            row=np.arange(n),
        )

    def _weights(self, frame: pd.DataFrame) -> np.ndarray:
        name = self.roles.weight
        if name is None or name not in frame.columns:
            return np.ones(len(frame), np.float32)
        values = numbers(frame[name], name, "weight")
        bad = ~(np.isfinite(values) & (values >= 0))
        if bad.any():
            row = int(bad.argmax())
            raise ValueError(
                f"Weight column {name!r}: expected numbers >= 0, row {row} holds {values[row]}."
            )
        return values.astype(np.float32)

    def _statics(
        self, frame: pd.DataFrame, codes: np.ndarray, n_series: int, labels: pd.Index
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return one row of static values per series; raise where they vary within one."""
        roles = self.roles
        first = np.zeros(n_series, np.int64)
        first[codes[::-1]] = np.arange(len(codes))[::-1]
        parts: list[list[np.ndarray]] = [[], []]
        for i, names in enumerate((roles.static_real, roles.static_categorical)):
            for name in names:
                if i == 0:
                    values: np.ndarray = self._scaled(frame, name, "static")
                else:
                    values = self._codes(frame, name, "static")
                raw = frame[name]
                shown = pd.factorize(raw)[0]
                differs = shown != shown[first][codes]
                if differs.any():
                    row = int(differs.argmax())
                    raise ValueError(
                        f"Static column {name!r} varies within series {labels[codes[row]]!r}: "
                        f"{raw.iloc[int(first[codes[row]])]!r} and then {raw.iloc[row]!r} at row "
                        f"{row}. Declare it as known or observed."
                    )
                parts[i].append(values[first])
        real = np.stack(parts[0], 1) if parts[0] else np.zeros((n_series, 0), np.float32)
        codes_ = np.stack(parts[1], 1) if parts[1] else np.zeros((n_series, 0), np.int32)
        return real, codes_

    def _read_statics(
        self, frame: pd.DataFrame, codes: np.ndarray, labels: pd.Index, known: np.ndarray,
        memory: Rows, kind: str, with_target: bool,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """Return statics per label of the frame, remembered where the frame has none."""
        roles = self.roles
        absent = [name for name in roles.static if name not in frame.columns]
        unseen = np.flatnonzero(known < 0)
        if absent and len(unseen):
            if with_target:
                raise ValueError(
                    f"{kind}: expected the static column {absent[0]!r} for the unseen series "
                    f"{labels[unseen[0]]!r}, which is not there."
                )
            empty_real = np.zeros((len(labels), len(roles.static_real)), np.float32)
            empty = np.zeros((len(labels), len(roles.static_categorical)), np.int32)
            return empty_real, empty
        if absent:
            return memory.static_real[known], memory.static_categorical[known]
        real, categorical = self._statics(frame, codes, len(labels), labels)
        seen = np.flatnonzero(known >= 0)
        off_real = ~np.isclose(real[seen], memory.static_real[known[seen]], atol=1e-5)
        off_categorical = categorical[seen] != memory.static_categorical[known[seen]]
        for off, names in (
            (off_real, roles.static_real),
            (off_categorical, roles.static_categorical),
        ):
            if off.any():
                at, column = np.argwhere(off)[0]
                raise ValueError(
                    f"{kind}: static column {names[column]!r} of series {labels[seen[at]]!r} differs "
                    "from the value remembered from fit. A static value cannot change: declare the "
                    "column as known."
                )
        return real, categorical


def _take_raw(raw: RawTimes, order: np.ndarray) -> RawTimes:
    wall = None if raw.wall is None else raw.wall[order]
    return replace(raw, values=raw.values[order], wall=wall)


def _check_row_order(frame: pd.DataFrame, kind: str) -> None:
    """Without a time column the row order is the time: refuse rows that were shuffled."""
    index = frame.index
    if pd.api.types.is_integer_dtype(index.dtype) and not index.is_monotonic_increasing:
        row = int(np.argmax(np.diff(index.to_numpy()) < 0)) + 1
        raise ValueError(
            f"{kind} has no time column, so its row order is the time, but its index goes "
            f"backwards at row {row}: the rows look shuffled. Pass time= with the time column, sort "
            "the rows (sort_index), or reset_index(drop=True) if the order is right."
        )


def _tail_start(
    ordinal: np.ndarray, codes: np.ndarray, validation_size: float, horizon: int
) -> Any:
    """Return the first time of the validation tail, or None where there is too little to share."""
    if not validation_size or len(ordinal) == 0:
        return None
    times = np.unique(ordinal)
    tail = max(horizon, round(validation_size * len(times)))
    if len(times) - tail < max(2 * horizon, 4):
        return None
    boundary = times[len(times) - tail]
    return boundary.item()
