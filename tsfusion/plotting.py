"""Pictures of forecasts, of what they looked at and of how good they are (matplotlib).

Each function takes and returns an Axes, and draws tidy frames that other functions return, or an
`Explanation`. The extra is ``plot``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from tsfusion.quantiles import quantile_columns

if TYPE_CHECKING:
    from tsfusion.explain.averages import Averages
    from tsfusion.explain.explanation import Explanation

__all__ = [
    "plot_attention",
    "plot_backtest",
    "plot_calibration",
    "plot_forecast",
    "plot_importance",
    "plot_regimes",
    "plot_reliability",
    "plot_skill",
]

_BANDS = (0.18, 0.42)


def plot_forecast(
    forecast: pd.DataFrame, history: pd.DataFrame | None = None, *, target: Any = None,
    which: Any = None, steps: int | None = None, ax: Any = None,
) -> Any:  # fmt: skip
    """Draw the forecast of one series: its median (else its mean) and its intervals.

    Parameters
    ----------
    forecast : DataFrame
        Of `FusionForecaster.forecast`.
    history : DataFrame, default=None
        Rows to draw before (or beside) the forecast: the same series and time columns, and the
        target.
    target : str, default=None
        The target's column in ``history``, which needs it.
    which : label or tuple of labels, default=None
        The series; None takes the first.
    steps : int, default=None
        How many of the history's last rows to draw; None takes four times the forecast's.
    ax : matplotlib Axes, default=None
        Where to draw; None makes a new one.

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If there is no such series, or the columns of a forecast are not there.

    Examples
    --------
    >>> from tsfusion import FusionForecaster
    >>> from tsfusion.data import load_air_passengers
    >>> from tsfusion.plotting import plot_forecast
    >>> table = load_air_passengers()
    >>> model = FusionForecaster(
    ...     horizon=6, time="month", target="passengers", max_epochs=1, hidden_size=8, verbose=0
    ... ).fit(table)
    >>> ax = plot_forecast(model.forecast(), table, target="passengers")
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('month', 'passengers')
    """
    time, keys = _time_and_keys(forecast, "forecast", before="mean")
    mine, name = _of_series(forecast, keys, which, "forecast")
    ax = _axes(ax, (9, 4))
    if history is not None:
        if target is None:
            raise ValueError(
                "target: expected the name of the target in history, received None. Pass target=."
            )
        lacking = [column for column in (*keys, time, target) if column not in history.columns]
        if lacking:
            raise ValueError(
                f"history: expected the columns {[*keys, time, target]}, received none called "
                f"{lacking[0]!r}."
            )
        past = history
        if keys:
            past = _rows_of(history, keys, mine[keys].iloc[0])
        past = past.sort_values(time).tail(4 * len(mine) if steps is None else steps)
        ax.plot(_times(past[time]), past[target], color="black", lw=1, label=_label(target))
    _bands(ax, mine, time, "C0", label=True)
    ax.set(xlabel=_text(time), ylabel="" if target is None else _text(target), title=name)
    ax.legend(loc="upper left")
    return ax


def plot_backtest(
    frame: pd.DataFrame, *, which: Any = None, model: str | None = None, ax: Any = None
) -> Any:
    """Draw the forecasts that one model made of one series from several cutoffs, and the truth.

    Parameters
    ----------
    frame : DataFrame
        Of `tsfusion.evaluation.backtest`.
    which : label or tuple of labels, default=None
        The series; None takes the first.
    model : str, default=None
        None takes the first.
    ax : matplotlib Axes, default=None

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If there is no such series or model, or the frame is not one of a backtest.

    Examples
    --------
    >>> from tsfusion.data import load_air_passengers
    >>> from tsfusion.evaluation import backtest
    >>> from tsfusion.plotting import plot_backtest
    >>> table = backtest(
    ...     "seasonal_naive", load_air_passengers(), horizon=12, time="month", target="passengers"
    ... )
    >>> len(plot_backtest(table).get_lines())  # The truth, and three forecasts.
    4
    """
    for name in ("cutoff", "model", "y", "mean"):
        if name not in frame.columns:
            raise ValueError(f"frame: expected that of a backtest, received none with {name!r}.")
    at = list(frame.columns).index("cutoff")
    keys, time = list(frame.columns[:at]), frame.columns[at + 1]
    model = frame["model"].iloc[0] if model is None else model
    if model not in set(frame["model"]):
        raise ValueError(f"model: expected one of {_few(frame['model'])}, received {model!r}.")
    mine, name = _of_series(frame[frame["model"] == model], keys, which, "frame")
    ax = _axes(ax, (9, 4))
    truth = mine.drop_duplicates(time).sort_values(time)
    ax.plot(_times(truth[time]), truth["y"], color="black", lw=1, label="actual")
    for i, (_, rows) in enumerate(mine.groupby("cutoff", sort=True)):
        _bands(ax, rows, time, f"C{i % 2}", label=i == 0)
    ax.set(xlabel=_text(time), title=f"{_text(model)}{name and f': {name}'}")
    ax.legend(loc="upper left")
    return ax


def plot_reliability(table: pd.DataFrame, ax: Any = None) -> Any:
    """Draw how often the truth came out below each quantile, beside how often it should.

    Parameters
    ----------
    table : DataFrame
        Of `tsfusion.evaluation.reliability`, without ``by``. Bars are two standard errors wide on
        each side.
    ax : matplotlib Axes, default=None

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the columns are not there, or a model has a level twice.

    Examples
    --------
    >>> from tsfusion.data import load_air_passengers
    >>> from tsfusion.evaluation import backtest, reliability
    >>> from tsfusion.plotting import plot_reliability
    >>> table = backtest(
    ...     "seasonal_naive", load_air_passengers(), horizon=12, time="month", target="passengers"
    ... )
    >>> plot_reliability(reliability(table)).get_xlabel()
    'level of the quantile'
    """
    _expect(table, "table", ("model", "level", "observed", "standard_error"), "reliability")
    if table.duplicated(["model", "level"]).any():
        raise ValueError(
            "table: expected each level of a model once, received groups: draw them one by one."
        )
    ax = _axes(ax, (5, 5))
    ax.plot([0, 1], [0, 1], color="black", lw=1, ls=":", label="as it should be")
    for name, rows in table.groupby("model", sort=False):
        error = np.nan_to_num(2 * rows["standard_error"].to_numpy(float))
        ax.errorbar(
            rows["level"], rows["observed"], yerr=error, marker="o", capsize=2, label=_label(name)
        )
    ax.set(
        xlim=(0, 1), ylim=(0, 1), xlabel="level of the quantile", ylabel="share of truths below it",
        title="Reliability",
    )  # fmt: skip
    ax.legend(loc="upper left")
    return ax


def plot_skill(table: pd.DataFrame, ax: Any = None) -> Any:
    """Draw the skill of each model, with its interval.

    Parameters
    ----------
    table : DataFrame
        Of `tsfusion.evaluation.skill_scores`.
    ax : matplotlib Axes, default=None

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the columns are not there.

    Examples
    --------
    >>> from tsfusion.data import load_air_passengers
    >>> from tsfusion.evaluation import backtest, skill_scores
    >>> from tsfusion.plotting import plot_skill
    >>> table = backtest(
    ...     ["last_value", "seasonal_naive"], load_air_passengers(), horizon=12, time="month",
    ...     target="passengers",
    ... )
    >>> ax = plot_skill(skill_scores(table, baseline="last_value"))
    >>> [label.get_text() for label in ax.get_yticklabels()]
    ['seasonal_naive', 'last_value']
    """
    _expect(table, "table", ("model", "skill", "low", "high"), "skill_scores")
    ax = _axes(ax, (7, 0.6 * len(table) + 1.2))
    table = table.iloc[::-1]
    skill = table["skill"].to_numpy(float)
    away = np.abs(np.stack([skill - table["low"], table["high"] - skill]).astype(float))
    place = np.arange(len(table))
    ax.axvline(0, color="black", lw=1, ls=":")
    ax.errorbar(skill, place, xerr=np.nan_to_num(away), fmt="o", capsize=3)
    ax.set_yticks(place, [_text(name) for name in table["model"]])
    ax.set(ylim=(-0.6, len(table) - 0.4), xlabel="skill: 1 - loss / loss of the baseline")
    return ax


def plot_calibration(frame: pd.DataFrame, ax: Any = None) -> Any:
    """Draw whether the quantiles of a backtest mean what they say.

    `plot_reliability` draws a table of `tsfusion.evaluation.reliability`; this makes it first.

    Parameters
    ----------
    frame : DataFrame
        Of `tsfusion.evaluation.backtest`, with quantiles.
    ax : matplotlib Axes, default=None

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If the frame has no quantiles, or is not one of a backtest.

    Examples
    --------
    >>> from tsfusion.data import load_air_passengers
    >>> from tsfusion.evaluation import backtest
    >>> from tsfusion.plotting import plot_calibration
    >>> table = backtest(
    ...     "seasonal_naive", load_air_passengers(), horizon=12, time="month", target="passengers"
    ... )
    >>> plot_calibration(table).get_ylabel()
    'share of truths below it'
    """
    from tsfusion.evaluation import reliability

    return plot_reliability(reliability(frame), ax)


def plot_attention(explanation: Averages, *, branch: str | None = None, ax: Any = None) -> Any:
    """Draw where in time forecasts looked: mean attention by steps ahead and lag.

    Parameters
    ----------
    explanation : Explanation or AverageExplanation
    branch : {"all", "short", "long"}, default=None
        None takes the one that sees single steps.
    ax : matplotlib Axes, default=None

    Returns
    -------
    matplotlib Axes

    Raises
    ------
    ValueError
        If there is no such branch.

    See Also
    --------
    plot_importance, plot_regimes

    Examples
    --------
    >>> from tsfusion import FusionForecaster
    >>> from tsfusion.data import load_air_passengers
    >>> from tsfusion.plotting import plot_attention, plot_importance, plot_regimes
    >>> model = FusionForecaster(
    ...     horizon=6, time="month", target="passengers", max_epochs=1, hidden_size=8, verbose=0
    ... ).fit(load_air_passengers())
    >>> found = model.explain(max_windows=4, methods=("attention", "selection", "regimes"))
    >>> plot_attention(found).get_ylabel()
    'steps ahead'
    >>> ax = plot_importance(found, top=3)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['sensitivity', 'selection (past)', 'selection (future)']
    >>> plot_regimes(found).get_ylabel()
    'passengers'
    """
    table = explanation._patterns_of(branch).rename(columns={"mean": "value"})
    return draw_lags(table, "mean attention", "Where in time the forecast looked", ax)


def draw_lags(table: pd.DataFrame, label: str, title: str, ax: Any = None) -> Any:
    """Draw ``value`` by ``lag`` (of the last step, of ``source_width`` steps) and ``horizon``."""
    ax = _axes(ax, (9, 4))
    from matplotlib.collections import PolyCollection
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    right = table["lag"].to_numpy(float) - 0.5
    width = table["source_width"].to_numpy(float) if "source_width" in table else 1.0
    # A row for each step there is, however far they are apart.
    steps, row = np.unique(table["horizon"], return_inverse=True)
    low = row + steps[0] - 0.5
    left, high = right + width, low + 1
    corners = np.stack(
        [
            np.stack(pair, axis=-1)
            for pair in ((left, low), (right, low), (right, high), (left, high))
        ],
        axis=1,
    )
    cells = PolyCollection(
        list(corners), array=table["value"].to_numpy(float), cmap="viridis", lw=0
    )
    cells.set_clim(0, None)
    ax.add_collection(cells)
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(integer=True))
    names = {int(steps[0]) + i: str(step) for i, step in enumerate(steps)}
    ax.yaxis.set_major_formatter(FuncFormatter(lambda at, _: names.get(at, "")))
    ax.figure.colorbar(cells, ax=ax, label=label)
    ax.set(
        xlim=(left.max(), right.min()), ylim=(low.min(), high.max()),
        xlabel="lag: steps back from the step forecast", ylabel="steps ahead",
        title=_text(title),
    )  # fmt: skip
    return ax


# Columns of `Explanation.importance`: what a point of each is called, and its shape.
_MEASURES = {
    "attribution": ("attribution", "o"), "sensitivity": ("sensitivity", "s"),
    "past": ("selection (past)", "^"), "future": ("selection (future)", "D"),
    "static": ("selection (static)", "P"),
}  # fmt: skip


def plot_importance(explanation: Averages, *, top: int | None = None, ax: Any = None) -> Any:
    """Draw each variable's attribution and sensitivity beside its selection weights.

    Parameters
    ----------
    explanation : Explanation or AverageExplanation
    top : int, default=None
        How many variables to draw, the most important first; None for all.
    ax : matplotlib Axes, default=None

    Returns
    -------
    matplotlib Axes
        Measures that were not computed are left out.

    See Also
    --------
    plot_attention : With an example of all three.
    """
    table = explanation.importance().head(top).iloc[::-1]
    ax = _axes(ax, (7, 0.3 * len(table) + 1.5))
    place = np.arange(len(table))
    for name, (label, marker) in _MEASURES.items():
        if name in table and table[name].notna().any():
            ax.plot(table[name].astype(float), place, ls="", marker=marker, label=label)
    ax.set_yticks(place, [_text(name) for name in table["variable"]])
    ax.grid(axis="y", lw=0.5)
    ax.set(xlabel="share", title="Which variables the forecast depends on")
    ax.legend()
    return ax


def plot_regimes(explanation: Explanation, *, which: Any = None, ax: Any = None) -> Any:
    """Draw a series, and below it at each cutoff whether the attention was unusual.

    Parameters
    ----------
    explanation : Explanation
        With ``methods=(..., "regimes")``.
    which : label or tuple of labels, default=None
        The series; None takes the first.
    ax : matplotlib Axes, default=None

    Returns
    -------
    matplotlib Axes
        A triangle stands for a window with unusual attention, a circle for any other.

    Raises
    ------
    ValueError
        If regimes were not asked for, or there is no such series.

    See Also
    --------
    plot_attention : With an example of all three.
    """
    keys = list(explanation.series_names)
    mine, name = _of_series(explanation.regimes(), keys, which, "explanation")
    history = _rows_of(explanation.history(), keys, mine[keys].iloc[0])
    ax = _axes(ax, (9, 4))
    ax.plot(_times(history["time"]), history["value"], color="black", lw=1)
    # A strip below the axes, in their own units of height.
    strip = ax.get_xaxis_transform()
    for unusual, marker, color in ((False, "o", "C0"), (True, "^", "C1")):
        chosen = mine[mine["unusual"] == unusual]
        label = "unusual attention" if unusual else "usual attention"
        ax.plot(
            _times(chosen["cutoff"]), np.full(len(chosen), 0.04), ls="", marker=marker, color=color,
            transform=strip, label=label,
        )  # fmt: skip
    low, high = ax.get_ylim()
    ax.set(ylim=(low - 0.12 * (high - low), high), xlabel="time", title=name)
    ax.set_ylabel("" if explanation.target is None else _text(explanation.target))
    ax.legend(loc="best")
    return ax


def _axes(ax: Any, size: tuple[float, float]) -> Any:
    if ax is not None:
        return ax
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            "Plots need matplotlib: pip install 'tsfusion[plot]' (or matplotlib)."
        ) from error
    return plt.subplots(figsize=size, layout="constrained")[1]


def _bands(ax: Any, rows: pd.DataFrame, time: Any, color: str, *, label: bool) -> None:
    """Draw the median of a forecast, and the bands between its pairs of quantiles."""
    rows = rows.sort_values(time)
    found = quantile_columns(rows.columns)
    levels = sorted(found)
    pairs = [(low, high) for low in levels for high in levels if np.isclose(low + high, 1)]
    pairs = [(low, high) for low, high in pairs if low < high]
    for i, (low, high) in enumerate(pairs):
        ax.fill_between(
            _times(rows[time]), rows[found[low]].astype(float), rows[found[high]].astype(float),
            color=color, lw=0, alpha=float(np.interp(i, (0, max(len(pairs) - 1, 1)), _BANDS)),
            label=f"{100 * (high - low):.3g} % interval" if label else None,
        )  # fmt: skip
    middle, name = (found[0.5], "median") if 0.5 in found else ("mean", "mean")
    ax.plot(
        _times(rows[time]), rows[middle], color=color, label=f"forecast ({name})" if label else None
    )


def _times(values: pd.Series) -> pd.Series:
    """Return times that matplotlib can draw: of periods, their beginnings."""
    return values.dt.to_timestamp() if isinstance(values.dtype, pd.PeriodDtype) else values


def _text(value: Any) -> str:
    """Return a user's name as matplotlib shows it: what is between dollars is no formula."""
    return str(value).replace("$", r"\$")


def _label(value: Any) -> str:
    """Return a user's name for a legend, which leaves out what begins with an underscore."""
    text = _text(value)
    return f" {text}" if text.startswith("_") else text


def _expect(table: pd.DataFrame, what: str, columns: tuple[str, ...], source: str) -> None:
    lacking = [name for name in columns if name not in table.columns]
    if lacking:
        raise ValueError(f"{what}: expected the frame of {source}(), received no {lacking[0]!r}.")


def _time_and_keys(frame: pd.DataFrame, what: str, *, before: str) -> tuple[Any, list[Any]]:
    columns = list(frame.columns)
    if before not in columns or columns.index(before) == 0 or len(frame) == 0:
        raise ValueError(
            f"{what}: expected rows of FusionForecaster.forecast, with a time column before "
            f"{before!r}; received {len(frame)} rows of {[str(name) for name in columns]}."
        )
    at = columns.index(before)
    return columns[at - 1], columns[: at - 1]


def _of_series(
    frame: pd.DataFrame, keys: list[Any], which: Any, what: str
) -> tuple[pd.DataFrame, str]:
    """Return the rows of one series, and its name as matplotlib takes it."""
    if not keys:
        if which is not None:
            raise ValueError(f"which: expected None, for there is one series; received {which!r}.")
        return frame, ""
    wanted = frame[keys].iloc[0].tolist() if which is None else which
    wanted = list(wanted) if isinstance(wanted, (list, tuple)) else [wanted]
    if len(wanted) != len(keys):
        raise ValueError(f"which: expected a label for each of {keys}, received {which!r}.")
    mine = _rows_of(frame, keys, wanted)
    if len(mine) == 0:
        labels = frame[keys].drop_duplicates()
        known = labels[keys[0]] if len(keys) == 1 else labels.apply(tuple, axis=1)
        raise ValueError(f"which: expected a series of {what}, {_few(known)}; received {which!r}.")
    return mine, ", ".join(_text(label) for label in wanted)


def _rows_of(frame: pd.DataFrame, keys: list[Any], wanted: Any) -> pd.DataFrame:
    chosen = np.ones(len(frame), bool)
    for key, label in zip(keys, wanted, strict=True):
        chosen &= (frame[key] == label).to_numpy()
    return frame[chosen]


def _few(values: pd.Series) -> str:
    names = [str(value) for value in values.unique()]
    return ", ".join(repr(name) for name in names[:5]) + (", ..." if len(names) > 5 else "")
