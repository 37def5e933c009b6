"""Forecasts of many series by a saved model: the same numbers, however the panel is cut."""

import os
import shutil
import sys
import time
import warnings
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROLES, SMALL, grid, small_panel
from tsfusion import BeyondHorizonWarning, DataWarning, FusionForecaster, evaluate
from tsfusion.scale import (
    backtest_panel,
    explain_panel,
    on_dask,
    on_ray,
    on_spark,
    predict_panel,
    series_bucket,
)
from tsfusion.scale import (
    panel as module,
)

pytestmark = pytest.mark.usefixtures("eager")
on_every_backend = pytest.mark.backends

KEYS = ["store", "date"]
N = 37


@pytest.fixture(scope="module")
def table():
    """Series of different lengths, whose last three days have no target yet."""
    frame = small_panel(n_series=N, n_steps=40)
    day = frame.groupby("store").cumcount()
    code = frame["store"].str[1:].astype(int)
    frame.loc[day >= 37, ["sales", "weather"]] = np.nan
    return frame[day >= code % 30].reset_index(drop=True)


@pytest.fixture(scope="module")
def path(table, eager, tmp_path_factory):
    """A model that was fitted on a third of the series, saved with the tail of its history."""
    few = table[table["store"].isin([f"s{i}" for i in range(0, N, 3)])]
    model = FusionForecaster(horizon=3, context_length=14, **ROLES, **SMALL).fit(few)
    path = tmp_path_factory.mktemp("model") / "sales.tsfusion"
    model.save(path, history="tail")
    return path


@pytest.fixture(scope="module")
def whole(table, path):
    return predict_panel(table, path)


def joined(parts):
    return pd.concat(parts).sort_values(KEYS).reset_index(drop=True)


@on_every_backend
def test_forecasts_are_those_of_the_estimator(table, path, whole):
    model = FusionForecaster.load(path)
    expected = model.forecast(context=table)
    pd.testing.assert_frame_equal(whole, expected, rtol=1e-5)
    assert len(whole) == 3 * N
    wider = predict_panel(table, path, quantiles=[0.05, 0.5], horizon=2)
    assert wider.columns.tolist() == [*KEYS, "mean", "q0.05", "q0.5"]
    np.testing.assert_array_equal(
        wider["q0.5"], whole["q0.5"][whole.groupby("store").cumcount() < 2]
    )


@on_every_backend
@pytest.mark.parametrize("n_buckets", grid([5, 1, 40]))
def test_numbers_do_not_hang_on_the_partition(table, path, whole, n_buckets):
    bucket = series_bucket(table, ["store"], n_buckets)
    shuffled = table.sample(frac=1, random_state=n_buckets)
    bucket = bucket[shuffled.index]
    parts = [predict_panel(shuffled[bucket == i], path) for i in range(n_buckets)]
    found = joined(parts)
    pd.testing.assert_frame_equal(found, joined([whole]), rtol=1e-6, atol=1e-6)
    if keras.backend.backend() == "tensorflow":
        pd.testing.assert_frame_equal(found, joined([whole]), check_exact=True)


def test_a_future_may_come_on_its_own(table, path, whole):
    late = table["sales"].isna()
    future = table.loc[late, [*KEYS, "price", "event"]]
    found = predict_panel(table[~late], path, future=future)
    pd.testing.assert_frame_equal(found, whole)
    with pytest.raises(ValueError, match="future: series 's0' has no history in frame"):
        predict_panel(table[~late & (table["store"] != "s0")], path, future=future)


def test_nothing_of_the_history_in_the_file_counts(table, path, whole):
    one = table[table["store"] == "s3"]
    short = one[one["date"] >= one["date"].max() - pd.Timedelta(days=6)]
    model = FusionForecaster.load(path)
    memory = model.forecast(context=short)
    assert predict_panel(short, path)["mean"].tolist() == pytest.approx(memory["mean"].tolist())
    before = predict_panel(one, path)
    assert not np.allclose(predict_panel(short, path)["mean"], before["mean"])


def test_static_columns_may_be_left_to_the_file(table, path, whole):
    few = table[table["store"].isin(["s0", "s6"])]
    found = predict_panel(few.drop(columns=["region", "size"]), path)
    pd.testing.assert_frame_equal(found, predict_panel(few, path))
    with pytest.raises(ValueError, match="static column 'region' for the unseen series 's1'"):
        predict_panel(table[table["store"] == "s1"].drop(columns="region"), path)


def test_a_table_without_rows_gives_one_of_the_same_types(table, path, whole):
    empty = predict_panel(table[:0], path)
    assert len(empty) == 0
    assert empty.dtypes.to_dict() == whole.dtypes.to_dict()
    cutoffs = [table["date"].max()]
    found = backtest_panel(table, path, cutoffs=cutoffs)
    assert backtest_panel(table[:0], path, cutoffs=cutoffs).dtypes.equals(found.dtypes)
    for name in ("selection", "attention"):
        full = explain_panel(table[table["store"] == "s0"], path, table=name)
        assert explain_panel(table[:0], path, table=name).dtypes.equals(full.dtypes)


def test_a_model_is_loaded_once_and_again_when_the_file_changes(table, path, tmp_path, monkeypatch):
    copy = tmp_path / "model"
    shutil.copy(path, copy)
    loads = []
    load = FusionForecaster.load.__func__

    def slow(cls, *args, **kwargs):
        loads.append(args)
        time.sleep(0.05)
        return load(cls, *args, **kwargs)

    monkeypatch.setattr(FusionForecaster, "load", classmethod(slow))
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda _: module.load_model(copy), range(8)))
    assert len(loads) == 1
    assert len({id(model) for model in models}) == 1
    assert len(models[0]._memory) == 0
    os.utime(copy, ns=(1, 1))
    assert module.load_model(copy) is not models[0]
    assert len(loads) == 2
    assert sum(key[0] == str(copy) for key in module._MODELS) == 1
    with pytest.raises(FileNotFoundError):
        predict_panel(table, tmp_path / "none")


def test_a_backtest_sees_nothing_of_its_window(table, path):
    cutoffs = pd.to_datetime(["2024-01-31", "2024-02-04"])
    found = backtest_panel(table, path, cutoffs=cutoffs, horizon=2)
    assert found.columns.tolist() == [
        "store",
        "cutoff",
        "date",
        "step",
        "model",
        "y",
        "mean",
        "q0.1",
        "q0.5",
        "q0.9",
    ]
    assert set(found["cutoff"]) == set(cutoffs)
    model = FusionForecaster.load(path)
    for cutoff, part in found.groupby("cutoff"):
        past = table[table["date"] < cutoff]
        past = past[past["sales"].notna()]
        window = table[(table["date"] >= cutoff) & (table["date"] < cutoff + pd.Timedelta("2D"))]
        window = window[window["store"].isin(past["store"])]
        expected = model.forecast(window[[*KEYS, "price", "event"]], context=past)
        expected, part = joined([expected]), joined([part])
        for name in ("mean", "q0.1", "q0.9"):
            np.testing.assert_allclose(part[name], expected[name], rtol=1e-5)
        truth = window.sort_values(KEYS)["sales"].to_numpy()
        np.testing.assert_array_equal(part["y"].to_numpy(), truth)
    days = (found["date"] - found["cutoff"]).dt.days
    np.testing.assert_array_equal(found["step"], days + 1)
    score = evaluate(found, metrics="mae", by="step")
    assert score["model"].tolist() == ["FusionForecaster"] * 2
    by_hand = (found["y"] - found["mean"]).abs().groupby(found["step"]).mean()
    np.testing.assert_allclose(score["mae"], by_hand)
    before = table["date"] < cutoffs[0]
    changed = table.assign(
        sales=table["sales"].where(before, 99.0), weather=table["weather"].where(before, 9.0)
    )
    for horizon in (2, 6):  # within the horizon of the model, and past it
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", BeyondHorizonWarning)
            first, again = (
                backtest_panel(rows, path, cutoffs=cutoffs[:1], horizon=horizon)
                for rows in (table, changed)
            )
        np.testing.assert_array_equal(again["mean"], first["mean"])
    parts = [
        backtest_panel(part, path, cutoffs=cutoffs, horizon=2)
        for _, part in table.groupby(series_bucket(table, ["store"], 3))
    ]
    keys = ["store", "cutoff", "date"]
    pd.testing.assert_frame_equal(
        pd.concat(parts).sort_values(keys, ignore_index=True),
        found.sort_values(keys, ignore_index=True),
    )


@pytest.mark.heavy
def test_an_explanation_of_each_series_does_not_hang_on_the_others(table, path):
    few = table[table["store"].isin(["s0", "s1", "s7"])]
    for name in ("selection", "attention"):
        found = explain_panel(few, path, table=name)
        order = [few[few["store"] == store] for store in found["store"].unique()]
        parts = [explain_panel(part, path, table=name) for part in order]
        keys = found.columns[:-1].tolist()
        pd.testing.assert_frame_equal(
            found.sort_values(keys, ignore_index=True),
            pd.concat(parts).sort_values(keys, ignore_index=True), rtol=1e-5, atol=1e-6,
        )  # fmt: skip
    model = FusionForecaster.load(path)
    rows = few[few["sales"].isna()]
    expected = model.explain(rows, context=few, methods=("attention",)).attention
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
    with pytest.raises(ValueError, match="table: expected one of"):
        explain_panel(few, path, table="trust")


@pytest.mark.parametrize("kind", ["dates", "index", "several"])
def test_an_explanation_of_any_kind_of_time(table, tmp_path, kind):
    few = table[table["store"].isin(["s0", "s1"])]
    roles = {**ROLES, "known": ["price"], "observed": None, "static": None}
    few = few[["store", "date", "sales", "price"]]
    if kind == "dates":
        few = few.assign(date=few["date"].dt.date)
    elif kind == "index":
        few, roles = few.set_index("date"), {**roles, "time": "index"}
    else:
        few, roles = few.set_index(["store", "date"]), {**roles, "time": None, "series": None}
    model = FusionForecaster(horizon=3, context_length=9, **roles, **SMALL)
    model.fit(few[few["sales"].notna()]).save(tmp_path / "model.tsfusion")
    found = explain_panel(few, tmp_path / "model.tsfusion")
    asked = few[few["sales"].isna()].drop(columns="sales")
    expected = model.explain(asked, methods=("selection",)).selection
    pd.testing.assert_frame_equal(found, expected, rtol=1e-5)
    # Known values of their own table count, and in it alone.
    later = asked.assign(price=5.0)
    changed = explain_panel(few[few["sales"].notna()], tmp_path / "model.tsfusion", future=later)
    assert not np.allclose(changed["weight"], found["weight"], atol=1e-6)


@pytest.mark.parametrize("indexed", [False, True])
def test_a_backtest_fills_rows_that_are_missing(table, path, indexed, tmp_path):
    cutoff = pd.Timestamp("2024-02-04")
    day = table["date"] - cutoff
    stores = sorted(table["store"].unique())
    gaps = {stores[0]: [0], stores[1]: [-1], stores[2]: [-3, -2, 1]}
    missing = np.zeros(len(table), bool)
    for store, days in gaps.items():
        missing |= (table["store"] == store) & day.isin(pd.to_timedelta(days, unit="D"))
    # Nothing is known of their targets either, so that a table with them says the same.
    unknown = table.assign(
        sales=table["sales"].mask(missing), weather=table["weather"].mask(missing)
    )
    unknown = unknown.sort_values(KEYS)
    filled = unknown.copy()
    for name in ("price", "event"):
        at = missing[filled.index]
        filled[name] = filled[name].mask(at).groupby(filled["store"]).ffill()
    holey = table[~missing].sample(frac=1, random_state=1)
    if indexed:
        model = FusionForecaster.load(path)
        options = {**model.get_params(), "time": None, "series": None}
        table = table.set_index(["store", "date"])
        model = FusionForecaster(**options).fit(table[table["sales"].notna()])
        model.save(path := tmp_path / "indexed")
        holey, filled = (one.set_index(["store", "date"]) for one in (holey, filled))
    with pytest.warns(DataWarning, match=r"^\d+ rows are missing between the last known targets"):
        found = backtest_panel(holey, path, cutoffs=[cutoff], horizon=2)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DataWarning)
        expected = backtest_panel(filled, path, cutoffs=[cutoff], horizon=2)
    left_out = pd.MultiIndex.from_frame(unknown.loc[missing[unknown.index], KEYS])
    there = ~pd.MultiIndex.from_frame(expected[KEYS]).isin(left_out)
    assert there.sum() == len(expected) - 2
    pd.testing.assert_frame_equal(
        found, expected[there].reset_index(drop=True), rtol=1e-5, check_dtype=not indexed
    )


@pytest.mark.parametrize("taken", ["cutoff", "y", "q0.5"])
def test_a_backtest_does_not_put_one_column_over_another(taken, tmp_path):
    frame = small_panel(n_series=2, n_steps=30)[["store", "date", "sales"]]
    frame = frame.rename(columns={"store": taken})
    columns = {"time": "date", "series": taken, "target": "sales"}
    FusionForecaster(2, context_length=8, **columns, **SMALL).fit(frame).save(tmp_path / "model")
    with pytest.raises(ValueError, match=f"^X: the result has a column '{taken}' of its own"):
        backtest_panel(frame, tmp_path / "model", cutoffs=[frame["date"].max()])


def test_rows_as_steps_need_a_future(path, tmp_path):
    frame = small_panel(n_series=2, n_steps=30)[["store", "date", "sales"]]
    columns = {"time": "date", "series": "store", "target": "sales", "freq": "rows"}
    FusionForecaster(2, context_length=8, **columns, **SMALL).fit(frame).save(tmp_path / "model")
    with pytest.raises(ValueError, match="freq='rows'.*pass future="):
        predict_panel(frame, tmp_path / "model")
    future = frame[frame["date"] > frame["date"].max() - pd.Timedelta("2D")]
    past = frame.drop(future.index)
    found = predict_panel(past, tmp_path / "model", future=future)
    assert found["date"].tolist() == future["date"].tolist()


def test_a_calibrated_model_gives_its_own_corrections(table, tmp_path):
    known = table[table["store"].isin(["s0", "s3", "s1"])]
    late = known["date"] >= "2024-01-29"
    model = FusionForecaster(horizon=2, context_length=14, **ROLES, **SMALL).fit(known[~late])
    model.calibrate(known[late & known["sales"].notna()], min_origins=5)
    model.save(tmp_path / "model")
    for store in ("s3", "s1"):
        one = known[known["store"] == store]
        expected = model.forecast(context=one)
        pd.testing.assert_frame_equal(predict_panel(one, tmp_path / "model"), expected, rtol=1e-5)
    found = backtest_panel(known, tmp_path / "model", cutoffs=["2024-02-07"])
    pd.testing.assert_frame_equal(
        found.drop(columns=["cutoff", "step", "model", "y"]),
        predict_panel(known, tmp_path / "model"),
        rtol=1e-5,
    )


# Buckets


@on_every_backend
def test_buckets_are_the_same_for_ever():
    """Files on disk rest on these numbers: they must never change."""
    frame = pd.DataFrame({"store": ["a", "b", "ä", ""], "item": [1, -2, 10**12, 7]})
    assert series_bucket(frame, ["store"], 1000).tolist() == STORES
    assert series_bucket(frame, ["store", "item"], 1000).tolist() == BOTH
    assert series_bucket(frame, [], 1000).tolist() == [0, 0, 0, 0]


STORES, BOTH = [181, 853, 173, 628], [949, 202, 37, 923]


@on_every_backend
def test_a_label_is_its_text():
    frame = pd.DataFrame({"store": [str(i % 7) for i in range(50)]})
    expected = series_bucket(frame, ["store"], 16)
    for kind in ("category", "int64", "int8", object, "string"):
        other = frame.assign(store=frame["store"].astype(kind))
        np.testing.assert_array_equal(series_bucket(other, ["store"], 16), expected)
    assert len(np.unique(expected)) > 4


@on_every_backend
def test_buckets_are_even():
    frame = pd.DataFrame({"store": np.arange(50_000)})
    count = np.bincount(series_bucket(frame, ["store"], 64), minlength=64)
    assert abs(count - 50_000 / 64).max() < 5 * (50_000 / 64) ** 0.5


@pytest.mark.parametrize("n_buckets", [0, True, 2.0])
def test_a_number_of_buckets_that_is_none_is_refused(n_buckets):
    with pytest.raises(ValueError, match="n_buckets: expected an integer >= 1"):
        series_bucket(pd.DataFrame({"a": [1]}), ["a"], n_buckets)
    with pytest.raises(ValueError, match="series: expected the column 'b'"):
        series_bucket(pd.DataFrame({"a": [1]}), ["b"], 2)


# Engines


@pytest.mark.parametrize("engine", [on_dask, on_ray, on_spark])
def test_an_engine_that_is_missing_or_a_frame_that_is_none(engine, table, path):
    with pytest.raises((ImportError, TypeError), match="pip install|frame: expected a"):
        engine(predict_panel, table, path)


def test_on_dask(table, path, whole):
    dd = pytest.importorskip("dask.dataframe", reason="needs dask")
    frame = dd.from_pandas(table.sample(frac=1, random_state=0), npartitions=7, sort=False)
    for n_buckets in (None, 3, 64):
        found = on_dask(predict_panel, frame, path, n_buckets=n_buckets)
        computed = found.compute(scheduler="threads", num_workers=2)
        assert computed.dtypes[1:].equals(found.dtypes[1:])
        computed = computed.astype({"store": whole["store"].dtype})
        pd.testing.assert_frame_equal(joined([computed]), joined([whole]), rtol=1e-6)
    cutoffs = ["2024-02-04"]
    found = on_dask(backtest_panel, frame, path, cutoffs=cutoffs).compute(scheduler="sync")
    expected = backtest_panel(table, path, cutoffs=cutoffs)
    np.testing.assert_allclose(joined([found])["mean"], joined([expected])["mean"], rtol=1e-6)
    found = on_dask(explain_panel, frame, path, n_buckets=40).compute(scheduler="sync")
    assert len(found) == len(explain_panel(table, path))
    with pytest.raises(ValueError, match="future: expected None"):
        on_dask(predict_panel, frame, path, future=table)


@pytest.mark.slow
def test_on_dask_workers(table, path, whole):
    """In processes of their own, which load the model for themselves."""
    distributed = pytest.importorskip("distributed", reason="needs dask")
    dd = pytest.importorskip("dask.dataframe", reason="needs dask")
    frame = dd.from_pandas(table, npartitions=3)
    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster),
    ):
        found = on_dask(predict_panel, frame, path).compute()
    found = found.astype({"store": whole["store"].dtype})
    pd.testing.assert_frame_equal(joined([found]), joined([whole]), rtol=1e-6)


@pytest.mark.slow
def test_on_ray(table, path, whole, monkeypatch):
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    ray = pytest.importorskip("ray", reason="needs ray")
    data = pytest.importorskip("ray.data", reason="needs ray")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        frame = data.from_pandas(table.sample(frac=1, random_state=0)).repartition(5)
        found = on_ray(predict_panel, frame, path, n_buckets=6).to_pandas()
    finally:
        ray.shutdown()
    found = found.astype(whole.dtypes.to_dict())
    pd.testing.assert_frame_equal(joined([found]), joined([whole]), rtol=1e-6)


@pytest.mark.slow
def test_on_spark(table, path, whole, monkeypatch):
    monkeypatch.setenv("PYSPARK_PYTHON", sys.executable)
    sql = pytest.importorskip("pyspark.sql", reason="needs pyspark")
    spark = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", False)
    spark = spark.config("spark.sql.shuffle.partitions", 4).getOrCreate()
    try:
        frame = spark.createDataFrame(table.sample(frac=1, random_state=0))
        found = on_spark(predict_panel, frame, path, n_buckets=6).toPandas()
    finally:
        spark.stop()
    found = found.astype(whole.dtypes.to_dict())
    pd.testing.assert_frame_equal(joined([found]), joined([whole]), rtol=1e-6)


@pytest.mark.slow
def test_the_example_scores_files_by_day(table, path, whole, tmp_path):
    pytest.importorskip("dask.dataframe", reason="needs dask")
    from examples.batch_scoring import main

    (tmp_path / "sales").mkdir()
    for day, part in table.groupby("date"):
        part.to_parquet(tmp_path / "sales" / f"{day:%Y-%m-%d}.parquet")
    arguments = [str(tmp_path / "sales"), str(path), str(tmp_path / "forecasts")]
    main([*arguments, "--buckets", "3", "--workers", "2"])
    found = pd.read_parquet(tmp_path / "forecasts").astype({"store": whole["store"].dtype})
    pd.testing.assert_frame_equal(joined([found]), joined([whole]), rtol=1e-6, check_dtype=False)
