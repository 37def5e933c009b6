"""What explanations of many forecasts say on average; relies on pandas alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

__all__ = ["AverageExplanation", "Averages", "group_of", "group_sizes", "lag_patterns"]


class Averages:
    """The tables over all forecasts, for what holds their parts.

    A subclass has ``context_length``, ``roles``, ``sensitivity_shares`` and ``_patterns``, and the
    methods below that raise.
    """

    context_length: int
    roles: dict[Any, str]
    sensitivity_shares: dict[Any, float] | None
    _patterns: pd.DataFrame

    def _mean_weights(self) -> dict[str, Any]:
        """Return the mean selection weight of each variable, by block."""
        raise NotImplementedError

    def _attribution_shares(self, named: dict[Any, Any]) -> dict[Any, float] | None:
        """Return the share of each group of variables; None without attribution."""
        raise NotImplementedError

    def _lag_sensitivity_of(self, variable: Any) -> pd.DataFrame:
        """Return the lags of one variable, with their ``sensitivity``."""
        raise NotImplementedError

    def temporal_patterns(self) -> pd.DataFrame:
        """Return how attention spreads over lags.

        Columns: ``branch``, ``horizon``, ``lag`` (of a source's last step), ``source_width``,
        ``mean``, ``p10``, ``p50``, ``p90``. Heads are averaged first; mean and quantiles are over
        windows.
        """
        return self._patterns.copy(deep=False)

    def importance(self, groups: Any = None) -> pd.DataFrame:
        """Return a row per variable, the most influential first.

        Columns: ``variable``, ``role``, ``sensitivity`` (share of the mean absolute change of the
        forecasts explained, in units of each window, when the variable is replaced by that of a
        training window of another time; NaN where the known history has none; measured on at most
        64 windows, unless ``methods`` asked for all with ``"sensitivity"``), ``attribution``
        (where it was asked for: share of the mean absolute attribution of the variable's values
        together, in units of each window), and the mean selection weights ``past``, ``future``,
        ``static`` (NaN where the variable has no part). Ordered by attribution, else sensitivity.

        Parameters
        ----------
        groups : dict or callable, default=None
            Variables to take together, such as the columns that a one-hot encoder made of one: a
            dict from a group's name to a list of variables, or a function from a variable to the
            name of its group. A group's attribution is that of its values together, its
            sensitivity and weights are the sums; its role is "several" where its variables differ.

        Raises
        ------
        ValueError
            If a group holds a variable that is not there, or two groups hold the same one.
        TypeError
            If ``groups`` is neither a dict nor a function.
        """
        named = group_of(groups, list(self.roles))
        names = list(dict.fromkeys(named.values()))
        roles: dict[Any, set] = {name: set() for name in names}
        for variable, name in named.items():
            roles[name].add(self.roles[variable])
        table = pd.DataFrame(
            {
                "variable": names,
                "role": [
                    min(roles[name]) if len(roles[name]) == 1 else "several" for name in names
                ],
            },
            dtype=object,
        )

        def summed(values: Any) -> list[float]:
            found = pd.Series([float(values.get(name, np.nan)) for name in named])
            return found.groupby(list(named.values())).sum(min_count=1)[names].tolist()

        table["sensitivity"] = summed(self.sensitivity_shares or {})
        shares = self._attribution_shares(named)
        if shares is not None:
            table["attribution"] = [shares[name] for name in names]
        means = self._mean_weights()
        for block in ("past", "future", "static"):
            table[block] = summed(means.get(block, {}))
        order = table["sensitivity" if shares is None else "attribution"]
        order = order.fillna(table["past"]).to_numpy(dtype=float)
        return table.iloc[np.argsort(-np.nan_to_num(order), kind="stable")].reset_index(drop=True)

    def top_lags(
        self, n: int = 5, variable: Any = None, *, branch: str | None = None
    ) -> pd.DataFrame:
        """Return the ``n`` lags that count most over all forecasts: ``lag``, ``weight``.

        Parameters
        ----------
        n : int, default=5
        variable : str, default=None
            None ranks by mean attention; a variable named in ``lags_of`` by the sensitivity of the
            forecast to it.
        branch : {"all", "short", "long"}, default=None
            Whose attention; None takes the one that sees single steps.

        Returns
        -------
        DataFrame
            The weight is the mean over the steps ahead that could look at that lag at all.
        """
        if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
            raise ValueError(f"n: expected an integer >= 1, received {n!r}.")
        if variable is None:
            table = self._patterns_of(branch)
            table = table.groupby("lag", as_index=False)["mean"].mean()
            table = table.rename(columns={"mean": "weight"})
        else:
            table = self._lag_sensitivity_of(variable)
            table = table.groupby("lag", as_index=False)["sensitivity"].mean()
            table = table.rename(columns={"sensitivity": "weight"})
        return table.nlargest(n, "weight").reset_index(drop=True)

    def plot_attention(self, ax: Any = None, *, branch: str | None = None) -> Any:
        """Draw mean attention by horizon and lag; see `tsfusion.plotting.plot_attention`."""
        from tsfusion.plotting import plot_attention

        return plot_attention(self, branch=branch, ax=ax)

    def plot_importance(self, ax: Any = None) -> Any:
        """Draw the measures of each variable; see `tsfusion.plotting.plot_importance`."""
        from tsfusion.plotting import plot_importance

        return plot_importance(self, ax=ax)

    def _average_sentences(self, forecasts: int, windows: int) -> list[str]:
        lines = [
            f"{forecasts} forecasts from {windows} windows were explained, each with "
            f"{self.context_length} past steps in view."
        ]
        lags = self.top_lags(3)
        named = ", ".join(
            f"{int(lag)} ({weight:.1%})" for lag, weight in zip(lags["lag"], lags["weight"])
        )
        branches = self._patterns["branch"].unique()
        where = "" if len(branches) == 1 else f" within the {branches[0]} window"
        lines.append(f"Most attention per step{where} went to the lags {named}.")
        table = self.importance()
        if self.sensitivity_shares:
            first = table.sort_values("sensitivity", ascending=False, kind="stable")
            named = ", ".join(
                f"{name} ({share:.0%})"
                for name, share in zip(first["variable"][:3], first["sensitivity"][:3])
            )
            lines.append(f"The forecast is most sensitive to {named}.")
        if "attribution" in table:
            named = ", ".join(
                f"{name} ({share:.0%})"
                for name, share in zip(table["variable"][:3], table["attribution"][:3])
            )
            lines.append(f"What moved it away from the baselines was {named}.")
        return lines

    def _patterns_of(self, branch: str | None) -> pd.DataFrame:
        """Return the rows of `temporal_patterns` of one branch, the first by default."""
        names = list(self._patterns["branch"].unique())
        if branch is not None and branch not in names:
            raise ValueError(f"branch: expected one of {names}, received {branch!r}.")
        return self._patterns[self._patterns["branch"] == (branch or names[0])]


@dataclass(frozen=True, repr=False)
class AverageExplanation(Averages):
    """What many forecasts looked at, on average.

    Made by `tsfusion.FusionForecaster.explain_average`; holds nothing of single forecasts, so that
    its size does not grow with their number.

    Attributes
    ----------
    forecasts, windows : int
        How many were explained.
    context_length : int
        Past steps that a window holds.
    roles : dict
        Variable -> target, observed, known, calendar or static.
    sensitivity_shares : dict or None
        Variable -> share, on at most 64 windows, evenly spaced; None without a training window.
    attribution_shares : dict or None
        Variable -> share; None where it was not asked for.
    mean_weights : dict of dict
        Block -> variable -> mean selection weight.
    patterns : DataFrame
        See `temporal_patterns`.
    """

    forecasts: int
    windows: int
    context_length: int
    roles: dict[Any, str]
    sensitivity_shares: dict[Any, float] | None
    attribution_shares: dict[Any, float] | None
    mean_weights: dict[str, dict[Any, float]]
    patterns: pd.DataFrame

    def __repr__(self) -> str:
        return (
            f"AverageExplanation({self.forecasts} forecasts from {self.windows} windows, "
            f"{self.context_length} past steps)"
        )

    @property
    def _patterns(self) -> pd.DataFrame:
        return self.patterns

    def _mean_weights(self) -> dict[str, Any]:
        return dict(self.mean_weights)

    def _attribution_shares(self, named: dict[Any, Any]) -> dict[Any, float] | None:
        if self.attribution_shares is not None and any(a != b for a, b in named.items()):
            raise ValueError(
                "groups: a group's attribution is that of its values together, which averages no "
                "longer tell. Leave groups out, or use explain()."
            )
        return self.attribution_shares

    def _lag_sensitivity_of(self, variable: Any) -> pd.DataFrame:
        raise ValueError(
            f"variable: averages hold no lag sensitivities of {variable!r}: use "
            "explain(lags_of=...)."
        )

    def summary(self) -> str:
        """Return a few sentences with the figures."""
        return " ".join(self._average_sentences(self.forecasts, self.windows))


def group_of(groups: Any, variables: list[Any]) -> dict[Any, Any]:
    """Return the group of each variable, itself where it is in none."""
    if groups is None:
        return {name: name for name in variables}
    if callable(groups):
        return {name: groups(name) for name in variables}
    if not isinstance(groups, dict):
        raise TypeError(
            "groups: expected a dict of names and lists of variables, or a function from a "
            f"variable to the name of its group, received {groups!r}."
        )
    found: dict[Any, Any] = {}
    for group, members in groups.items():
        for name in members:
            if name not in variables:
                raise ValueError(
                    f"groups: {group!r} holds {name!r}, which is no variable of the explanation: "
                    f"{variables}."
                )
            if name in found:
                raise ValueError(f"groups: {name!r} is in {found[name]!r} and in {group!r}.")
            found[name] = group
    return {name: found.get(name, name) for name in variables}


def group_sizes(
    values: dict[str, np.ndarray], cells: dict[str, list[Any]], spread: np.ndarray,
    named: dict[Any, Any],
) -> np.ndarray:  # fmt: skip
    """Return (E, G) how far each group of variables moved each forecast, in units of its window.

    Parameters
    ----------
    values : dict of ndarray (E, ..., V)
        Attributions by input; those of a group are taken together.
    cells : dict of list
        The variable of each column of each input.
    spread : ndarray, shape (E,)
        The unit of each forecast's window.
    named : dict
        The group of each variable.
    """
    unit = np.maximum(np.abs(spread), np.finfo(float).tiny)
    place = {name: i for i, name in enumerate(dict.fromkeys(named.values()))}
    total = np.zeros((len(unit), len(place)))
    for key, value in values.items():
        by_variable = value.reshape(len(value), -1, value.shape[-1]).sum(axis=1, dtype=float)
        for i, name in enumerate(cells[key]):
            total[:, place[named[name]]] += by_variable[:, i]
    return np.abs(total) / unit[:, None]


def lag_patterns(
    step: np.ndarray, first: np.ndarray, last: np.ndarray, mean: np.ndarray, spread: np.ndarray
) -> pd.DataFrame:
    """Return attention by step and lag as a table.

    Parameters
    ----------
    step : ndarray of int, shape (H,)
        Steps ahead, from 1.
    first, last : ndarray of int, shape (K,)
        What each source covers; see `Branch`.
    mean : ndarray, shape (H, K)
    spread : ndarray, shape (3, H, K)
        The quantiles 0.1, 0.5 and 0.9.

    Returns
    -------
    DataFrame
        As `Explanation.temporal_patterns`, without the branch; sources that come after a step are
        left out.
    """
    lag = step[:, None] - 1 - last
    row, source = np.nonzero(lag >= 0)
    table = pd.DataFrame(
        {
            "horizon": step[row],
            "lag": lag[row, source],
            "source_width": (last - first + 1)[source],
            "mean": mean[row, source],
            **{name: of[row, source] for name, of in zip(("p10", "p50", "p90"), spread)},
        }
    )
    return table.sort_values(["horizon", "lag", "source_width"], ignore_index=True)
