"""Every check finds a leak that was planted for it, and passes where there is none."""

import copy

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.base import BaseEstimator, RegressorMixin, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import RandomForestRegressor
from sklearn.linear_model import LinearRegression
from sklearn.model_selection import KFold, TimeSeriesSplit
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

import tsfusion
from tests.conftest import ROLES, SMALL, small_panel
from tsfusion import FusionForecaster
from tsfusion.evaluation import LeakageError, audit_leakage
from tsfusion.evaluation._copies import Pairs, correlations, cuts_range

PLAIN = {key: ROLES[key] for key in ("time", "series", "observed", "static")} | {"horizon": 7}


def verdicts(report, check):
    return set(report.findings.loc[report.findings["check"] == check, "verdict"])


def leaks(report):
    return report.findings[report.findings["verdict"] == "leak"]


@pytest.fixture(scope="module")
def rows(panel):
    """The panel without its target, and the target."""
    return panel.drop(columns="sales"), panel["sales"]


@pytest.fixture(scope="module")
def halves(panel):
    early = panel["date"] < "2024-02-20"
    return panel[early], panel[~early]


# Estimators that stand in for a network; each plants one leak


class Ridge(RegressorMixin, BaseEstimator):
    """Least squares on the known columns."""

    def fit(self, X, y=None):
        y = X["sales"] if y is None else y
        self.coef_ = np.linalg.lstsq(self.features(X), np.asarray(y), rcond=None)[0]
        return self

    def predict(self, X):
        return self.features(X) @ self.coef_

    def features(self, X):
        return np.column_stack([np.ones(len(X)), X["price"], X["event"] == "fair"])


class ReadsTarget(Ridge):
    def predict(self, X):
        return super().predict(X) + 0.01 * X["sales"].to_numpy()


class ReadsWeather(Ridge):
    def features(self, X):
        return np.column_stack([super().features(X), X["weather"]])


class Random(Ridge):
    def predict(self, X):
        noise = np.random.default_rng().normal(size=len(X))
        return super().predict(X) + noise + 0 * X["sales"].to_numpy()


class Transformer(TransformerMixin, BaseEstimator):
    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return X


class BackFill(Transformer):
    def transform(self, X):
        return X.assign(weather=X.groupby("store")["weather"].bfill())


class Centered(Transformer):
    def transform(self, X):
        mean = X.groupby("store")["weather"].transform(
            lambda column: column.rolling(3, center=True, min_periods=1).mean()
        )
        return X.assign(weather=mean)


class PriceAhead(Transformer):
    def transform(self, X):
        return X.assign(tomorrow=X.groupby("store")["price"].shift(-1, fill_value=0.0))


class ScalePrice(Transformer):
    def fit(self, X, y=None):
        self.mean_ = X["price"].mean() + X["weather"].mean()
        return self

    def transform(self, X):
        return X.assign(price=X["price"] - self.mean_)


class LeakyForecaster(FusionForecaster):
    """Adds to its forecasts the mean target of their rows, its memory or all that it was taught."""

    def fit(self, X, y=None):
        super().fit(X, y)
        self.taught_ = X["sales"].mean()
        return self

    def predict(self, X, *, quantiles=None, context=None):
        usual = super().predict(X, quantiles=quantiles, context=context)
        return usual + self.leak(X, context)


class ReadsRows(LeakyForecaster):
    def leak(self, X, context):
        return X["sales"].mean()


class ReadsMemory(LeakyForecaster):
    def leak(self, X, context):
        return context["sales"].mean()


class ReadsTail(LeakyForecaster):
    def leak(self, X, context):
        return self.taught_


# Ours


def make(kind=FusionForecaster, **changes):
    return kind(**{"horizon": 7, "context_length": 21, **ROLES, **SMALL, **changes})


def test_a_fitted_forecaster_passes_every_check(eager, fitted, panel, history):
    test = panel[panel["date"] > "2024-02-22"]
    report = tsfusion.audit_leakage(fitted, history, test=test, cutoffs=2)
    assert set(report.findings["verdict"]) == {"pass"}
    assert set(report.findings["check"]) == {
        "forecasts", "backcasts", "validation tail", "training rows", "split", "static columns",
        "known columns",
    }  # fmt: skip
    assert (report.findings["check"] == "forecasts").sum() == 2
    assert report.check() is report


def test_a_pipeline_with_a_forecaster_passes_under_its_own_names(eager, panel):
    scale = ColumnTransformer([("scale", StandardScaler(), ["price"])], remainder="passthrough")
    names = {"time": "remainder__date", "series": "remainder__store", "target": "remainder__sales"}
    names |= {"known": ["scale__price", "remainder__event"], "observed": ["remainder__weather"]}
    names |= {"static": ["remainder__region", "remainder__size"]}
    pipeline = make_pipeline(scale.set_output(transform="pandas"), make(**names)).fit(panel)
    report = audit_leakage(pipeline, panel, cutoffs=1, refit=False)
    assert report.passed
    assert verdicts(report, "forecasts") == {"pass"}
    assert verdicts(report, "backcasts") == {"pass"}
    assert verdicts(report, "transformers") == {"pass"}
    assert verdicts(report, "known columns") == {"pass"}


def test_a_target_given_as_y_and_no_time_column(eager):
    X, y = np.zeros((60, 1)), np.sin(np.arange(60) / 3)
    model = FusionForecaster(horizon=4, **SMALL).fit(X, y)
    report = audit_leakage(model, X, y, cutoffs=1, refit=False)
    assert report.passed
    assert verdicts(report, "forecasts") == {"pass"}
    assert verdicts(report, "backcasts") == {"not checked"}
    assert verdicts(report, "validation tail") == {"not checked"}


@pytest.mark.parametrize(("kind", "check"), [(ReadsRows, "forecasts"), (ReadsMemory, "backcasts")])
def test_a_forecaster_that_reads_its_future(eager, fitted, history, kind, check):
    leaky = copy.copy(fitted)
    leaky.__class__ = kind
    report = audit_leakage(leaky, history, cutoffs=1, refit=False)
    assert check in set(leaks(report)["check"])
    assert set(leaks(report)["column"]) == {"sales"}


def test_a_forecaster_that_learns_from_its_validation_tail(eager):
    small = small_panel(2, 30)
    model = make_pipeline(Transformer(), make(ReadsTail, horizon=3, context_length=6))
    report = audit_leakage(model, small, cutoffs=1)
    (found,) = leaks(report).itertuples()
    assert found.check == "validation tail"
    assert found.time == pd.Timestamp("2024-01-28")


def test_gaps_and_series_that_begin_late_are_left_out(eager, fitted, history):
    gappy = history.drop(history.index[(history["store"] == "s0") & (history["date"].dt.day == 3)])
    late = gappy[(gappy["store"] != "s1") | (gappy["date"] > "2024-02-05")]
    report = audit_leakage(fitted, late, cutoffs=["2024-02-02"], refit=False)
    found = report.findings.set_index("check")
    assert found.loc["forecasts", "detail"].startswith("7 predictions stay the same")
    assert found.loc["backcasts", "detail"].startswith("15 answers")


def test_a_memory_that_holds_the_test_rows(eager, fitted, history):
    early = history["date"] < "2024-02-10"
    report = audit_leakage(fitted, history[early], test=history[~early], cutoffs=1, refit=False)
    (found,) = leaks(report).itertuples()
    assert found.check == "training rows"
    assert found.time == pd.Timestamp("2024-02-10")
    assert "up to 2024-02-22" in found.detail
    assert "39 of 39" in found.detail


# Any estimator


def test_an_estimator_that_reads_known_columns_alone_passes(rows, panel):
    for report in (
        audit_leakage(Ridge(), *rows, **PLAIN),
        audit_leakage(Ridge().fit(*rows), *rows, **PLAIN),
        audit_leakage(Ridge(), panel, target="sales", **PLAIN),
    ):
        assert report.passed
        assert (report.findings["verdict"] != "warning").all()
        assert verdicts(report, "forecasts") == {"pass"}


@pytest.mark.parametrize("fit_first", [False, True])
def test_an_estimator_that_reads_the_future_target(panel, fit_first):
    model = ReadsTarget().fit(panel) if fit_first else ReadsTarget()
    report = audit_leakage(
        model, panel, target="sales", refit=not fit_first, cutoffs=["2024-02-01"], **PLAIN
    )
    (found,) = leaks(report).itertuples()
    assert (found.check, found.column, found.series) == ("forecasts", "sales", "s0")
    assert found.time == pd.Timestamp("2024-02-02")
    assert "21 of 117 predictions change" in found.detail


def test_an_estimator_that_reads_observed_columns_of_the_future(rows):
    report = audit_leakage(ReadsWeather(), *rows, **PLAIN)
    assert leaks(report)["column"].tolist() == ["weather"] * 3
    assert audit_leakage(ReadsWeather(), *rows, **PLAIN | {"observed": None}).passed


def test_observed_categories_and_integers_are_changed_too(rows):
    class ReadsBoth(Ridge):
        def features(self, X):
            return np.column_stack([super().features(X), X["mood"] == "good", X["count"]])

    X = rows[0].assign(mood=np.where(rows[1] > 20, "good", "bad"), count=np.arange(len(rows[0])))
    roles = PLAIN | {"observed": ["mood", "count", "weather"]}
    report = audit_leakage(ReadsBoth(), X, rows[1], cutoffs=1, **roles)
    (found,) = leaks(report).itertuples()
    assert "'count', 'mood'" in found.detail
    assert "weather" not in found.detail


def test_answers_at_random_prove_nothing(panel):
    report = audit_leakage(Random(), panel, target="sales", cutoffs=1, **PLAIN)
    assert verdicts(report, "forecasts") == {"not checked"}


def test_open_seeds_are_set(rows):
    forest = RandomForestRegressor(n_estimators=2)
    select = ColumnTransformer([("price", "passthrough", ["price"])])
    assert audit_leakage(make_pipeline(select, forest), *rows, cutoffs=1, **PLAIN).passed
    assert forest.random_state is None


# Pipelines


def test_a_pipeline_fitted_on_the_test_rows_too(halves):
    train, test = halves
    for step in (ScalePrice(), OneHotEncoder(handle_unknown="ignore", sparse_output=True)):
        first = step
        model = Ridge()
        if isinstance(step, OneHotEncoder):
            first = ColumnTransformer([("codes", step, ["event", "weather"])])
            model = LinearRegression()
        y = None if model.__class__ is Ridge else "sales"
        clean = make_pipeline(first, model).fit(train, None if y is None else train[y])
        target = {"y": None, "target": "sales"} if y is None else {"y": train[y]}
        report = audit_leakage(clean, train, test=test, **target, **PLAIN)
        assert verdicts(report, "fitted transformers") == {"pass"}
        leaky = make_pipeline(first, model)
        both = pd.concat([train, test])
        leaky.fit(both, None if y is None else both[y])
        report = audit_leakage(leaky, train, test=test, **target, **PLAIN)
        assert verdicts(report, "fitted transformers") == {"leak"}
        assert f"step '{leaky.steps[0][0]}'" in leaks(report)["detail"].iloc[0]


def test_a_pipeline_fitted_on_other_rows(halves):
    train, test = halves
    model = make_pipeline(ScalePrice(), Ridge()).fit(train[20:])
    report = audit_leakage(model, train, test=test, target="sales", **PLAIN)
    assert verdicts(report, "fitted transformers") == {"warning"}
    report = audit_leakage(model, train, test=test, target="sales", refit=False, **PLAIN)
    assert verdicts(report, "fitted transformers") == {"not checked"}


def test_transformers_that_mix_rows(panel):
    holes = panel.assign(weather=panel["weather"].where(panel.index % 5 > 0))
    for step, frame in ((BackFill(), holes), (Centered(), panel)):
        pipeline = make_pipeline(Transformer(), step, Ridge())
        report = audit_leakage(pipeline, frame, target="sales", **PLAIN)
        found = leaks(report)
        assert set(found["check"]) == {"transformers"}
        assert set(found["column"]) == {"weather"}
        assert found["detail"].str.startswith(f"step '{type(step).__name__.lower()}'").all()
    clean = make_pipeline(Transformer(), ScalePrice(), Ridge())
    report = audit_leakage(clean, holes, target="sales", **PLAIN)
    assert verdicts(report, "transformers") == {"pass"}


def test_a_transformer_that_looks_ahead_in_known_columns_is_a_warning(panel):
    report = audit_leakage(make_pipeline(PriceAhead(), Ridge()), panel, target="sales", **PLAIN)
    assert report.passed
    assert verdicts(report, "transformers") == {"warning"}
    assert "known that far ahead" in report.summary()


# Splits


def test_splits_of_one_series():
    X, y = pd.DataFrame({"x": np.random.default_rng(0).normal(size=60)}), np.arange(60.0)
    for cv, expected in (
        (TimeSeriesSplit(3), {"pass"}),
        (KFold(3), {"leak", "pass"}),
        (KFold(3, shuffle=True, random_state=0), {"leak"}),
        ([(np.arange(20), np.arange(19, 30))], {"leak"}),
    ):
        report = audit_leakage(LinearRegression(), X, y, cv=cv, cutoffs=1)
        assert verdicts(report, "split") == expected
    report = audit_leakage(LinearRegression(), X, y, cv=KFold(3), cutoffs=1)
    assert leaks(report)["detail"].tolist() == [
        f"split {i}: 20 of 20 test rows lie before the last training row of their series"
        for i in (0, 1)
    ]


@pytest.mark.parametrize("gap", range(6))
def test_targets_that_reach_into_the_test_rows(gap):
    X, y = pd.DataFrame({"x": np.zeros(40)}), np.arange(40.0)
    reach, origin = 3, 20
    train, test = np.arange(origin - gap), np.arange(origin, 30)
    report = audit_leakage(LinearRegression(), X, y, cv=[(train, test)], cutoffs=1, reach=reach)
    told = {int(t + h) for t in train for h in range(1, reach + 1)}
    asked = {int(t + h) for t in test for h in range(1, reach + 1)}
    assert verdicts(report, "split") == {"leak" if told & asked else "pass"}


def test_splits_of_a_panel(rows, panel):
    by_row = audit_leakage(Ridge(), *rows, cv=TimeSeriesSplit(3), **PLAIN)
    assert verdicts(by_row, "split") == {"warning"}
    early = panel["date"] < "2024-02-10"
    by_time = [(np.flatnonzero(early), np.flatnonzero(~early))]
    assert verdicts(audit_leakage(Ridge(), *rows, cv=by_time, **PLAIN), "split") == {"pass"}
    cv = tsfusion.PanelSplit(n_splits=2, horizon=7, time="date", series="store")
    assert verdicts(audit_leakage(Ridge(), *rows, cv=cv, **PLAIN), "split") == {"pass"}


def test_test_rows_that_overlap_the_training_rows(panel):
    early = panel["date"] < "2024-02-10"
    after = panel["date"] >= "2024-02-09"
    options = {"target": "sales", **PLAIN}
    clean = audit_leakage(Ridge(), panel[early], test=panel[~early], **options)
    assert verdicts(clean, "split") == {"pass"}
    report = audit_leakage(Ridge(), panel[early], test=panel[after], **options)
    (found,) = leaks(report).itertuples()
    assert found.detail == "test: 3 of 63 test rows are training rows too"
    assert (found.series, found.time) == ("s0", pd.Timestamp("2024-02-09"))


# Columns


def test_a_static_column_that_varies(eager, panel):
    wrong = panel.assign(size=panel["size"].where(panel.index != 75, 9.0))
    report = audit_leakage(make(), wrong)
    (found,) = leaks(report).itertuples()
    assert (found.check, found.column, found.series) == ("static columns", "size", "s1")
    assert found.time == pd.Timestamp("2024-01-16")
    assert verdicts(report, "forecasts") == {"not checked"}


def by_store(values, panel, steps):
    return values.groupby(panel["store"]).shift(-steps).fillna(0.0)


PLANTED = {
    "a copy": (lambda p, y, e: y, "leak", "of the same time"),
    "a copy in other units": (lambda p, y, e: 7 - 1.8 * y, "leak", "of the same time"),
    "tomorrow": (lambda p, y, e: by_store(y, p, 1), "leak", "of 1 step later"),
    "tomorrow, about": (
        lambda p, y, e: by_store(y, p, 1) + 0.02 * e, "leak", "of 1 step later"
    ),
    "in four days, roughly": (
        lambda p, y, e: by_store(y, p, 4) + 0.08 * e, "warning", "near to the target of 4 steps"
    ),
    "yesterday, and seven days ahead": (
        lambda p, y, e: by_store(y, p, -1), "leak", "of 1 step earlier"
    ),
    "a copy in one store": (
        lambda p, y, e: y.where(p["store"] == "s2", e), "leak", "in 1 of 3 series"
    ),
    "above or below 20": (
        lambda p, y, e: np.where(y > y.groupby(p["store"]).transform("median"), "high", "low"),
        "warning", "the target of the same time",
    ),
    "up or down tomorrow": (
        lambda p, y, e: (by_store(y, p, 1) > y), "warning", "change of the target of 1 step later"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PLANTED)
def test_known_columns_made_from_the_target(rows, panel, name):
    plant, verdict, text = PLANTED[name]
    noise = pd.Series(np.random.default_rng(1).normal(size=len(panel)))
    X = rows[0].assign(planted=plant(panel, rows[1], noise))
    report = audit_leakage(Ridge(), X, rows[1], cutoffs=1, **PLAIN)
    found = report.findings[report.findings["check"] == "known columns"]
    assert found["verdict"].tolist() == [verdict]
    assert found["column"].tolist() == ["planted"]
    assert text in found["detail"].iloc[0]


HONEST = {
    "a week ago": lambda p, y, e: by_store(y, p, -7),
    "noise": lambda p, y, e: e,
    "a trend": lambda p, y, e: p.groupby("store").cumcount() * 0.1,
    "a constant": lambda p, y, e: 1.0,
    "the weekday": lambda p, y, e: p["date"].dt.day_of_week,
    "its name": lambda p, y, e: p["date"].dt.day_name(),
    "the month": lambda p, y, e: p["date"].dt.month.astype(str),
    "a mean of last week": lambda p, y, e: y.groupby(p["store"]).transform(
        lambda one: one.rolling(5).mean().shift(7).fillna(0.0)
    ),
}


@pytest.mark.parametrize("name", HONEST)
def test_known_columns_that_could_be_known(rows, panel, name):
    noise = pd.Series(np.random.default_rng(1).normal(size=len(panel)))
    X = rows[0].assign(honest=HONEST[name](panel, rows[1], noise))
    report = audit_leakage(Ridge(), X, rows[1], cutoffs=1, **PLAIN)
    assert verdicts(report, "known columns") == {"pass"}


def test_what_the_calendar_explains_is_no_copy():
    day = np.arange(120)
    y = np.sin(2 * np.pi * day / 7)
    X = pd.DataFrame({"day": day, "wave": 3 * y, "open": np.where(day % 7 < 5, "yes", "no")})
    report = audit_leakage(LinearRegression(), X[["day", "wave"]], y, time="day", horizon=7)
    assert verdicts(report, "known columns") == {"pass"}
    closed = np.where(day % 7 < 5, 50 + np.random.default_rng(0).normal(size=120), 0.0)
    pipeline = make_pipeline(ColumnTransformer([("day", "passthrough", ["day"])]), Ridge())
    pipeline.set_params(ridge=LinearRegression())
    report = audit_leakage(pipeline, X[["day", "open"]], closed, time="day")
    assert verdicts(report, "known columns") == {"pass"}


def test_a_strong_promotion_is_no_cut():
    rng = np.random.default_rng(0)
    n, days = 40, 60
    X = pd.DataFrame({"store": np.repeat(np.arange(n), days), "day": np.tile(np.arange(days), n)})
    X["promo"] = rng.random(len(X)) < 0.15
    y = rng.poisson(np.repeat(rng.gamma(4, 2, n), days) * (1 + 3 * X["promo"])).astype(float)
    select = ColumnTransformer([("promo", "passthrough", ["promo"])])
    model = make_pipeline(select, LinearRegression())
    report = audit_leakage(model, X, y, time="day", series="store", horizon=7, cutoffs=1)
    assert verdicts(report, "known columns") == {"pass"}
    X["promo"] = y > 5
    report = audit_leakage(model, X, y, time="day", series="store", horizon=7, cutoffs=1)
    (found,) = report.findings[report.findings["verdict"] == "warning"].itertuples()
    assert isinstance(found.series, int)


def test_rounding_of_a_trend_is_no_copy():
    step = np.arange(200)
    X = pd.DataFrame({"step": step, "index": 0.1 * step})
    report = audit_leakage(LinearRegression(), X, 1e6 + 0.1 * step, time="step")
    assert verdicts(report, "known columns") == {"pass"}


# The statistics, against a loop


@st.composite
def panels(draw):
    n = draw(st.integers(20, 60))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    series = np.sort(rng.integers(0, 3, n))
    step = np.concatenate([np.cumsum(rng.integers(1, 3, (series == s).sum())) for s in range(3)])
    target = rng.normal(size=n)
    target[rng.random(n) < 0.1] = np.nan
    return Pairs(series, step, draw(st.booleans()), 3, target), rng


@settings(deadline=None, max_examples=40)
@given(panels(), st.integers(-4, 4))
def test_correlations_equal_a_loop(made, lag):
    pairs, rng = made
    values = pairs.shifted(pairs.target, -1) + 0.1 * rng.normal(size=len(pairs.step))
    found = correlations(pairs, pairs.changes(values), lag)

    def changes(x):
        result = np.full(len(x), np.nan)
        for i in range(1, len(x)):
            near = pairs.step[i] - pairs.step[i - 1] == 1 or not pairs.regular
            if pairs.series[i] == pairs.series[i - 1] and near:
                result[i] = x[i] - x[i - 1]
        return result

    a, b = changes(values), changes(pairs.target)
    for s in range(3):
        both = []
        for i in range(len(a)):
            j = i - lag
            inside = 0 <= j < len(a) and pairs.series[i] == pairs.series[j] == s
            if inside and (not pairs.regular or pairs.step[i] - pairs.step[j] == lag):
                both.append((a[i], b[j]))
        both = np.array([pair for pair in both if np.isfinite(pair).all()]).reshape(-1, 2)
        expected = np.corrcoef(both.T)[0, 1] ** 2 if len(both) >= 12 else 0.0
        assert found[1 + s] == pytest.approx(expected, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(st.integers(0, 99), st.integers(2, 5), st.integers(-3, 3))
def test_categories_made_from_the_target_cut_its_range(seed, pieces, lag):
    rng = np.random.default_rng(seed)
    series, step = np.repeat([0, 1], 80), np.tile(np.arange(80), 2)
    y = rng.normal(size=160)
    pairs = Pairs(series, step, True, 2, y)
    made_from = pairs.shifted(y, lag)
    codes = np.digitize(made_from, np.quantile(y, np.arange(1, pieces) / pieces))
    codes = np.where(np.isfinite(made_from), codes, -1)
    codes[80:] = rng.permutation(codes[80:])
    order = np.lexsort((y, series))
    assert cuts_range(pairs, codes, y, order, lag).tolist() == [True, False]
    assert not cuts_range(pairs, codes, y, order, lag + 1).any()
    # A range far from the others is a level, not a cut.
    far = pairs.shifted(np.where(y > 0, y + 50, y), lag)
    pairs = Pairs(series, step, True, 2, np.where(y > 0, y + 50, y))
    levels = np.where(np.isfinite(far), far > 0, -1).astype(int)
    assert not cuts_range(pairs, levels, pairs.target, order, lag).any()


# Inputs and the report


def test_other_tables_and_indexes(rows, panel):
    usual = audit_leakage(ReadsTarget(), panel, target="sales", **PLAIN)
    for table in (pl.from_pandas(panel), pl.from_pandas(panel).to_arrow()):
        report = audit_leakage(ReadsTarget(), table, target="sales", **PLAIN)
        assert report.findings.astype(str).equals(usual.findings.astype(str))
    indexed = panel.set_index(["store", "date"])
    roles = PLAIN | {"time": None, "series": None}
    report = audit_leakage(ReadsTarget(), indexed, target="sales", **roles)
    assert report.findings.astype(str).equals(usual.findings.astype(str))
    shuffled = panel.sample(frac=1, random_state=0)
    report = audit_leakage(ReadsTarget(), shuffled, target="sales", **PLAIN)
    assert report.findings["verdict"].tolist() == usual.findings["verdict"].tolist()


def test_rows_as_steps():
    days = pd.bdate_range("2024-01-01", periods=90).delete([10, 11, 40])
    y = np.random.default_rng(0).normal(size=87)
    X = pd.DataFrame({"day": days, "next": np.roll(y, -1)})
    pipeline = make_pipeline(
        ColumnTransformer([("next", "passthrough", ["next"])]), LinearRegression()
    )
    report = audit_leakage(pipeline, X, y, freq="rows", cv=TimeSeriesSplit(2), horizon=3)
    assert verdicts(report, "split") == {"pass"}
    (found,) = leaks(report).itertuples()
    assert "of 1 step later" in found.detail


def test_the_report_in_words(panel):
    report = audit_leakage(ReadsTarget(), panel, target="sales", cutoffs=1, **PLAIN)
    assert list(report.findings.columns) == [
        "check", "verdict", "detail", "column", "series", "time",
    ]  # fmt: skip
    assert not report.passed
    assert repr(report).startswith("LeakageReport(1 leak, 0 warnings, 2 passed, 1 not checked)\n")
    lines = report.summary().splitlines()
    assert lines[0] == "1 leak, 0 warnings, 2 passed, 1 not checked."
    assert lines[1].startswith("leak: forecasts (column 'sales', series 's0', 2024-")
    assert "not checked: split: needs cv= or test=." in lines
    with pytest.raises(LeakageError, match="the model reads what is not known yet"):
        report.check()


def test_nothing_given_is_changed(panel):
    before, model = panel.copy(), ReadsTarget()
    audit_leakage(model, panel, target="sales", **PLAIN)
    pd.testing.assert_frame_equal(panel, before)
    assert vars(model) == {}


BAD = {
    "no estimator": ({"estimator": StandardScaler()}, TypeError, "fit and predict"),
    "a class": ({"estimator": Ridge}, TypeError, "fit and predict"),
    "no column": ({"time": "day"}, ValueError, "time: expected a column of X, received 'day'"),
    "no target": ({"target": None}, ValueError, "No target"),
    "a cutoff before": ({"cutoffs": ["2020-01-01"]}, ValueError, "cutoffs: expected times from"),
    "a cutoff at the end": ({"cutoffs": ["2024-02-29"]}, ValueError, "rows on both sides"),
    "a cutoff of another type": ({"cutoffs": [5]}, TypeError, "expected times such as 2024-01-01"),
    "no cutoff": ({"cutoffs": 0}, ValueError, "cutoffs: expected an integer >= 1"),
    "a horizon too long": ({"horizon": 60}, ValueError, "more than 60 distinct times"),
    "no horizon": ({"horizon": 0}, ValueError, "horizon: expected an integer >= 1"),
    "a reach below 0": ({"reach": -1}, ValueError, "reach: expected an integer >= 0"),
    "not fitted": ({"refit": False}, ValueError, "refit=False needs a fitted estimator"),
    "an array": ({"df": np.zeros((9, 2))}, ValueError, "without column names"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input(panel, case):
    changes, error, message = BAD[case]
    arguments = {"estimator": Ridge(), "df": panel, "target": "sales", **PLAIN, **changes}
    with pytest.raises(error, match=message):
        audit_leakage(**arguments)


def test_a_cutoff_among_numbers_must_be_one():
    X, y = pd.DataFrame({"x": np.zeros(40)}), np.arange(40.0)
    with pytest.raises(TypeError, match="expected times such as 0, received 'a'"):
        audit_leakage(LinearRegression(), X, y, cutoffs=["a"])


def test_the_estimators_own_errors_come_with_a_note(panel):
    with pytest.raises(TypeError) as caught:
        audit_leakage(LinearRegression(), panel, target="sales", **PLAIN)
    assert any("audit_leakage called fit(X)" in note for note in caught.value.__notes__)

    class Short(Ridge):
        def predict(self, X):
            return super().predict(X)[:-1]

    with pytest.raises(ValueError, match="one answer per row: predict returned"):
        audit_leakage(Short(), panel, target="sales", **PLAIN)
