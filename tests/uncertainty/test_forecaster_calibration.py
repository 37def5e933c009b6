"""Calibration through the estimator: calibrate, update, forecast, predict, simulate."""

import copy
import pickle
import warnings

import keras
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone

from tests.conftest import ROLES, SMALL, small_panel
from tsfusion import CalibrationWarning, FusionForecaster
from tsfusion.quantiles import interpolate_quantiles

H = 5
START = pd.Timestamp("2024-01-01")
LEVELS = [0.05, 0.1, 0.5, 0.9, 0.95]


def day(n):
    return START + pd.Timedelta(days=n)


def before(frame, n, first=0):
    return frame[(frame["date"] >= day(first)) & (frame["date"] < day(n))]


@pytest.fixture(scope="module")
def table():
    return small_panel(n_steps=110)


@pytest.fixture(scope="module")
def trained(table, eager):
    """Fitted on 60 days; the others are its own to calibrate on and to forecast. Not changed."""
    return FusionForecaster(
        horizon=H, context_length=14, validation_size=0.25, **ROLES, **SMALL
    ).fit(before(table, 60))


@pytest.fixture
def model(trained):
    return copy.copy(trained)


def ahead(table, now):
    return before(table, now + H, now).drop(columns=["sales", "weather"])


@pytest.mark.filterwarnings("ignore::tsfusion.CalibrationWarning")
@pytest.mark.parametrize("method", ["cqr", "aci"])
def test_series_that_are_new_are_told_apart(model, table, tmp_path, method):
    def new(rows):
        return rows.assign(store="new " + rows["store"])

    known, options = before(table, 90, 60), {"method": method, "min_origins": 25}
    model.calibrate(new(known), window=7, **options)
    assert (model._calibration.series < 0).all()
    assert np.unique(model._calibration.series, return_counts=True)[1].tolist() == [7] * 3
    model.calibrate(new(known), **options)
    n = len(model._calibration.scores)
    model.save(tmp_path / "model.tsfusion")
    loaded = FusionForecaster.load(tmp_path / "model.tsfusion")
    for made in (model, loaded):
        # The same rows again, now remembered: nothing new is to be learned from them.
        made.update(new(known))
        assert len(made._calibration.scores) == n
        assert made._calibration.series.min() >= 0
        assert made._calibration.group[3:6].min() > 0, "corrected by their own scores"
        # And from what comes later is: as many errors are kept, the newest.
        last = made._calibration.origin.max()
        made.update(new(before(table, 95, 90)))
        assert len(made._calibration.scores) == n
        assert made._calibration.origin.max() == last + 5
    np.testing.assert_array_equal(model._calibration.scores, loaded._calibration.scores)


def test_scores_are_the_errors_of_forecasts_made_at_each_cutoff(model, table):
    model.calibrate(before(table, 90, 60))
    found = model._calibration
    assert found.scores.shape == (90, H, 9)
    assert (np.bincount(found.series) == 30).all()
    unit = model._fitted.units.of(model._memory.labels)
    for now in (60, 74, 87):
        rows = ahead(table, now)
        values = model.uncalibrate().predict(
            rows, context=before(table, now), quantiles=model.levels_
        )
        truth = before(table, now + H, now)["sales"].to_numpy()
        first = found.origin[found.series == 0][now - 60]
        scores = found.scores[found.origin == first].reshape(3 * H, 9)
        known = rows["date"].to_numpy() < np.datetime64(day(90))
        expected = (truth[:, None] - values) / np.repeat(unit, H)[:, None]
        np.testing.assert_allclose(scores[known], expected[known], atol=2e-4)
        assert np.isnan(scores[~known]).all()


def test_quantiles_are_moved_and_the_mean_stays(model, table):
    raw = model.forecast(ahead(table, 60), quantiles=LEVELS)
    model.calibrate(before(table, 90, 60))
    moved = model.forecast(ahead(table, 60), quantiles=LEVELS)
    pd.testing.assert_series_equal(moved["mean"], raw["mean"])
    names = [f"q{level:g}" for level in LEVELS]
    assert not np.allclose(moved[names], raw[names])
    assert (np.diff(moved[names].to_numpy(), axis=1) >= 0).all()
    values = model.predict(ahead(table, 60)[::-1], quantiles=LEVELS)
    np.testing.assert_allclose(values[::-1], moved[names], atol=1e-5)
    pd.testing.assert_frame_equal(
        model.uncalibrate().forecast(ahead(table, 60), quantiles=LEVELS), raw
    )


def test_calibrated_intervals_cover_rows_to_come(model, table):
    """Calibrated on 30 days of each of three series, and rolled over twenty more."""
    asked = [0.1, 0.9]
    raw, moved = [], []
    model.update(before(table, 60, 59))
    rolling = copy.copy(model).calibrate(before(table, 90, 60)).update(before(table, 90, 60))
    model.update(before(table, 90, 60))
    for now in range(90, 105, 5):
        rows, truth = ahead(table, now), before(table, now + H, now)["sales"].to_numpy()
        for forecaster, found in ((model, raw), (rolling, moved)):
            low, high = forecaster.predict(rows, quantiles=asked).T
            found.append((truth >= low) & (truth <= high))
            forecaster.update(before(table, now + H, now))
    assert abs(np.mean(moved) - 0.8) < 0.16
    assert abs(np.mean(moved) - 0.8) <= abs(np.mean(raw) - 0.8)


def test_calibrate_adds_nothing_to_the_memory_and_leaves_the_network(model, table):
    memory = model._memory
    weights = [np.array(weight) for weight in model.model_.get_weights()]
    model.calibrate(before(table, 90, 60))
    assert model._memory is memory
    for one, other in zip(weights, model.model_.get_weights()):
        np.testing.assert_array_equal(one, other)


def test_update_rolls_the_same_in_one_go_and_day_by_day(model, table):
    model.calibrate(before(table, 75, 60))
    model.update(before(table, 75, 60))
    other = copy.copy(model)
    model.update(before(table, 84, 75))
    for now in range(75, 84):
        other.update(before(table, now + 1, now))
    one, two = model._calibration, other._calibration
    assert (np.bincount(one.series) == 15).all()
    assert len(np.unique(one.origin)) == 15
    np.testing.assert_array_equal(one.origin, two.origin)
    np.testing.assert_array_equal(one.series, two.series)
    # A day's known columns are missing until it is there: forecasts of days before must not care.
    np.testing.assert_allclose(one.scores, two.scores, atol=1e-3)


def test_calibrating_and_updating_with_the_same_rows_counts_them_once(model, table):
    rows = before(table, 85, 60)
    calibration = model.calibrate(rows)._calibration
    model.update(rows)
    np.testing.assert_array_equal(model._calibration.origin, calibration.origin)
    np.testing.assert_array_equal(model._calibration.scores, calibration.scores)


def test_what_is_not_yet_known_changes_nothing(model, table):
    rows = before(table, 90, 60).copy()
    late = rows["date"] >= day(80)
    rows.loc[late, "sales"] = np.nan
    other = copy.copy(model)
    model.calibrate(rows)
    rows.loc[late, "weather"] = 99.0
    other.calibrate(rows)
    np.testing.assert_array_equal(model._calibration.scores, other._calibration.scores)
    assert len(np.unique(model._calibration.origin)) == 20


def test_without_rows_it_takes_the_validation_tail(model, table):
    found = model.calibrate()._calibration
    boundary = model._fitted.encoder.boundary
    assert found.origin.min() == boundary
    assert len(np.unique(found.origin)) == 15
    model.update(before(table, 70, 60))
    assert len(np.unique(model._calibration.origin)) == 15
    assert model._calibration.origin.max() == boundary + 24


def test_window_keeps_the_last_cutoffs(model, table):
    found = model.calibrate(before(table, 90, 60), window=12)._calibration
    assert (np.bincount(found.series) == 12).all()
    whole = model.calibrate(before(table, 90, 60))._calibration
    np.testing.assert_array_equal(np.unique(found.origin), np.unique(whole.origin)[-12:])


def test_a_window_that_never_sees_the_last_step_is_refused(model, table):
    with pytest.raises(ValueError, match=f"at least the horizon, {H} cutoffs, received {H - 1}"):
        model.calibrate(before(table, 90, 60), window=H - 1)
    assert model.calibrate(before(table, 90, 60), window=H)._calibration is not None


@pytest.mark.parametrize(
    ("in_all", "whole", "n_series", "of_each"),
    [(90, 20, 3, 30), (89, 20, 3, 29), (60, 10, 3, 20), (59, 16, 2, 20), (20, 26, 1, 30)],
)
def test_many_cutoffs_are_thinned_by_day_then_by_series(
    model, table, monkeypatch, in_all, whole, n_series, of_each
):
    monkeypatch.setattr("tsfusion.uncertainty.origins._IN_ALL", in_all)
    monkeypatch.setattr("tsfusion.uncertainty.origins._WHOLE", whole)
    every = model.calibrate(before(table, 90, 60))._calibration
    monkeypatch.undo()
    whole = model.calibrate(before(table, 90, 60))._calibration
    assert len(whole.origin) == 90
    codes, count = np.unique(every.series, return_counts=True)
    assert (len(codes), set(count)) == (n_series, {of_each})
    # The last ones, with the scores that they have among all; each step has some.
    for code in codes:
        mine, its = every.scores[every.series == code], whole.scores[whole.series == code]
        np.testing.assert_allclose(mine, its[-of_each:], rtol=1e-5, atol=1e-6)
        assert np.isfinite(mine).any(axis=0).all()


def test_fit_and_clone_forget_it_and_pickle_keeps_it(model, table):
    model.calibrate(before(table, 90, 60))
    expected = model.forecast(ahead(table, 60))
    copied = pickle.loads(pickle.dumps(model))
    pd.testing.assert_frame_equal(copied.forecast(ahead(table, 60)), expected, rtol=1e-5)
    assert clone(model)._calibration is None
    assert copied.fit(before(table, 60))._calibration is None


def test_rows_trained_on_are_told(model, table):
    with pytest.warns(CalibrationWarning, match="of 180 rows lie within the history"):
        model.calibrate(before(table, 60))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.calibrate(before(table, 90, 60))
        model.calibrate(before(table, 60, 45))


def test_too_few_rows_are_refused_and_too_few_scores_told(model, table):
    with pytest.raises(ValueError, match="no forecast could be compared with the truth 4 steps"):
        model.calibrate(before(table, 63, 60))
    assert model._calibration is None
    model.calibrate(before(table, 68, 60))
    with pytest.warns(CalibrationWarning, match="level 0.95 needs 57 calibration scores 5 steps"):
        model.forecast(ahead(table, 60), quantiles=[0.5, 0.95])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.forecast(ahead(table, 60), quantiles=[0.2, 0.8])


def test_wrong_options_are_refused(model, table):
    rows = before(table, 90, 60)
    for options in ({"method": "magic"}, {"coverage": "all"}, {"window": 0}, {"rate": -1.0},
                    {"min_origins": True}, {"method": "aci", "coverage": "path"}):  # fmt: skip
        with pytest.raises(ValueError, match=next(iter(options))):
            model.calibrate(rows, **({} | options))
    for n_paths in (0, 2.5, True):
        with pytest.raises(ValueError, match="n_paths"):
            model.calibrate(rows).simulate(ahead(table, 60), n_paths=n_paths)


@pytest.mark.parametrize(
    "options", [{"method": "aci"}, {"method": "tracking"}, {"coverage": "path"}]
)
def test_options_go_through_update(model, table, options):
    plain = copy.copy(model).calibrate(before(table, 90, 60)).update(before(table, 95, 60))
    model.calibrate(before(table, 90, 60), **options).update(before(table, 95, 60))
    found = model.forecast(ahead(table, 95))
    assert np.isfinite(found["q0.1"]).all()
    assert not np.allclose(found["q0.9"], plain.forecast(ahead(table, 95))["q0.9"])
    if options == {"coverage": "path"}:
        assert (found["q0.9"] > plain.forecast(ahead(table, 95))["q0.9"]).all()


def test_a_series_of_context_alone_is_corrected_by_all(model, table):
    model.calibrate(before(table, 90, 60))
    context = before(table[table["store"] == "s0"], 60).assign(store="new")
    rows = ahead(table[table["store"] == "s0"], 60).assign(store="new")
    one = model.forecast(rows, context=context)
    two = model.forecast(ahead(table[table["store"] == "s0"], 60))
    # With 30 cutoffs no series has corrections of its own; the unit of a new one is the typical.
    assert (np.sign(one["q0.9"] - one["q0.1"]) > 0).all()
    assert len(one) == len(two) == H


def test_a_new_series_in_update_brings_its_scores(model, table):
    model.calibrate(before(table, 90, 60))
    model.update(before(table[table["store"] == "s0"], 60, 30).assign(store="new"))
    assert model._calibration.n_series == 4
    assert (model._calibration.series == 3).sum() == 29
    assert np.isfinite(model.forecast(
        ahead(table[table["store"] == "s0"], 60).assign(store="new"))["q0.1"]).all()  # fmt: skip


def test_simulate_needs_calibration(model, table):
    with pytest.raises(ValueError, match=r"Call calibrate\(\) first"):
        model.simulate(ahead(table, 60))


def test_paths_are_tidy_seeded_and_spread_as_the_quantiles(model, table):
    model.calibrate(before(table, 90, 60))
    rows = ahead(table, 60)
    paths = model.simulate(rows, n_paths=40, random_state=0)
    assert paths.columns.tolist() == ["store", "date", "path", "value"]
    assert len(paths) == 3 * H * 40
    assert paths.equals(paths.sort_values(["store", "path", "date"], ignore_index=True))
    pd.testing.assert_frame_equal(paths, model.simulate(rows, n_paths=40, random_state=0))
    assert not paths.equals(model.simulate(rows, n_paths=40, random_state=1))
    levels = [0.1, 0.25, 0.5, 0.9]
    limits = model.forecast(rows, quantiles=levels).set_index(["store", "date"])
    wide = paths.pivot(index=["store", "date"], columns="path", values="value").loc[limits.index]
    for level in levels:
        below = (wide.to_numpy() < limits[f"q{level:g}"].to_numpy()[:, None]).sum(axis=1)
        assert set(below) == {round(40 * level)}
    for context in (None, before(table, 60)):
        one = model.simulate(rows, n_paths=1, random_state=3, context=context)
        assert len(one) == 3 * H


def test_paths_of_a_series_hang_on_nothing_beside_it(model, table):
    model.calibrate(before(table, 90, 60))
    rows, past = ahead(table, 60), before(table, 60)
    paths = model.simulate(rows, n_paths=60, random_state=0)
    of_one = rows[rows["store"] == "s1"]
    alone = model.simulate(of_one, n_paths=60, random_state=0)
    expected = paths[paths["store"] == "s1"].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, expected, rtol=1e-6)

    def twins(table):
        one = table[table["store"] == "s1"]
        return pd.concat([one.assign(store=name) for name in ("new", "other")])

    # Of equal histories, not in memory: forecast alike, drawn apart.
    found = model.simulate(twins(rows), n_paths=60, random_state=0, context=twins(past))
    first, second = (part["value"].to_numpy() for _, part in found.groupby("store"))
    np.testing.assert_allclose(first.mean(), second.mean(), rtol=1e-2)
    assert np.corrcoef(first.reshape(60, H)[:, 0], second.reshape(60, H)[:, 0])[0, 1] < 0.5


def test_paths_are_of_the_horizon_at_most(model, table):
    model.calibrate(before(table, 90, 60))
    more = before(table, 60 + H + 1, 60)
    with pytest.raises(ValueError, match="at most the 5 steps of the horizon, received step 6"):
        model.simulate(more)
    assert len(model.simulate(before(table, 62, 60), n_paths=3)) == 3 * 2 * 3


def test_a_transformed_target_stays_in_its_domain(table, eager):
    model = FusionForecaster(
        horizon=H, context_length=14, target_transform="log1p", time="date", target="y", **SMALL
    )
    y = np.exp(np.random.default_rng(0).normal(size=120))
    frame = pd.DataFrame({"date": pd.date_range("2024-01-01", periods=120), "y": y})
    model.fit(frame[:80]).calibrate(frame[80:]).update(frame[80:])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CalibrationWarning)
        low = model.forecast(quantiles=[0.001])["q0.001"]
    assert (low > -1).all()
    assert (model.simulate(n_paths=30, random_state=0)["value"] > -1).all()


def test_rows_without_a_time_column(eager):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(80, 2)), rng.normal(size=80)
    model = FusionForecaster(horizon=3, context_length=8, **SMALL).fit(X[:50], y[:50])
    model.calibrate(X[50:70], y[50:70]).update(X[50:72], y[50:72])
    # A future that has as many rows as there are to come.
    paths = model.simulate(X[72:75], n_paths=4, random_state=0)
    assert len(paths) == 12
    assert (np.bincount(model._calibration.series) == 20).all()
    levels = interpolate_quantiles(np.array([[0.0, 1.0]]), [0.1, 0.9], [0.5])
    assert levels.item() == 0.5


def test_without_a_tail_rows_must_be_given(table, eager):
    model = FusionForecaster(horizon=H, context_length=14, validation_size=0, **ROLES, **SMALL)
    model.fit(before(table, 60))
    with pytest.raises(ValueError, match="fit kept no validation tail"):
        model.calibrate()
    with pytest.warns(CalibrationWarning, match="lie within the history"):
        model.calibrate(before(table, 60, 40))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.calibrate(before(table, 75, 60))


def test_fit_calibrates_on_its_validation_tail(model, table):
    rows = before(table, 60)
    asked = {**model.get_params(), "calibration": {"method": "aci", "min_origins": 3}}
    fitted = FusionForecaster(**asked).fit(rows)
    later = copy.copy(model).calibrate(method="aci", min_origins=3)
    pd.testing.assert_frame_equal(
        fitted.forecast(ahead(table, 60)), later.forecast(ahead(table, 60))
    )
    plain = FusionForecaster(**{**asked, "calibration": "cqr"}).fit(rows)
    assert plain._calibration.method == "cqr"
    assert clone(plain).calibration == "cqr"


class Never(keras.callbacks.Callback):
    """A training that begins is a failure."""

    def on_train_begin(self, logs=None):
        raise RuntimeError("the training began")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"calibration": "magic"}, "calibration"),
        ({"calibration": {"methods": "cqr"}}, "expected a dict of method, coverage, .*'methods'"),
        ({"calibration": {"window": 0}}, "window: expected an integer >= 1"),
        ({"calibration": {"rate": "fast"}}, "rate: expected a number"),
        ({"calibration": "cqr", "validation_size": 0.0}, "calibration='cqr': expected a valid"),
    ],
    ids=["method", "argument", "window", "rate", "no tail"],
)
def test_a_calibration_that_cannot_be_is_refused_before_training(table, options, message):
    model = FusionForecaster(
        horizon=H, context_length=14, **{**ROLES, **SMALL, "callbacks": [Never()], **options}
    )
    with pytest.raises(ValueError, match=message):
        model.fit(before(table, 60))
    assert not hasattr(model, "model_")
