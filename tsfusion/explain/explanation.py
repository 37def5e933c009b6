"""The explanation of some forecasts as labelled, read-only tables; relies on pandas alone."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsfusion.explain.averages import Averages, group_of, group_sizes
from tsfusion.explain.verdicts import in_short
from tsfusion.quantiles import quantile_names

if TYPE_CHECKING:
    from tsfusion.explain.attribution import Attribution
    from tsfusion.explain.regimes import MemoryUse

__all__ = ["TABLES", "Branch", "Explanation", "own_columns"]

TABLES = (
    "forecast", "attention", "selection", "attribution", "paths", "regimes", "memory", "prototypes",
    "trust", "importance", "temporal_patterns", "lag_sensitivity", "history",
)  # fmt: skip
# What stands beside the series in tables that are always there, and in those of a method.
_OWN_COLUMNS = (
    "cutoff", "horizon", "target_time", "median", "branch", "head", "lag", "source_time",
    "source_width", "weight", "block", "variable", "time", "value",
)  # fmt: skip
_OWN_OF_METHOD = {
    "attribution": ("baseline",),
    "regimes": ("distance", "threshold", "unusual"),
    "memory": (
        "slot", "usual", "rank", "prototype_series", "prototype_cutoff", "similarity",
    ),
}  # fmt: skip


def own_columns(methods: Iterable[str], quantile: float) -> list[str]:
    """Return the columns that the tables of an explanation have beside those of the series."""
    of_methods = [name for method in methods for name in _OWN_OF_METHOD.get(method, ())]
    of_quantile = [] if quantile == 0.5 else quantile_names([quantile])
    return [*_OWN_COLUMNS, *of_quantile, *of_methods]


@dataclass(frozen=True)
class Branch:
    """One place where forecasts attend: all steps, the short window, or the long window's tokens.

    Attributes
    ----------
    name : str
        ``"all"``, ``"short"`` or ``"long"``.
    scores : ndarray of float32, shape (E, N, K)
        Attention of each head over the K sources; a row sums to 1, or to 0 where nothing is known.
    first, last : ndarray of int, shape (K,)
        The steps that a source covers, counted from the first step ahead (the cutoff is -1).
    """

    name: str
    scores: np.ndarray
    first: np.ndarray
    last: np.ndarray

    def __repr__(self) -> str:
        forecasts, heads, sources = self.scores.shape
        return f"Branch({self.name!r}, {forecasts} forecasts, {heads} heads, {sources} sources)"


@dataclass(frozen=True)
class Explanation(Averages):
    """What some forecasts looked at: attention over steps, weights of variables, sensitivities.

    Made by `tsfusion.FusionForecaster.explain`. Tables are built when first asked for, and each
    call gives a copy.

    Selection weights say through which variables the network let information pass; they are no
    measure of importance alone (in our trials they ranked a wrong variable first), so `importance`
    sets the sensitivity of the forecast beside them. Attention is not the only path either: the
    recurrent encoder carries the recent past, and every forecast starts from the last known target.

    Attributes
    ----------
    series_names : tuple
        The columns that tell series apart; empty for one series.
    series_labels : Index of length W
        The series of each window.
    cutoffs : Index of length W
        The last time that each window knew.
    window, step : ndarray of int, shape (E,)
        The window and the step ahead (from 1) of each explained forecast.
    target_times : Index of length E
        The time of each explained forecast.
    source_times : Index of length W * K
        The time of every step that a window could look at, window by window.
    branches : tuple of Branch
        The attention, by branch.
    context_length : int
        Past steps that a window holds.
    weights : dict of DataFrame
        Selection weights per window and variable for ``"past"``, ``"future"``, ``"static"``.
    roles : dict
        Variable -> target, observed, known, calendar or static.
    sensitivity_shares : dict or None
        Variable -> share; None where the known history has no window to take a variable from.
    median : ndarray of float64, shape (E,)
        The median forecast explained.
    lag_changes : dict
        Variable -> (T, H) mean absolute change of the forecast, in units of each window, when the
        variable's value at one past step is that of a training window; NaN where none counts.
    quantile : float
        The quantile explained.
    value, spread : ndarray of float64, shape (E,)
        The forecast of that quantile, and the spread of its window, in units of the target.
    cells : dict of list
        The variable of each column of each input of the network.
    attributed, path_table, trust_table, regime_table, memory_use
        What ``methods`` and ``checks`` asked for; None otherwise.
    target : hashable
        The target's name.
    target_values : ndarray of float64, shape (W * K,)
        The target at `source_times`; NaN where it is not known.
    levels : tuple of float
        The trained quantile levels.
    quantiles : ndarray of float64, shape (E, Q)
        The forecasts of those levels in units of the target, before any calibration.
    calibrated : ndarray of float64, shape (E, Q), or None
        The same after it, as `tsfusion.FusionForecaster.forecast` gives them; None where the
        forecaster was not calibrated. Everything else is about the quantiles of the network.
    """

    series_names: tuple[Any, ...]
    series_labels: pd.Index
    cutoffs: pd.Index
    window: np.ndarray
    step: np.ndarray
    target_times: pd.Index
    source_times: pd.Index
    branches: tuple[Branch, ...]
    context_length: int
    weights: dict[str, pd.DataFrame]
    roles: dict[Any, str]
    sensitivity_shares: dict[Any, float] | None
    median: np.ndarray
    lag_changes: dict[Any, np.ndarray]
    quantile: float = 0.5
    value: np.ndarray = field(default_factory=lambda: np.zeros(0))
    spread: np.ndarray = field(default_factory=lambda: np.zeros(0))
    cells: dict[str, list[Any]] = field(default_factory=dict)
    attributed: Attribution | None = None
    path_table: pd.DataFrame | None = None
    trust_table: pd.DataFrame | None = None
    regime_table: pd.DataFrame | None = None
    memory_use: MemoryUse | None = None
    target: Any = None
    target_values: np.ndarray = field(default_factory=lambda: np.zeros(0))
    levels: tuple[float, ...] = ()
    quantiles: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    calibrated: np.ndarray | None = None

    def __repr__(self) -> str:
        return (
            f"Explanation({len(self.window)} forecasts from {len(self.cutoffs)} windows, "
            f"{self.branches[0].scores.shape[1]} heads, {self.context_length} past steps)"
        )

    @property
    def attention(self) -> pd.DataFrame:
        """Attention, one row per forecast, branch, head and source looked at.

        Columns: series, ``cutoff``, ``horizon``, ``target_time``, ``branch``, ``head``, ``lag``
        (steps from the source to the target), ``source_time``, ``source_width`` (steps that the
        source covers; lag and time are those of the last), ``weight``. Weights of one forecast,
        branch and head sum to 1; sources that could not be seen are left out.
        """
        return self._attention.copy(deep=False)

    @property
    def selection(self) -> pd.DataFrame:
        """Selection weights: series, ``cutoff``, ``block``, ``variable``, ``weight``.

        The mean over the window's known steps; a block's weights sum to 1 per window.
        """
        return self._selection.copy(deep=False)

    @property
    def forecast(self) -> pd.DataFrame:
        """The forecasts explained: series, ``cutoff``, ``horizon``, ``target_time``, ``median``.

        With another ``quantile`` also that, as ``q0.9``; with attribution also ``baseline``, the
        mean forecast of the baselines.
        """
        table = {
            **self._labels(self.window),
            "horizon": self.step,
            "target_time": self.target_times,
            "median": self.median,
        }
        if self.quantile != 0.5:
            table[quantile_names([self.quantile])[0]] = self.value
        if self.attributed is not None:
            table["baseline"] = self.attributed.baseline
        return pd.DataFrame(table)

    @property
    def attribution(self) -> pd.DataFrame:
        """What moved each forecast away from its baseline, one row per value that did.

        Columns: series, ``cutoff``, ``horizon``, ``variable``, ``source_time`` (missing for a
        static variable), ``value`` (signed, in units of the target), ``baseline`` (the mean
        forecast of the baselines). Over the rows of a forecast, values and baseline add up to it,
        or to what it was before its ``target_bounds``. See
        `tsfusion.explain.attribution.attribute`.

        Raises
        ------
        ValueError
            If ``methods`` did not ask for it.
        """
        return self._attribution.copy(deep=False)

    @property
    def paths(self) -> pd.DataFrame:
        """What each path of the network carries, found by doing without it.

        Columns: ``path``, ``change`` (mean absolute change of the forecast, in units of the
        target), ``share`` (of all changes, every series counted in its own spread),
        ``loss_ratio``, ``low``, ``high`` (pinball loss without it by that with it, and its 95 %
        interval; NaN where no target is known). Changes do not add up: paths can stand in for each
        other.
        """
        return self._given(self.path_table, "methods", "paths").copy()

    @property
    def trust(self) -> pd.DataFrame:
        """How far the explanation can be trusted.

        Columns: ``check``, ``value``, ``low``, ``high`` (95 % interval, where there is one),
        ``threshold``, ``passed``, ``verdict``.
        """
        return self._given(self.trust_table, "checks", "fast").copy()

    def regimes(self) -> pd.DataFrame:
        """Return how far each window's attention is from the mean of training.

        Columns: series, ``cutoff``, ``distance`` (0 to 1; see
        `tsfusion.explain.regimes.pattern_distance`), ``threshold`` (upper bound of the 99 %
        quantile of training, by a block bootstrap), ``unusual``.
        """
        table = self._given(self.regime_table, "methods", "regimes")
        labels = pd.DataFrame(self._labels(np.arange(len(self.cutoffs))))
        return pd.concat([labels, table], axis=1)

    @property
    def memory(self) -> pd.DataFrame:
        """The slots that windows read: series, ``cutoff``, ``slot``, ``weight``, ``usual``.

        Weights of a window sum to 1; ``usual`` is the mean over training windows.
        """
        use = self._given(self.memory_use, "methods", "memory")
        windows, slots = use.weights.shape
        window = np.repeat(np.arange(windows), slots)
        return pd.DataFrame(
            {
                **self._labels(window),
                "slot": np.tile(np.arange(slots), windows),
                "weight": use.weights.reshape(-1),
                "usual": np.tile(use.usual, windows),
            }
        )

    @property
    def prototypes(self) -> pd.DataFrame:
        """The training windows that read the memory most alike, the nearest first.

        Columns: series, ``cutoff``, ``rank`` (from 1), ``prototype_series``,
        ``prototype_cutoff``, ``similarity`` (cosine of the addresses).
        """
        use = self._given(self.memory_use, "methods", "memory")
        windows, near = use.nearest.shape
        found = use.nearest.reshape(-1)
        return pd.DataFrame(
            {
                **self._labels(np.repeat(np.arange(windows), near)),
                "rank": np.tile(np.arange(1, near + 1), windows),
                "prototype_series": use.labels[found],
                "prototype_cutoff": use.cutoffs[found],
                "similarity": use.similarity.reshape(-1),
            }
        )

    def history(self) -> pd.DataFrame:
        """Return the target in the windows explained, where it is known.

        Columns: series, ``time``, ``value``; each time of a series once, in order.
        """
        steps = len(self.source_times) // max(len(self.cutoffs), 1)
        labels = self._labels(np.repeat(np.arange(len(self.cutoffs)), steps))
        del labels["cutoff"]
        table = pd.DataFrame({**labels, "time": self.source_times, "value": self.target_values})
        keys = [*self.series_names, "time"]
        return (
            table.dropna(subset="value").drop_duplicates(keys).sort_values(keys, ignore_index=True)
        )

    @property
    def lag_sensitivity(self) -> pd.DataFrame:
        """How the forecast hangs on single past values of the variables named in ``lags_of``.

        Columns: ``variable``, ``horizon``, ``lag``, ``sensitivity`` (mean absolute change of the
        median, in units of each window's spread, when that one value is that of a training window).
        """
        parts = []
        for name, change in self.lag_changes.items():
            past, step = np.nonzero(np.isfinite(change))
            parts.append(
                pd.DataFrame(
                    {
                        "variable": pd.Series([name] * len(past), dtype=object),
                        "horizon": step + 1,
                        "lag": step + self.context_length - past,
                        "sensitivity": change[past, step],
                    }
                )
            )
        if not parts:
            raise ValueError(
                "No lag sensitivities were computed: name variables in explain(lags_of=...)."
            )
        table = pd.concat(parts, ignore_index=True)
        return table.sort_values(["variable", "horizon", "lag"], ignore_index=True)

    def summary(self) -> str:
        """Return a few sentences with the figures."""
        lines = self._average_sentences(len(self.window), len(self.cutoffs))
        if self.path_table is not None:
            first = self.path_table.sort_values("share", ascending=False, kind="stable")
            named = ", ".join(
                f"{path} ({share:.0%})"
                for path, share in zip(first["path"][:3], first["share"][:3])
            )
            lines.append(f"It changes most without the paths {named}.")
        if self.regime_table is not None:
            unusual = int(self.regime_table["unusual"].sum())
            lines.append(f"In {unusual} of the windows the attention is unusual.")
        if self.trust_table is not None:
            lines += in_short(self.trust_table)
        return " ".join(lines)

    def plot_lag_sensitivity(self, variable: Any, ax: Any = None) -> Any:
        """Draw the sensitivity to single past values of a variable named in ``lags_of``."""
        from tsfusion.plotting import draw_lags

        table = self._lag_sensitivity_of(variable).rename(columns={"sensitivity": "value"})
        return draw_lags(
            table,
            "change of the forecast",
            f"On which past values of {variable} the forecast hangs",
            ax,
        )

    def plot_regimes(self, ax: Any = None, *, which: Any = None) -> Any:
        """Draw a series and its regimes; see `tsfusion.plotting.plot_regimes`."""
        from tsfusion.plotting import plot_regimes

        return plot_regimes(self, which=which, ax=ax)

    def to_frame(self, name: str) -> pd.DataFrame:
        """Return one of the tables by its name.

        Parameters
        ----------
        name : str
            ``"forecast"``, ``"attention"``, ``"selection"``, ``"attribution"``, ``"paths"``,
            ``"regimes"``, ``"memory"``, ``"prototypes"``, ``"trust"``, ``"importance"``,
            ``"temporal_patterns"``, ``"lag_sensitivity"`` or ``"history"``.

        Raises
        ------
        ValueError
            If there is no such table, or it was not asked for.
        """
        if name not in TABLES:
            raise ValueError(f"name: expected one of {TABLES}, received {name!r}.")
        found = getattr(self, name)
        return found() if callable(found) else found

    def to_html(
        self, path: str | os.PathLike, *, title: str | None = None, model: Any = None,
        ahead: Explanation | None = None, backtest: pd.DataFrame | None = None,
        baseline: str | None = None, max_series: int = 50,
    ) -> None:  # fmt: skip
        """Write a report: one HTML file that needs no network (extra ``report``).

        Parameters
        ----------
        path : str or path
            The file, which is replaced whole or stays as it is.
        title : str, default=None
            None names the target.
        model : FusionForecaster, default=None
            The forecaster explained: its parameters and its skill are shown.
        ahead : Explanation, default=None
            Of forecasts to come, by the same model: shown first of their series.
        backtest : DataFrame, default=None
            Of `tsfusion.evaluation.backtest`: skill, reliability, PIT, error and coverage by
            horizon.
        baseline : str, default=None
            The model of the backtest that skill is measured by; None takes ``"seasonal_naive"``,
            else ``"last_value"``, else the last.
        max_series : int, default=50
            The most series that can be chosen; what is left out is said in the report.

        Raises
        ------
        ImportError
            Without Altair and vl-convert.
        ValueError
            If ``ahead`` is of another model, or the backtest is no frame of one.
        """
        from tsfusion.report import write_report

        write_report(
            path, self, title=title, model=model, ahead=ahead, backtest=backtest,
            baseline=baseline, max_series=max_series,
        )  # fmt: skip

    def save(self, path: str | os.PathLike) -> None:
        """Write the explanation to one file of JSON and plain arrays, without pickle.

        Parameters
        ----------
        path : str or path
            The file, which is replaced whole or stays as it is.

        Raises
        ------
        TypeError
            If a label is of a type that such a file cannot hold.
        """
        from tsfusion.files.explanation import save_explanation

        save_explanation(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike) -> Explanation:
        """Return the explanation in a file that `save` wrote, checked as a model file is.

        Raises
        ------
        FileFormatError
            If the file is damaged, or no explanation.
        """
        from tsfusion.files.explanation import load_explanation

        return load_explanation(path)

    def _lag_sensitivity_of(self, variable: Any) -> pd.DataFrame:
        """Return the rows of `lag_sensitivity` of one variable."""
        table = self.lag_sensitivity
        table = table[table["variable"] == variable]
        if table.empty:
            raise ValueError(
                f"variable: expected one of {list(self.lag_changes)}, received {variable!r}."
            )
        return table

    def _labels(self, window: np.ndarray) -> dict[Any, Any]:
        """Return the series and cutoff columns for windows."""
        labels = self.series_labels[window]
        many = len(self.series_names) > 1
        columns: dict[Any, Any] = {
            name: labels.get_level_values(i) if many else labels
            for i, name in enumerate(self.series_names)
        }
        columns["cutoff"] = self.cutoffs[window]
        return columns

    def _given(self, table: Any, parameter: str, name: str) -> Any:
        if table is None:
            raise ValueError(f"This was not computed: ask for it in explain({parameter}={name!r}).")
        return table

    def window_shares(self) -> dict[str, pd.DataFrame]:
        """Return how much each variable counts in each window, by measure.

        Returns
        -------
        dict of DataFrame
            One row per window, in the order of `cutoffs`, and one column per variable:
            ``"attribution"`` (where it was asked for: the share of the mean absolute attribution,
            a variable's values taken together) and the selection weights ``"past"``, ``"future"``,
            ``"static"``. Rows sum to 1, or hold NaN where a window has no such variable.
        """
        tables = {}
        if self.attributed is not None:
            sizes = self._attribution_sizes(group_of(None, list(self.roles)))
            total = np.zeros((len(self.cutoffs), sizes.shape[1]))
            np.add.at(total, self.window, sizes)
            with np.errstate(invalid="ignore"):
                shares = total / total.sum(axis=1, keepdims=True)
            tables["attribution"] = pd.DataFrame(shares, columns=pd.Index(self.roles, dtype=object))
        return tables | {name: table.copy() for name, table in self.weights.items()}

    def _attribution_sizes(self, named: dict[Any, Any]) -> np.ndarray:
        """Return (E, G) how far each group moved each forecast, in units of its window."""
        found = self._given(self.attributed, "methods", "attribution")
        return group_sizes(found.values, self.cells, self.spread, named)

    def _attribution_shares(self, named: dict[Any, Any]) -> dict[Any, float] | None:
        if self.attributed is None:
            return None
        mean = self._attribution_sizes(named).mean(axis=0)
        shares = (mean / (mean.sum() or 1.0)).tolist()
        return dict(zip(dict.fromkeys(named.values()), shares))

    def _mean_weights(self) -> dict[str, Any]:
        return {block: table.mean() for block, table in self.weights.items()}

    @cached_property
    def _attribution(self) -> pd.DataFrame:
        found = self._given(self.attributed, "methods", "attribution")
        steps = len(self.source_times) // max(len(self.cutoffs), 1)
        first = {"past": 0, "future": self.context_length}
        entries, places, variables, values = [], [], [], []
        for key, value in found.values.items():
            entry, *step, column = np.nonzero(value)
            role = key.split("_")[0]
            place = np.full(len(entry), -1)
            if step:
                place = self.window[entry] * steps + first[role] + step[0]
            entries.append(entry)
            places.append(place)
            variables.append(np.asarray(self.cells[key], dtype=object)[column])
            values.append(value[(entry, *step, column)].astype(np.float64))
        entry, place = np.concatenate(entries), np.concatenate(places)
        order = np.argsort(entry, kind="stable")
        entry, place = entry[order], place[order]
        # A place that is not there, -1, gives a missing time, of whatever kind the times are.
        times = pd.Series(self.source_times).reindex(place).array
        return pd.DataFrame(
            {
                **self._labels(self.window[entry]),
                "horizon": self.step[entry],
                "variable": np.concatenate(variables)[order],
                "source_time": times,
                "value": np.concatenate(values)[order],
                "baseline": found.baseline[entry],
            }
        )

    def _lags(self, branch: Branch) -> np.ndarray:
        """(E, K) steps from each source to the target; negative where the source is later."""
        return (self.step - 1)[:, None] - branch.last[None, :]

    @cached_property
    def _attention(self) -> pd.DataFrame:
        steps = len(self.source_times) // max(len(self.cutoffs), 1)
        looked = [np.nonzero(branch.scores) for branch in self.branches]

        def joined(columns: Any) -> np.ndarray:
            return np.concatenate(list(columns))

        entry = joined(entry for entry, _, _ in looked)
        window, step = self.window[entry], self.step[entry]
        pairs = list(zip(self.branches, looked))
        last = joined(branch.last[source] for branch, (_, _, source) in pairs)
        width = joined((branch.last - branch.first + 1)[at[2]] for branch, at in pairs)
        names = pd.Series([branch.name for branch in self.branches])
        of_branch = np.repeat(np.arange(len(pairs)), [len(at[0]) for at in looked])
        table = {
            **self._labels(window),
            "horizon": step,
            "target_time": self.target_times[entry],
            "branch": names.array.take(of_branch),
            "head": joined(head for _, head, _ in looked),
            "lag": step - 1 - last,
            "source_time": self.source_times[window * steps + self.context_length + last],
            "source_width": width,
            "weight": joined(branch.scores[at] for branch, at in pairs),
        }
        return pd.DataFrame(table, copy=False)

    @cached_property
    def _selection(self) -> pd.DataFrame:
        parts = []
        for block, table in self.weights.items():
            window = np.repeat(np.arange(len(table)), table.shape[1])
            parts.append(
                pd.DataFrame(
                    {
                        **self._labels(window),
                        "block": block,
                        "variable": np.tile(np.asarray(table.columns, dtype=object), len(table)),
                        "weight": table.to_numpy().reshape(-1),
                    }
                )
            )
        return pd.concat(parts, ignore_index=True)

    @cached_property
    def _patterns(self) -> pd.DataFrame:
        parts = []
        for branch in self.branches:
            weight, lags = branch.scores.mean(axis=1), self._lags(branch)
            entry, source = np.nonzero(lags >= 0)
            table = pd.DataFrame(
                {
                    "horizon": self.step[entry],
                    "lag": lags[entry, source],
                    "source_width": (branch.last - branch.first + 1)[source],
                    "weight": weight[entry, source].astype(np.float64),
                }
            )
            groups = table.groupby(["horizon", "lag", "source_width"])["weight"]
            result = groups.agg("mean").to_frame("mean")
            for name, level in (("p10", 0.1), ("p50", 0.5), ("p90", 0.9)):
                result[name] = groups.quantile(level)
            parts.append(result.reset_index())
            parts[-1].insert(0, "branch", branch.name)
        return pd.concat(parts, ignore_index=True)
