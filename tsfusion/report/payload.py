"""What a report shows, as plain values fit for JSON; relies on pandas.

Windows share what they can: the times and targets of a series are there once, and attention is
kept as whole ten-thousandths.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.explain.explanation import Explanation

__all__ = ["Windows", "records"]

# Cells of attention in one file, of some three bytes each, and windows of which all else is shown.
_MOST_CELLS, _MOST_WINDOWS = 260_000, 400


@dataclass(frozen=True)
class Windows:
    """The windows of one or two explanations, by series.

    Attributes
    ----------
    kind : {"utc", "number"}
        What the times are: milliseconds of the clock that they show, or plain numbers.
    values : dict
        ``series``, ``windows`` and ``branches``.
    n_series, n_windows : int
        How many there are in all.
    left_out : list of str
        What the file has no room for, in sentences.
    """

    kind: str
    values: dict[str, Any]
    n_series: int
    n_windows: int
    left_out: list[str]

    @classmethod
    def of(cls, parts: list[Explanation], max_series: int, levels: list[int]) -> Windows:
        """Take the windows of the first ``max_series`` series, with some of the quantiles."""
        # By label: two series may have the same text.
        labels = [list(part.series_labels) for part in parts]
        names = list(dict.fromkeys(label for listed in labels for label in listed))
        shown = names[:max_series]
        numbers = {label: i for i, label in enumerate(shown)}
        number = [[numbers.get(label, -1) for label in listed] for listed in labels]
        chosen, n_windows = _newest(parts, number, len(shown))
        attended = _with_attention(parts, chosen, number)
        texts = [_text(label, parts[0]) for label in shown]
        series, places = _series(parts, chosen, number, texts)
        shares = [part.window_shares() for part in parts]
        windows = [
            _window(parts[p], w, shares[p], levels)
            | {"series": number[p][w], "at": _runs(places[p, w]), "new": p > 0}
            | ({"attention": _attention(parts[p], w)} if (p, w) in attended else {})
            for p, w in chosen
        ]
        left_out = []
        if len(shown) < len(names):
            left_out.append(f"{len(shown)} of {len(names)} series are shown (max_series=).")
        if len(chosen) < n_windows:
            left_out.append(f"{len(chosen)} of their {n_windows} windows are shown, the newest.")
        if len(attended) < len(chosen):
            left_out.append(
                f"The attention of the {len(attended)} newest windows is kept, that of the other "
                f"{len(chosen) - len(attended)} left out for the size of the file."
            )
        values = {
            "series": series,
            "windows": windows,
            "branches": _branches(parts),
            "variables": {
                name: [str(one) for one in table.columns]
                for tables in shares
                for name, table in tables.items()
            },
        }
        return cls(kind(parts[0].source_times), values, len(names), n_windows, left_out)


def kind(times: pd.Index) -> str:
    """Return ``"utc"`` for dates and times, ``"number"`` for anything else."""
    is_clock = isinstance(times, (pd.DatetimeIndex, pd.PeriodIndex))
    return "utc" if is_clock else "number"


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a table as dicts fit for JSON, numbers to six digits."""
    columns = {str(name): _plain(column) for name, column in table.items()}
    return [dict(zip(columns, row)) for row in zip(*columns.values())]


def _plain(column: Any) -> list[Any]:
    column = pd.Series(column)
    if pd.api.types.is_bool_dtype(column.dtype):
        return [bool(value) for value in column]
    if pd.api.types.is_numeric_dtype(column.dtype):
        return [None if value != value else float(f"{value:.6g}") for value in column.astype(float)]
    return [str(value) for value in column]


def _text(label: Any, part: Explanation) -> str:
    if not part.series_names:
        return ""
    return ", ".join(map(str, label)) if isinstance(label, tuple) else str(label)


def _newest(
    parts: list[Explanation], number: list[list[int]], n_series: int
) -> tuple[list[tuple[int, int]], int]:
    """Return (part, window) in order of series and time, and how many there would be.

    ``number`` is that of each window's series, -1 for one that is not shown.
    """
    most = max(1, _MOST_WINDOWS // n_series)
    table = pd.DataFrame(
        {
            "part": np.repeat(np.arange(len(parts)), [len(part.cutoffs) for part in parts]),
            "window": np.concatenate([np.arange(len(part.cutoffs)) for part in parts]),
            "series": np.concatenate(number),
            "cutoff": np.concatenate([_numbers(part.cutoffs) for part in parts]),
        }
    )
    table = table[table["series"] >= 0].sort_values(["series", "cutoff", "part"])
    kept = table.groupby("series").tail(most)
    return list(zip(kept["part"].tolist(), kept["window"].tolist())), len(table)


def _with_attention(
    parts: list[Explanation], chosen: list[tuple[int, int]], number: list[list[int]]
) -> set[tuple[int, int]]:
    """Return the windows whose attention the file has room for: every series' newest first."""
    cells = [
        np.bincount(part.window, minlength=len(part.cutoffs))
        * sum(branch.scores.shape[-1] for branch in part.branches)
        for part in parts
    ]
    age = pd.Series([number[p][w] for p, w in chosen])
    age = age.groupby(age).cumcount(ascending=False)
    order = [chosen[i] for i in np.argsort(age, kind="stable")]
    total = np.cumsum([cells[p][w] for p, w in order])
    return set(order[: max(1, int((total <= _MOST_CELLS).sum()))])


def _series(
    parts: list[Explanation], chosen: list[tuple[int, int]], number: list[list[int]],
    texts: list[str],
) -> tuple[list[dict[str, Any]], dict[tuple[int, int], np.ndarray]]:  # fmt: skip
    """Return times and targets of each series, and where in them the steps of a window are."""
    times = [_numbers(part.source_times) for part in parts]
    mine: list[list[tuple[int, int]]] = [[] for _ in texts]
    for p, w in chosen:
        mine[number[p][w]].append((p, w))
    series: list[dict[str, Any]] = []
    places: dict[tuple[int, int], np.ndarray] = {}
    for name, windows in zip(texts, mine):
        steps = [_steps(parts[p], times[p], w) for p, w in windows]
        values = [_steps(parts[p], parts[p].target_values, w) for p, w in windows]
        every, place = np.unique(np.concatenate(steps), return_inverse=True)
        y = np.full(len(every), np.nan)
        known = np.isfinite(np.concatenate(values))
        y[place[known]] = np.concatenate(values)[known]
        ends = np.cumsum([len(step) for step in steps])[:-1]
        places |= dict(zip(windows, np.split(place, ends)))
        series.append({"name": name, "time": every.tolist(), "y": _rounded(y)})
    return series, places


def _steps(part: Explanation, values: np.ndarray, window: int) -> np.ndarray:
    size = len(part.source_times) // len(part.cutoffs)
    return values[window * size : (window + 1) * size]


def _window(
    part: Explanation, window: int, shares: dict[str, pd.DataFrame], levels: list[int]
) -> dict[str, Any]:
    entry = np.flatnonzero(part.window == window)
    entry = entry[np.argsort(part.step[entry], kind="stable")]
    quantiles = part.quantiles if part.calibrated is None else part.calibrated
    found = {
        "cutoff": float(_numbers(part.cutoffs[[window]])[0]),
        "past": part.context_length,
        "step": part.step[entry].tolist(),
        "quantiles": [_rounded(row, part.spread[entry[0]]) for row in quantiles[entry][:, levels]],
        "shares": {name: _plain(table.iloc[window].round(4)) for name, table in shares.items()},
    }
    if part.regime_table is not None:
        row = part.regime_table.iloc[[window]]
        found["regime"] = [_plain(row[name])[0] for name in ("distance", "threshold", "unusual")]
    if part.memory_use is not None:
        use = part.memory_use
        near = use.nearest[window]
        found["slots"] = _plain(use.weights[window])
        found["nearest"] = [
            [_text(label, part), float(cutoff), alike]
            for label, cutoff, alike in zip(
                use.labels[near], _numbers(use.cutoffs[near]), _plain(use.similarity[window])
            )
        ]
    return found


def _runs(place: np.ndarray) -> Any:
    """Return the first place where each follows the last, all of them otherwise."""
    return int(place[0]) if (np.diff(place) == 1).all() else place.tolist()


def _attention(part: Explanation, window: int) -> dict[str, list[list[int]]]:
    entry = np.flatnonzero(part.window == window)
    entry = entry[np.argsort(part.step[entry], kind="stable")]
    return {
        branch.name: np.rint(1e4 * branch.scores[entry].mean(axis=1)).astype(int).tolist()
        for branch in part.branches
    }


def _branches(parts: list[Explanation]) -> list[dict[str, Any]]:
    return [
        {"name": branch.name, "first": branch.first.tolist(), "last": branch.last.tolist()}
        for branch in parts[0].branches
    ]


def _numbers(times: pd.Index) -> np.ndarray:
    """Return times as milliseconds of the clock that they show, or as the numbers that they are."""
    if isinstance(times, pd.PeriodIndex):
        times = times.to_timestamp()
    if isinstance(times, pd.DatetimeIndex):
        return times.tz_localize(None).as_unit("ms").asi8
    return np.asarray(times)


def _rounded(values: np.ndarray, spread: float | None = None) -> list[float | None]:
    """Return values to a hundred-thousandth of their spread."""
    values = np.asarray(values, dtype=float)
    known = values[np.isfinite(values)]
    spread = float(np.ptp(known)) if spread is None and len(known) else abs(spread or 0.0)
    size = spread or float(np.abs(known).max(initial=1.0)) or 1.0
    digits = 5 - int(np.floor(np.log10(size)))
    return [None if value != value else round(value, digits) for value in values.tolist()]
