"""Audits for leaks: does anything after a cutoff reach a forecast that is made at it?

Relies on scikit-learn, NumPy, pandas and `tsfusion.data`. The forecast checks are behavioural: the
future is changed and the same question is asked again. The column checks are statistics on changes
of flat, sorted columns, for all series at once.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from numbers import Integral
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd

from tsfusion.data.frames import as_frame, numbers
from tsfusion.data.roles import Roles
from tsfusion.evaluation._audited import Data, HeldOut, Subject, fit_noted, fresh, plain, replaced
from tsfusion.evaluation._copies import Pairs, correlations, cuts_range
from tsfusion.exceptions import TsfusionWarning
from tsfusion.prediction import UNBOUNDED, known_end

__all__ = ["LeakageError", "LeakageReport", "audit_leakage"]

Verdict = Literal["pass", "leak", "warning", "not checked"]
_VERDICTS = ("leak", "warning", "pass", "not checked")

# Correlations of changes, squared, from which a column counts as the target itself (|r| > 0.999)
# or as suspiciously near it.
_COPY, _NEAR = 0.998, 0.98
# A column with more distinct numbers than this is not read as categories.
_FEW_VALUES = 32
# With fewer rows, no order of two categories is too rare for an accident.
_ROWS_TO_JUDGE = 44
# Steps of the fits that only show what a network is taught, not how well.
_SHORT_FIT = 4


class LeakageError(ValueError):
    """An audit found a leak; the message is its summary."""


class _Finding(NamedTuple):
    check: str
    verdict: Verdict
    detail: str
    column: Any = None
    series: Any = None
    time: Any = None


@dataclass(frozen=True, eq=False, repr=False)
class LeakageReport:
    """What an audit found.

    Attributes
    ----------
    findings : DataFrame
        One row per finding: ``check``, ``verdict`` ("pass", "leak", "warning" or "not checked"),
        ``detail`` in plain words, and the first ``column``, ``series`` and ``time`` concerned (the
        cutoff where nothing was found), None where there is none.
    """

    findings: pd.DataFrame

    @property
    def passed(self) -> bool:
        """Whether no check found a leak; `findings` tells what was not checked."""
        return not (self.findings["verdict"] == "leak").any()

    def check(self) -> LeakageReport:
        """Return the report itself, or raise `LeakageError` if a leak was found."""
        if not self.passed:
            raise LeakageError(self.summary())
        return self

    def summary(self) -> str:
        """Say in plain words what was found, leaks first."""
        lines = [self._counts() + "."]
        for verdict in _VERDICTS:
            chosen = self.findings[self.findings["verdict"] == verdict]
            lines += [f"{verdict}: {_line(finding)}" for finding in chosen.itertuples()]
        return "\n".join(lines)

    def _counts(self) -> str:
        leaks, warned, passed, rest = (
            int((self.findings["verdict"] == verdict).sum()) for verdict in _VERDICTS
        )
        return (
            f"{leaks} leak{'s' * (leaks != 1)}, {warned} warning{'s' * (warned != 1)}, "
            f"{passed} passed, {rest} not checked"
        )

    def __repr__(self) -> str:
        found = self.findings[self.findings["verdict"].isin(["leak", "warning"])]
        lines = [f"  {finding.verdict}: {_line(finding)}" for finding in found.itertuples()]
        return "\n".join([f"LeakageReport({self._counts()})", *lines])


def _line(finding: Any) -> str:
    places = [
        f"{name} {value!r}" if name != "time" else f"{value}"
        for name in ("column", "series", "time")
        if _given(value := getattr(finding, name))
    ]
    where = f" ({', '.join(places)})" if places else ""
    return f"{finding.check}{where}: {finding.detail}."


def _given(value: Any) -> bool:
    return isinstance(value, tuple) or not pd.isna(value)


def audit_leakage(
    estimator: Any, df: Any, y: Any = None, *, cutoffs: Any = 3, horizon: int | None = None,
    time: Any = None, series: Any = None, target: Any = None, known: Any = None,
    observed: Any = None, static: Any = None, freq: Any = None, cv: Any = None, test: Any = None,
    reach: int = 0, refit: bool = True, random_state: int = 0,
) -> LeakageReport:  # fmt: skip
    """Look for ways in which the future reaches a forecast.

    The estimator is called as you would call it: ``fit(df, y)``, or ``fit(df)`` where y is None.

    - *forecasts*: what target and observed columns hold after a cutoff is changed; forecasts made
      at the cutoff must stay the same. A `FusionForecaster` gets its history as ``context=``.
      Another estimator is asked for all rows up to the horizon after the cutoff; one that is not
      fitted is fitted on the rows up to the cutoff first.
    - *backcasts* (`FusionForecaster`): a memory that holds the future must not change the answers
      for rows up to one step after the cutoff.
    - *validation tail* (`FusionForecaster`): two fits of one epoch, which leaves early stopping
      nothing to decide, one of them with another validation tail, must forecast alike: scalers,
      vocabularies, units and weights come from the rows before the tail.
    - *transformers* (`Pipeline`): transformed rows up to a cutoff must not change with what target
      and observed columns hold after it (a leak) or known columns do (a warning: they must then be
      known that far ahead).
    - *fitted transformers* (fitted `Pipeline`, ``test``): refitted on ``df``, the transformers must
      transform it as the given ones do.
    - *training rows* (fitted `FusionForecaster`, ``test``): its memory must end before ``test``.
    - *split* (``cv`` or ``test``): training rows must lie before the test rows of their series.
    - *static columns*: one value per series.
    - *known columns*: a column whose changes are those of the target at the same time, later, or
      less than a horizon ago (correlation above 0.999, in one series or over all) is a leak; a
      squared correlation above 0.98 is a warning, and so are categories that cut the range of the
      target, or of its changes, into touching pieces in half of the series or more. A column that
      the target at least one horizon ago explains as well could have been known, and passes.

    Parameters
    ----------
    estimator : FusionForecaster, Pipeline or estimator with fit and predict
        Fitted or not; never changed. A fitted one is examined as it is.
    df : DataFrame of R rows
        The data to fit on, in any order; the training rows where ``test`` is given. Tables of
        other libraries reach the estimator as pandas DataFrames.
    y : array-like of shape (R,), default=None
        The target in the order of ``df``; None takes the ``target`` column.
    cutoffs : int or list of times, default=3
        The last time that a forecast may know of; a number spreads as many over the later half.
    horizon : int, default=None
        Steps to forecast; None takes the `FusionForecaster`'s own, and 1 for other estimators.
    time, series, target, known, observed, static, freq : default=None
        The columns' parts and the frequency, as in `FusionForecaster`. None takes the
        `FusionForecaster`'s own; in a pipeline the names of its columns may carry the prefix of a
        transformer, and ``known`` is every column of ``df`` without another part.
    cv : splitter or iterable of (train, test) row numbers, default=None
        The split to examine.
    test : DataFrame, default=None
        The rows held out: time, series and the columns that the estimator reads.
    reach : int, default=0
        How many steps after its own time a row's target lies, for ``cv`` and ``test``: 0 for rows
        that hold the target of their time, the horizon for windows.
    refit : bool, default=True
        Whether fits are allowed; without them the validation tail and the fitted transformers are
        not checked, and the estimator must be fitted.
    random_state : int, default=0
        Seed of the changes, and of estimators whose own ``random_state`` is None.

    Returns
    -------
    LeakageReport

    Raises
    ------
    TypeError, ValueError
        If the estimator cannot fit and predict, a column is not there, there is no target, a cutoff
        leaves no rows on one side, or the data are too short for the horizon. Errors of the
        estimator itself pass through with a note.

    Notes
    -----
    A pass of a forecast check means that no answer changed at these cutoffs with these columns. It
    cannot see data that the estimator got by another way than fit and predict, nor a "known" column
    that was made from the target by a sum or a ratio. Rows that count as not checked are listed.
    Costs R rows times three horizons per known column, a few predictions per cutoff, and two fits
    of at most 4 steps for a `FusionForecaster`, one full fit per cutoff for another estimator that
    is not fitted.

    References
    ----------
    Kaufman, Rosset, Perlich and Stitelman (2012), "Leakage in data mining: formulation, detection,
    and avoidance", ACM Transactions on Knowledge Discovery from Data 6(4).

    Examples
    --------
    >>> import numpy as np, pandas as pd
    >>> from sklearn.linear_model import LinearRegression
    >>> from tsfusion.evaluation import audit_leakage
    >>> sales = np.random.default_rng(0).normal(size=100)
    >>> X = pd.DataFrame({"day": np.arange(100), "tomorrow": np.roll(sales, -1)})
    >>> audit_leakage(LinearRegression(), X, sales, time="day")
    LeakageReport(1 leak, 0 warnings, 3 passed, 2 not checked)
      leak: known columns (column 'tomorrow'): it is the target of 1 step later: ...
    """
    subject = Subject.of(estimator, random_state)
    if not subject.fitted and not refit:
        raise ValueError(
            f"refit=False needs a fitted estimator, received a {type(estimator).__name__} that is "
            "not: fit it first, or allow refit=True."
        )
    given = {"time": time, "series": series, "target": target, "known": known}
    given |= {"observed": observed, "static": static}
    data = Data.read(subject, df, y, given, freq)
    steps = _whole("horizon", subject.horizon if horizon is None else horizon, 1)
    reach = _whole("reach", reach, 0)
    places = _places(data, cutoffs, steps)
    held_out = None if test is None else HeldOut.read(data, test)
    findings = [*_static_columns(data)]
    sound = all(finding.verdict != "leak" for finding in findings)
    findings += _known_columns(data, steps)
    findings += _split(data, cv, held_out, reach)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", TsfusionWarning)
        if subject.is_forecaster:
            findings.append(_training_rows(subject, data, held_out))
        if subject.prep is not None:
            findings.append(_fitted_transformers(subject, data, held_out, refit))
        if subject.is_forecaster and not sound:
            why = "a static column varies, which the forecaster refuses"
            findings += [_Finding(name, "not checked", why) for name in _FORECASTER_CHECKS]
        else:
            findings += _future(subject, data, places, steps, refit)
    return LeakageReport(pd.DataFrame(findings, columns=list(_Finding._fields), dtype=object))


_FORECASTER_CHECKS = ("validation tail", "forecasts", "backcasts")


def _places(data: Data, asked: Any, horizon: int) -> list[int]:
    """Return the cutoffs as indices of the distinct times."""
    n = len(data.times)
    if isinstance(asked, Integral):
        asked = _whole("cutoffs", asked, 1)
        last = n - 1 - horizon
        if last < 0:
            raise ValueError(
                f"df: expected more than {horizon} distinct times for a horizon of {horizon}, "
                f"received {n}. Pass a smaller horizon= or more rows."
            )
        first = min(n // 2, last)
        return np.unique(np.linspace(first, last, asked).round().astype(int)).tolist()
    listed = isinstance(asked, (list, tuple, np.ndarray, pd.Index, pd.Series))
    return sorted({_place(data, time) for time in (asked if listed else [asked])})


def _place(data: Data, time: Any) -> int:
    first, last = data.times[0], data.times[-1]
    try:
        # NumPy would compare a number with text, as text.
        place = data.place(time if data.encoder.timeline.is_datetime else float(time))
    except (TypeError, ValueError) as error:
        raise TypeError(
            f"cutoffs: expected times such as {first}, received {time!r} ({error})."
        ) from error
    if not 0 <= place < len(data.times) - 1:
        raise ValueError(
            f"cutoffs: expected times from {first} on and before {last}, received {time!r}: there "
            "must be rows on both sides."
        )
    return place


def _whole(name: str, value: Any, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise ValueError(f"{name}: expected an integer >= {least}, received {value!r}.")
    return int(value)


# The future changed


def _future(
    subject: Subject, data: Data, places: list[int], horizon: int, refit: bool
) -> Iterator[_Finding]:
    """Change what lies after each cutoff, and ask again."""
    if subject.is_forecaster:
        everything = np.ones(len(data.frame), bool)
        ready = subject if subject.fitted else subject.prepared(data, everything)[0]
        if refit:
            table = as_frame(ready.transform(data.frame))
            brief = ready.taught(_short(subject), table, data.y)
            yield _validation_tail(brief, data, table)
            # What a forecaster reads does not hang on how long it was trained.
            ready = ready if subject.fitted else brief
        else:
            yield _Finding("validation tail", "not checked", "needs fits, and refit=False")
        subject = ready
    for place in places:
        cutoff = data.steps[place]
        end = data.steps[min(place + horizon, len(data.steps) - 1)]
        fitted = subject if subject.fitted else subject.fit(data, data.step <= cutoff)
        if fitted.prep is not None:
            yield _transformers(fitted, data, cutoff, end)
        if not fitted.is_forecaster:
            yield _predictions(fitted, data, cutoff, end)
            continue
        yield _forecasts(fitted, data, cutoff, end)
        yield _backcasts(fitted, data, cutoff, end, horizon)


def _predictions(subject: Subject, data: Data, cutoff: int, end: int) -> _Finding:
    window = data.step <= end

    def answer(frame: pd.DataFrame, y: pd.Series | None) -> pd.DataFrame:
        return subject.predict(subject.transform(frame[window]))

    return _unchanged("forecasts", data, cutoff, window, answer, subject.seed)


def _forecasts(subject: Subject, data: Data, cutoff: int, end: int) -> _Finding:
    asked = (data.after(cutoff) > 0) & (data.step <= end)
    early = data.step <= cutoff
    context = subject.history(data.frame[early], data.y_of(early))

    def answer(frame: pd.DataFrame, y: pd.Series | None) -> pd.DataFrame:
        return subject.predict(subject.transform(frame[asked]), context=context)

    return _unchanged("forecasts", data, cutoff, asked, answer, subject.seed)


def _backcasts(subject: Subject, data: Data, cutoff: int, end: int, horizon: int) -> _Finding:
    if data.roles.time is None:
        return _Finding(
            "backcasts", "not checked", "without a time column no row of the past can be asked for"
        )
    window = data.step <= end
    after = data.after(cutoff)
    # One step past the cutoff is answered from the last known target at or before it.
    asked = window & (data.step > cutoff - horizon) & ((after == 0) | (after == 1))

    def answer(frame: pd.DataFrame, y: pd.Series | None) -> pd.DataFrame:
        memory = subject.history(frame[window], None if y is None else y[window])
        rows = as_frame(subject.transform(frame[window]))[asked[window]]
        return subject.predict(rows, context=memory)

    return _unchanged("backcasts", data, cutoff, asked, answer, subject.seed, hidden=True)


def _transformers(subject: Subject, data: Data, cutoff: int, end: int) -> _Finding:
    """Compare transformed rows up to a cutoff; name the first transformer that mixes rows."""
    window, asked = data.step <= end, data.step <= cutoff
    kept = asked[window]
    blank = [
        name
        for name in data.unknown
        if name in data.frame.columns
        and pd.api.types.is_float_dtype(data.frame[name].dtype)
        and data.frame[name].isna().any()
    ]

    def mixed(steps: int, columns: list[Any]) -> _Finding:
        def answer(frame: pd.DataFrame, y: pd.Series | None) -> pd.DataFrame:
            # A gap at the cutoff is what a backward fill or an interpolation would close.
            gap = frame[window].copy()
            gap.loc[data.step[window] == cutoff, blank] = np.nan
            return _as_table(subject.transform(gap, steps))[kept]

        return _unchanged(
            "transformers", data, cutoff, asked, answer, subject.seed, columns=columns
        )

    every, last = [*data.unknown, *data.roles.known], len(subject.prep)
    found = mixed(last, every)
    if found.verdict != "leak":
        return found
    strict = mixed(last, data.unknown)
    if strict.verdict == "leak":
        found, every = strict, data.unknown
    guilty = next(k for k in range(1, last + 1) if mixed(k, every).verdict == "leak")
    detail = f"step {subject.prep.steps[guilty - 1][0]!r}: {found.detail}"
    if strict.verdict == "leak":
        return found._replace(detail=detail)
    return found._replace(
        verdict="warning", detail=f"{detail}; these columns must be known that far ahead"
    )


_Answer = Callable[[pd.DataFrame, "pd.Series | None"], pd.DataFrame]
_WORDS = {
    "forecasts": ("predictions", "the model reads what is not known yet"),
    "backcasts": ("answers from a memory that holds the future", "the future reaches back"),
    "transformers": ("transformed rows", "later rows reach earlier ones"),
}


def _unchanged(
    check: str, data: Data, cutoff: int, asked: np.ndarray, answer: _Answer, seed: int, *,
    columns: list[Any] | None = None, hidden: bool = False,
) -> _Finding:  # fmt: skip
    """Compare answers before and after the columns are changed past the cutoff.

    ``answer`` gives one row for each asked row. A target that is not in the frame can only matter
    if it is ``hidden`` in what the answer is made from.
    """
    columns = data.unknown if columns is None else columns
    columns = [name for name in columns if name in data.frame.columns or hidden]
    time = data.times[data.steps.searchsorted(cutoff)]
    what, why = _WORDS[check]
    if not asked.any():
        detail = "no series has both a known target up to the cutoff and the rows after it"
        return _Finding(check, "not checked", detail, time=time)
    if not columns:
        detail = "known columns alone are given to it: there is nothing to change"
        return _Finding(check, "pass", detail, time=time)
    late = data.step > cutoff
    usual = answer(data.frame, data.y)

    def moved(names: list[Any]) -> np.ndarray:
        return _differ(usual, answer(*data.perturbed(names, late, seed)))

    wrong = moved(columns)
    n = int(asked.sum())
    if not wrong.any():
        detail = f"{n} {what} stay the same, whatever {_holding(columns)} after the cutoff"
        return _Finding(check, "pass", detail, time=time)
    if _differ(usual, answer(data.frame, data.y)).any():
        detail = "two answers to the same question differ: set a random_state"
        return _Finding(check, "not checked", detail, time=time)
    blamed = [name for name in columns if moved([name]).any()] or columns
    row = np.flatnonzero(asked)[wrong.argmax()]
    detail = (
        f"{int(wrong.sum())} of {n} {what} change with what {_holding(blamed)} after the "
        f"cutoff {time}: {why}"
    )
    return _Finding(
        check, "leak", detail, blamed[0], data.label(data.series[row]), _time(data, row)
    )


def _time(data: Data, row: int) -> Any:
    return data.times[data.steps.searchsorted(data.step[row])]


def _listed(names: list[Any]) -> str:
    return ", ".join(repr(name) for name in names)


def _holding(names: list[Any]) -> str:
    return f"{_listed(names)} hold{'s' * (len(names) == 1)}"


def _as_table(table: Any) -> pd.DataFrame:
    if hasattr(table, "toarray"):
        table = table.toarray()
    return table if isinstance(table, pd.DataFrame) else pd.DataFrame(np.asarray(table))


def _differ(a: pd.DataFrame, b: pd.DataFrame) -> np.ndarray:
    """Return (R,) whether rows differ by more than rounding; NaN equals NaN."""
    if list(a.columns) != list(b.columns):
        return np.ones(len(a), bool)
    result = np.zeros(len(a), bool)
    for i in range(a.shape[1]):
        one, two = a.iloc[:, i], b.iloc[:, i]
        if pd.api.types.is_numeric_dtype(one.dtype) and pd.api.types.is_numeric_dtype(two.dtype):
            x, z = (column.to_numpy(np.float64, na_value=np.nan) for column in (one, two))
            size = np.nanmax(np.abs(x), initial=0)
            result |= ~np.isclose(x, z, rtol=1e-6, atol=1e-9 * size, equal_nan=True)
        else:
            x, z = one.to_numpy(object), two.to_numpy(object)
            result |= (x != z) & ~(pd.isna(x) & pd.isna(z))
    return result


# What fits learn


def _short(subject: Subject) -> Any:
    """Return an unfitted forecaster of one epoch: early stopping has nothing to choose from."""
    model = fresh(subject.model, subject.seed)
    steps = min(model.steps_per_epoch or _SHORT_FIT, _SHORT_FIT)
    return model.set_params(max_epochs=1, steps_per_epoch=steps, callbacks=None, verbose=0)


def _validation_tail(brief: Subject, data: Data, table: pd.DataFrame) -> _Finding:
    """Fit once more with another validation tail; compare forecasts from one history.

    ``brief`` is fitted on ``table``, all transformed rows.
    """
    check = "validation tail"
    encoder = brief.model._fitted.encoder
    if encoder.boundary is None:
        detail = "the forecaster keeps no validation tail of these rows"
        return _Finding(check, "not checked", detail)
    first = encoder.timeline.times(np.array([encoder.boundary]))[0]
    start = data.steps[data.place(first)]
    before, after = data.step < start, data.after(start - 1)
    asked = (after > 0) & (after <= brief.horizon)
    if not asked.any():
        detail = "no series has rows on both sides of the tail's beginning"
        return _Finding(check, "not checked", detail, time=first)
    context = brief.history(data.frame[before], data.y_of(before))

    def moved(table: pd.DataFrame, y: pd.Series | None) -> np.ndarray:
        again = brief.taught(_short(brief), table, y)
        return _differ(*(one.predict(rows, context=context) for one in (brief, again)))

    rows, n = table[asked], int(asked.sum())
    wrong = moved(*_another_tail(data, table, encoder.roles, ~before, brief.seed))
    if not wrong.any():
        detail = f"{n} forecasts stay the same, whatever the tail holds while it is fitted"
        return _Finding(check, "pass", detail, time=first)
    if moved(table, data.y).any():
        return _Finding(check, "not checked", "two fits on the same rows differ", time=first)
    detail = f"{int(wrong.sum())} of {n} forecasts change with what the tail holds"
    return _Finding(check, "leak", detail, time=first)


def _another_tail(
    data: Data, table: pd.DataFrame, roles: Roles, late: np.ndarray, seed: int
) -> tuple[pd.DataFrame, pd.Series | None]:
    """Return transformed rows and y with other values in the late ones, new categories too."""
    other, rng = table.copy(), np.random.default_rng(seed)
    for name in (*roles.known, *roles.observed, roles.target):
        if name in table.columns:
            bounds = data.bounds if name == roles.target else UNBOUNDED
            other[name] = replaced(other[name], late, rng, unseen=True, bounds=bounds)
    return other, None if data.y is None else replaced(data.y, late, rng, bounds=data.bounds)


def _fitted_transformers(
    subject: Subject, data: Data, test: HeldOut | None, refit: bool
) -> _Finding:
    """Compare the given transformers with copies fitted on the training rows."""
    check = "fitted transformers"
    if not subject.fitted or test is None or not refit:
        detail = "needs a fitted pipeline, its training rows as df, the rows after them as test="
        return _Finding(check, "not checked", detail + ("" if refit else ", and refit=True"))

    def fitted_on(frame: pd.DataFrame, y: pd.Series | None) -> Subject:
        twin = replace(subject, prep=fresh(subject.prep, subject.seed))
        fit_noted(twin.prep.fit, frame, y)
        return twin

    def step_that_differs(twin: Subject) -> int | None:
        for steps in range(1, len(subject.prep) + 1):
            pair = (_as_table(one.transform(data.frame, steps)) for one in (subject, twin))
            if _differ(*pair).any():
                return steps
        return None

    steps = step_that_differs(fitted_on(data.frame, data.y))
    if steps is None:
        return _Finding(check, "pass", "they transform df as copies fitted on df do")
    name = subject.prep.steps[steps - 1][0]
    both = _joined(data, test)
    if both is not None and step_that_differs(fitted_on(*both)) is None:
        detail = f"step {name!r} was fitted on the test rows too: fit the pipeline on df alone"
        return _Finding(check, "leak", detail)
    detail = f"step {name!r} was fitted on other rows than df, or its fit is random"
    return _Finding(check, "warning", detail)


def _joined(data: Data, test: HeldOut) -> tuple[pd.DataFrame, pd.Series | None] | None:
    """Return training and test rows together, or None where test lacks columns or the target."""
    wanted = [*data.frame.columns]
    target = data.roles.target
    if not set(wanted) <= set(test.frame.columns):
        return None
    frame = pd.concat([data.frame, test.frame[wanted]])
    if data.y is None:
        return frame, None
    if target not in test.frame.columns:
        return None
    return frame, pd.concat([data.y, test.frame[target].astype(np.float64)])


def _training_rows(subject: Subject, data: Data, test: HeldOut | None) -> _Finding:
    """Compare the end of a fitted forecaster's memory with the beginning of the test rows."""
    check = "training rows"
    if not subject.fitted or test is None or data.roles.time is None:
        return _Finding(
            check, "not checked", "needs a fitted forecaster with a time, and the rows as test="
        )
    memory, timeline = subject.model._memory, subject.model._fitted.encoder.timeline
    end = known_end(memory)
    has = np.flatnonzero(end >= 0)
    found = memory.labels[has].get_indexer(test.rows.labels[test.rows.series])
    last = timeline.times(memory.ordinal[end[has]])
    late = (found >= 0) & np.asarray(last[found] >= test.times)
    if not late.any():
        return _Finding(check, "pass", "the forecaster's memory ends before the test rows")
    row = int(late.argmax())
    detail = (
        f"its memory holds targets up to {last[found[row]]}, so {int(late.sum())} of {len(late)} "
        "test rows would be answered from test targets: fit it on the rows before, or pass context="
    )
    label = plain(test.rows.labels[test.rows.series[row]]) if data.roles.series else None
    return _Finding(check, "leak", detail, None, label, test.times[row])


# Splits


def _split(data: Data, cv: Any, test: HeldOut | None, reach: int) -> Iterator[_Finding]:
    if cv is None and test is None:
        yield _Finding("split", "not checked", "needs cv= or test=")
    if test is not None:
        if data.roles.time is None:
            yield _Finding("split", "not checked", "without a time column test rows simply follow")
        else:
            train = (data.rows.series, data.rows.ordinal)
            held = (test.rows.series, test.rows.ordinal)
            yield _apart(data, train, held, test.rows.labels, test.times, reach, "test")
    if cv is None:
        return
    of_row = data.times[data.steps.searchsorted(data.step)]
    pairs = cv.split(data.frame, data.y) if hasattr(cv, "split") else cv
    for number, (train, held) in enumerate(pairs):
        yield _apart(
            data,
            (data.series[train], data.step[train]),
            (data.series[held], data.step[held]),
            data.rows.labels,
            of_row[held],
            reach,
            f"split {number}",
        )


def _apart(
    data: Data, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray],
    labels: pd.Index, times: pd.Index, reach: int, name: str,
) -> _Finding:  # fmt: skip
    """Compare series and steps of training and test rows; ``times`` are those of the test rows."""
    steps = np.concatenate([train[1], test[1]])
    if not data.regular:
        steps = np.unique(steps, return_inverse=True)[1]
    n, size = len(train[1]), len(labels)
    low = steps.min(initial=0)
    key = np.concatenate([train[0], test[0]]) * (steps.max(initial=0) - low + 1) + steps - low
    last = np.full(size, -np.inf)
    np.maximum.at(last, train[0], steps[:n])
    # A window at its origin t has the targets t + 1 to t + reach.
    opens = steps[n:] + min(reach, 1)
    twice = np.isin(key[n:], key[:n])
    passed = last[test[0]] >= steps[n:]
    reached = last[test[0]] + reach >= opens
    elsewhere = last.max(initial=-np.inf) + reach >= opens
    cases: tuple[tuple[np.ndarray, Verdict, str], ...] = (
        (twice, "leak", "test rows are training rows too"),
        (passed, "leak", "test rows lie before the last training row of their series"),
        (reached, "leak", f"test targets are reached by training targets {reach} steps ahead"),
        (elsewhere, "warning", "test rows lie before training rows of other series"),
    )
    for wrong, verdict, text in cases:
        if wrong.any():
            row = int(wrong.argmax())
            label = plain(labels[test[0][row]]) if data.roles.series else None
            detail = f"{name}: {int(wrong.sum())} of {len(wrong)} {text}"
            return _Finding("split", verdict, detail, None, label, times[row])
    return _Finding("split", "pass", f"{name}: every training row lies before the test rows")


# Columns


def _static_columns(data: Data) -> Iterator[_Finding]:
    check, varying = "static columns", False
    first = np.full(len(data.rows.labels), -1)
    first[data.rows.series[::-1]] = data.rows.row[::-1]
    for name in data.roles.static:
        codes = pd.factorize(data.frame[name])[0]
        wrong = codes != codes[first[data.series]]
        if wrong.any():
            varying = True
            in_time = data.rows.row[wrong[data.rows.row].argmax()]
            n = len(np.unique(data.series[wrong]))
            yield _Finding(
                check, "leak", f"it varies within {n} series: declare it as known or observed",
                name, data.label(data.series[in_time]), _time(data, in_time),
            )  # fmt: skip
    if not data.roles.static:
        yield _Finding(check, "not checked", "no column is static")
    elif not varying:
        yield _Finding(check, "pass", "each has one value per series")


def _known_columns(data: Data, horizon: int) -> Iterator[_Finding]:
    """Compare known columns with the target before, at and after their own time."""
    check, suspect = "known columns", False
    if not data.roles.known:
        yield _Finding(check, "not checked", "no column is known")
        return
    rows = data.rows
    step = data.step[rows.row]
    pairs = Pairs(rows.series, step, data.regular, len(rows.labels), rows.target)
    # What went with the target of one horizon ago, or more, can be known in time.
    longest = len(rows) - 1
    lags = range(-min(horizon, longest), min(2 * horizon, longest) + 1)
    for name in data.roles.known:
        found = None
        if name in data.roles.known_real:
            found = _copied(data, pairs, name, lags, horizon)
        if found is None:
            found = _cut(data, pairs, name, lags, horizon)
        if found is not None:
            suspect = True
            yield found
    if not suspect:
        detail = f"none of {_listed(list(data.roles.known))} gives away the target"
        yield _Finding(check, "pass", detail)


def _copied(data: Data, pairs: Pairs, name: Any, lags: range, horizon: int) -> _Finding | None:
    """Find a number whose changes are those of a target that is not known in time."""
    values = numbers(data.frame[name], name, "known")[data.rows.row]
    changes = pairs.changes(np.where(np.isfinite(values), values, np.nan))
    best, in_time = np.zeros((2, 1 + pairs.n_series))
    at = np.zeros(len(best), int)
    for lag in lags:
        found = correlations(pairs, changes, lag)
        if lag >= horizon:
            in_time = np.maximum(in_time, found)
        else:
            at[found > best] = lag
            best = np.maximum(best, found)
    leak = (best > _COPY) & (in_time <= _COPY)
    near = (best > _NEAR) & (5 * (1 - best) < 1 - in_time)
    verdict: Verdict = "leak" if leak.any() else "warning"
    wrong = leak if leak.any() else near
    if not wrong.any():
        return None
    # The first place stands for all series together.
    place = int(wrong.argmax())
    label = None if place == 0 else data.label(place - 1)
    where = f" in {int(wrong[1:].sum())} of {pairs.n_series} series" if place else ""
    near_to = "" if leak.any() else "suspiciously near to "
    detail = (
        f"it is {near_to}the target {_when(int(at[place]))}{where}: their changes have a "
        f"correlation of {np.sqrt(best[place]):.4f}, and that target is not known at the cutoff"
    )
    return _Finding("known columns", verdict, detail, name, label)


def _cut(data: Data, pairs: Pairs, name: Any, lags: range, horizon: int) -> _Finding | None:
    """Find categories that cut the range of a target not known in time into touching pieces."""
    codes, values = pd.factorize(data.frame[name])
    if name in data.roles.known_real and len(values) > _FEW_VALUES:
        return None
    codes = codes[data.rows.row]
    least = _half_of_those_that_tell(pairs, codes)
    kinds = {"the target": pairs.target, "the change of the target": pairs.target_changes}
    for what, y in kinds.items():
        order = np.lexsort((y, pairs.series))
        order = order[np.isfinite(y[order])]
        cut = {lag: cuts_range(pairs, codes, y, order, lag) for lag in lags}
        in_time = np.any([cut[lag] for lag in lags if lag >= horizon], axis=0)
        for lag in lags:
            wrong = cut[lag] & ~in_time
            # What is made from the target is so everywhere; a strong effect parts a few series.
            if lag < horizon and wrong.any() and wrong.sum() >= least:
                detail = (
                    f"its values cut the range of {what} {_when(lag)} into touching pieces in "
                    f"{int(wrong.sum())} of {pairs.n_series} series, as if they were made from it"
                )
                label = data.label(int(wrong.argmax()))
                return _Finding("known columns", "warning", detail, name, label)
    return None


def _half_of_those_that_tell(pairs: Pairs, codes: np.ndarray) -> float:
    """Return half the number of series that have two categories and rows enough to judge by."""
    known = np.isfinite(pairs.target) & (codes >= 0)
    low, high = np.full(pairs.n_series, codes.max() + 1), np.full(pairs.n_series, -1)
    np.minimum.at(low, pairs.series[known], codes[known])
    np.maximum.at(high, pairs.series[known], codes[known])
    rows = np.bincount(pairs.series[known], minlength=pairs.n_series)
    return ((low < high) & (rows >= _ROWS_TO_JUDGE)).sum() / 2


def _when(lag: int) -> str:
    if lag == 0:
        return "of the same time"
    steps = f"{abs(lag)} step{'s' * (abs(lag) > 1)}"
    return f"of {steps} {'earlier, less than a horizon ago' if lag > 0 else 'later'}"
