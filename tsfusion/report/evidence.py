"""What a backtest says of forecasts, as rows for the charts of a report; relies on evaluation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from tsfusion.report.payload import records

__all__ = ["Scores", "bands"]

_BASELINES = ("seasonal_naive", "last_value", "naive")


def bands(levels: tuple[float, ...]) -> list[tuple[float, float, int, int]]:
    """Return the central intervals, the widest first: their levels, and places among all.

    Examples
    --------
    >>> bands((0.1, 0.5, 0.9))
    [(0.1, 0.9, 0, 2)]
    """
    found = [
        (low, high, i, j)
        for i, low in enumerate(levels)
        for j, high in enumerate(levels)
        if low < 0.5 and np.isclose(low + high, 1)
    ]
    # A fan of a few bands is read more easily than one of many.
    return found[:: max(1, len(found) // 2)] if len(found) > 2 else found


@dataclass(frozen=True)
class Scores:
    """Rows of the charts that need a backtest, and what could not be drawn.

    Attributes
    ----------
    rows : dict of list of dict
        By chart.
    first : str
        The model that comes first.
    baseline, interval : str
        What skill is measured by; the interval whose coverage is shown.
    no_skill, no_quantiles : str
        Why there is none; empty where there is.
    """

    rows: dict[str, list[dict[str, Any]]]
    first: str
    baseline: str
    interval: str
    no_skill: str
    no_quantiles: str

    @classmethod
    def of(cls, frame: pd.DataFrame, baseline: str | None) -> Scores:
        """Score the frame of a backtest.

        Raises
        ------
        ValueError
            As `tsfusion.evaluation.evaluate`; if there is no such baseline.
        """
        from tsfusion.evaluation import evaluate, pit_histogram, reliability
        from tsfusion.quantiles import quantile_columns

        levels = sorted(quantile_columns(frame.columns))
        with_quantiles = bool(levels)
        metrics = ["mae", "coverage"] if bands(tuple(levels)) else ["mae"]
        scores = evaluate(frame, by="step", metrics=metrics)
        rows = {
            "error": records(scores.rename(columns={"mae": "value"})[["model", "step", "value"]])
        }
        first, interval, no_quantiles = str(frame["model"].iloc[0]), "", ""
        if with_quantiles:
            table = reliability(frame)
            table["low"] = table["observed"] - 2 * table["standard_error"].fillna(0)
            table["high"] = table["observed"] + 2 * table["standard_error"].fillna(0)
            rows["reliability"] = records(table)
            pit = pit_histogram(frame)
            rows["pit"] = records(pit[pit["model"] == frame["model"].iloc[0]])
        else:
            no_quantiles = "The backtest has no quantiles: ask for them in backtest(quantiles=...)."
        covered = [name for name in scores.columns if str(name).startswith("coverage_")]
        if covered:
            widest = max(covered, key=lambda name: float(name.split("_")[1]))
            aim = float(widest.split("_")[1])
            interval = f"{100 * aim:.3g}%"
            rows["coverage"] = records(
                scores.rename(columns={widest: "value"})[["model", "step", "value"]]
            )
            rows["aim"] = [{"value": aim}]
        skill, against, no_skill = _skill(frame, baseline)
        if skill is not None:
            rows["skill"] = skill
        return cls(rows, first, against, interval, no_skill, no_quantiles)


def _skill(
    frame: pd.DataFrame, baseline: str | None
) -> tuple[list[dict[str, Any]] | None, str, str]:
    from tsfusion.evaluation import skill_scores

    models = list(pd.unique(frame["model"]))
    if baseline is not None and baseline not in models:
        raise ValueError(f"baseline: expected one of {models}, received {baseline!r}.")
    if len(models) < 2:
        return None, "", "a backtest of two models or more"
    if baseline is None:
        baseline = next((name for name in _BASELINES if name in models), models[-1])
    table = skill_scores(frame, baseline=baseline)
    table = table[table["model"] != baseline]
    return records(table[["model", "skill", "low", "high", "mae"]]), str(baseline), ""
