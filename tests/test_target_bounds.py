"""Targets with a least or a greatest value: nothing that is forecast leaves them."""

import pickle

import numpy as np
import pytest

from tests.conftest import ROLES, SMALL, small_panel
from tsfusion import FusionForecaster, audit_leakage
from tsfusion.quantiles import mean_of_quantiles

pytestmark = pytest.mark.usefixtures("eager")

CUT = "2024-02-23"
LEVELS = [0.01, 0.1, 0.5, 0.9, 0.99]
# Most forecasts of the panel lie between them, and both cut off some.
LEAST, MOST = 14.0, 30.0


def make(**changes):
    return FusionForecaster(**{"horizon": 7, "context_length": 14, **ROLES, **SMALL, **changes})


@pytest.fixture(scope="module")
def table():
    frame = small_panel()
    return frame.assign(sales=frame["sales"].clip(LEAST, MOST))


@pytest.fixture(scope="module")
def history(table):
    return table[table["date"] < CUT].reset_index(drop=True)


@pytest.fixture(scope="module")
def future(table):
    return table.loc[table["date"] >= CUT, ["store", "date", "price", "event"]]


@pytest.fixture(scope="module")
def free(history, eager):
    return make().fit(history)


@pytest.fixture(scope="module")
def bounded(history, eager):
    return make(target_bounds=(LEAST, MOST)).fit(history)


def test_quantiles_are_those_without_bounds_moved_to_the_nearest_one(free, bounded, future):
    found = bounded.predict(future, quantiles=LEVELS)
    expected = free.predict(future, quantiles=LEVELS)
    assert (expected < LEAST).any()
    assert (expected > MOST).any()
    np.testing.assert_array_equal(found, expected.clip(LEAST, MOST))


def test_the_mean_is_that_of_the_bounded_quantiles(free, bounded, future):
    table = bounded.forecast(future=future, quantiles=bounded.levels_)
    values = table[[f"q{level:g}" for level in bounded.levels_]].to_numpy()
    np.testing.assert_allclose(table["mean"], mean_of_quantiles(values, bounded.levels_))
    others = free.forecast(future=future)
    assert not np.allclose(table["mean"], others["mean"])


def test_one_bound_alone_leaves_the_other_side_as_it_is(free, history, future):
    least = make(target_bounds=[LEAST, None]).fit(history)
    found = least.forecast(future=future, quantiles=LEVELS)
    expected = free.forecast(future=future, quantiles=LEVELS)
    np.testing.assert_array_equal(found["q0.99"], expected["q0.99"].clip(lower=LEAST))
    assert found["q0.99"].max() > MOST


def test_paths_and_calibrated_quantiles_stay_within(free, bounded, history, future):
    # Scores are of the network's quantiles: the bounds change no coverage of what lies within.
    before, after = (
        pickle.loads(pickle.dumps(model)).calibrate(history) for model in (free, bounded)
    )
    found = after.forecast(future=future, quantiles=LEVELS).filter(like="q0").to_numpy()
    expected = before.forecast(future=future, quantiles=LEVELS).filter(like="q0").to_numpy()
    np.testing.assert_array_equal(found, expected.clip(LEAST, MOST))
    paths, others = (m.simulate(future, n_paths=50, random_state=0) for m in (after, before))
    np.testing.assert_array_equal(paths["value"], others["value"].clip(LEAST, MOST))


def test_explanations_are_of_the_same_forecasts(bounded, free):
    asked = {
        "methods": ("attribution",), "horizons": 7, "quantile": 0.1, "max_windows": 8,
        "baselines": 1,
    }  # fmt: skip
    found, same = (model.explain(**asked) for model in (bounded, free))
    assert (same.forecast["q0.1"] < LEAST).any()
    for name in ("median", "q0.1"):
        expected = same.forecast[name].clip(LEAST, MOST)
        np.testing.assert_array_equal(found.forecast[name], expected)
    # What moved a forecast is told of it as it was before the bounds.
    np.testing.assert_array_equal(found.attribution["value"], same.attribution["value"])


def test_files_and_pickles_keep_the_bounds(bounded, future, tmp_path):
    bounded.save(tmp_path / "bounded.tsf")
    expected = bounded.predict(future.groupby("store").head(7), quantiles=[0.01, 0.99])
    for model in (FusionForecaster.load(tmp_path / "bounded.tsf"),
                  pickle.loads(pickle.dumps(bounded))):  # fmt: skip
        found = model.predict(future.groupby("store").head(7), quantiles=[0.01, 0.99])
        np.testing.assert_array_equal(found, expected)
    # Like all that is learned, they hold until the next fit.
    model.set_params(target_bounds=None)
    np.testing.assert_array_equal(
        model.predict(future.groupby("store").head(7), quantiles=[0.01, 0.99]), expected
    )


@pytest.mark.parametrize(
    "given", [5, (0,), (0, 1, 2), (1, 1), (2, 1), ("0", None), (np.nan, 1), (True, 5)]
)
def test_bad_bounds(given, history):
    with pytest.raises(ValueError, match="target_bounds"):
        make(target_bounds=given).fit(history)


def test_targets_outside_are_refused(history, tmp_path):
    wrong = history.copy()
    wrong.loc[[11, 40], "sales"] = [-1.0, -5.0]
    message = r"from 0 to inf, found -1 in row 11, series 's\d' \(2 such rows\)"
    with pytest.raises(ValueError, match=message):
        make(target_bounds=(0, None)).fit(wrong)
    pytest.importorskip("pyarrow", reason="needs the extra parquet")
    wrong.sort_values(["store", "date"]).to_parquet(tmp_path / "wrong.parquet", index=False)
    with pytest.raises(ValueError, match=r"from 0 to inf, found -\d in row \d+, series 's\d'"):
        make(target_bounds=(0, None)).fit(tmp_path / "wrong.parquet")
    model = make(target_bounds=(0, None), warm_start=True).fit(history)
    with pytest.raises(ValueError, match=message):
        model.fit(wrong)


def test_values_at_a_bound_are_what_was_expected_and_those_outside_are_not(bounded, history):
    model = pickle.loads(pickle.dumps(bounded)).calibrate(history)
    rows = history.groupby("store").tail(20).reset_index(drop=True)
    expected = model.anomaly_scores(rows)["expected"]
    at_bound = expected.isin([LEAST, MOST])
    assert at_bound.any()
    same = model.anomaly_scores(rows.assign(sales=rows["sales"].where(~at_bound, expected)))
    same = same[at_bound & (same["expected"] == expected)]
    assert (same["score"] == 0).all()
    assert not same["anomaly"].any()
    rows.loc[[5, 25], "sales"] = [LEAST - 1, MOST + 1]
    found = model.anomaly_scores(rows, false_alarms=0.05).loc[[5, 25]]
    assert found["score"].tolist() == [-np.inf, np.inf]
    assert found["anomaly"].all()


def test_an_audit_perturbs_within_the_bounds(table):
    report = audit_leakage(make(target_bounds=(LEAST, MOST)), table, horizon=7)
    assert report.passed
    assert (report.findings["verdict"] == "pass").any()
