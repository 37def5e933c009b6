"""A fit on files learns what a fit on the same rows in memory learns."""

import keras
import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROLES, SMALL, small_panel
from tsfusion import DataWarning, FusionForecaster
from tsfusion.data import ParquetPanel, TargetScaler
from tsfusion.data.window_reader import FileWindows, WindowReader
from tsfusion.data.windows import WindowIndex, training_windows
from tsfusion.learning_from_files import _Wanted
from tsfusion.models import FusionTransformer
from tsfusion.models.factory import NETWORKS
from tsfusion.scale import relayout

pytestmark = pytest.mark.usefixtures("eager")
on_every_backend = pytest.mark.backends

N = 23
LONG = {**SMALL, "max_epochs": 3, "steps_per_epoch": 3, "batch_size": 64, "learning_rate": 0.01}
# One series at a time, about.
FEW = "150kB"


@pytest.fixture(scope="module")
def table():
    """Series of different lengths with unknown targets, the last known columns without one."""
    frame = small_panel(n_series=N, n_steps=50)
    day = frame.groupby("store").cumcount()
    code = frame["store"].str[1:].astype(int)
    rng = np.random.default_rng(0)
    frame.loc[rng.random(len(frame)) < 0.05, "sales"] = np.nan
    frame.loc[day >= 47, ["sales", "weather"]] = np.nan
    frame["event"] = np.where(rng.random(len(frame)) < 0.02, "rare", frame["event"])
    return frame[day >= code % 30].reset_index(drop=True)


@pytest.fixture(scope="module")
def folder(table, tmp_path_factory):
    folder = tmp_path_factory.mktemp("files")
    table.sample(frac=1, random_state=0).to_parquet(folder / "mixed.parquet")
    relayout(folder / "mixed.parquet", folder / "buckets", series="store", time="date", n_buckets=3)
    return folder


def make(**changes):
    return FusionForecaster(**{"horizon": 3, "context_length": 14, **ROLES, **LONG, **changes})


def read(folder, **changes):
    options = {"horizon": 3, "max_memory": FEW, **changes}
    return ParquetPanel(folder / "buckets", **ROLES, **options)


@pytest.fixture(scope="module")
def panel(folder):
    return read(folder)


@pytest.fixture(scope="module")
def both(table, folder, panel, tiniest, eager):
    """One fitted on the table, one on the files, a few chunks at a time."""
    assert panel.n_chunks > 6
    return make().fit(table), make().fit(panel)


def assert_same_fitted(found, expected):
    assert found.encoder.timeline == expected.encoder.timeline
    assert found.encoder.boundary == expected.encoder.boundary
    assert found.encoder.roles == expected.encoder.roles
    for name, vocabulary in expected.encoder.vocabularies.items():
        assert found.encoder.vocabularies[name].tolist() == vocabulary.tolist()
    assert found.encoder.location == pytest.approx(expected.encoder.location, rel=1e-12)
    assert found.encoder.scale == pytest.approx(expected.encoder.scale, rel=1e-12)
    assert found.encoder.max_categories == expected.encoder.max_categories
    pd.testing.assert_series_equal(found.units.unit, expected.units.unit, rtol=1e-12)
    assert found.units.typical_level == expected.units.typical_level
    assert found.units.usual_level == pytest.approx(expected.units.usual_level, rel=1e-12)
    assert found.units.typical_unit == pytest.approx(expected.units.typical_unit, rel=1e-12)
    assert found.calendar.names == expected.calendar.names
    assert found.context_length == expected.context_length
    assert (found.horizon, found.levels) == (expected.horizon, expected.levels)


@on_every_backend
def test_what_is_learned_is_what_the_table_teaches(both):
    in_memory, on_disk = both
    assert_same_fitted(on_disk._fitted, in_memory._fitted)
    assert on_disk._architecture_ == in_memory._architecture_
    assert on_disk.n_features_in_ == in_memory.n_features_in_
    assert on_disk.feature_names_in_.tolist() == in_memory.feature_names_in_.tolist()


@on_every_backend
def test_losses_are_close_and_measured_on_the_same_windows(both):
    in_memory, on_disk = both
    naive = [dict(model.validation_losses_) for model in both]
    for losses in naive:
        losses.pop("network")
    # To the last digits: the same windows, training ones as well.
    assert naive[1] == pytest.approx(naive[0], rel=1e-6)
    for name in ("loss", "val_loss"):
        assert on_disk.history_[name] == pytest.approx(in_memory.history_[name], rel=0.15)
    assert on_disk.history_["val_loss"][-1] < on_disk.history_["val_loss"][0]


@on_every_backend
def test_the_memory_is_all_that_forecasts_need(both, table):
    in_memory, on_disk = both
    kept = len(on_disk._memory)
    assert 0 < kept < len(table)
    last = table[table["sales"].notna()].groupby("store")["date"].max()
    late = table["date"] > table["store"].map(last) - pd.Timedelta(days=14)
    assert kept <= late.sum() + N
    on_disk.model_.set_weights(in_memory.model_.get_weights())
    expected = in_memory.forecast()
    found = on_disk.forecast()
    pd.testing.assert_frame_equal(found, expected, rtol=1e-6)
    pd.testing.assert_index_equal(on_disk.series_, in_memory.series_)


@on_every_backend
def test_a_fit_on_files_is_repeatable(both, folder):
    again = make().fit(read(folder))
    assert again.history_ == both[1].history_
    other = make(random_state=1).fit(read(folder))
    assert other.history_ != both[1].history_


def test_a_path_a_list_and_a_file_are_fitted_alike(both, folder, tiniest):
    paths = sorted((folder / "buckets").glob("*.parquet"))
    for source in (folder / "buckets", str(folder / "buckets"), paths):
        model = make(max_epochs=1).fit(source)
        assert_same_fitted(model._fitted, both[0]._fitted)


def test_it_can_be_saved(folder, monkeypatch, tmp_path):
    monkeypatch.setitem(NETWORKS, "fusion", FusionTransformer)
    model = make(max_epochs=1, steps_per_epoch=2).fit(folder / "buckets")
    model.save(tmp_path / "model")
    loaded = FusionForecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(loaded.forecast(), model.forecast())


def test_further_parameters(table, folder, tiniest):
    changes = {"max_categories": 2, "time_features": {"week": week}, "context_length": None,
               "validation_size": 0.2, "freq": "D", "max_epochs": 1}  # fmt: skip
    with pytest.warns(match="Column 'event' has 3 categories"):
        on_disk = make(**changes).fit(folder / "buckets")
    with pytest.warns(match="Column 'event' has 3 categories"):
        in_memory = make(**changes).fit(table)
    assert_same_fitted(on_disk._fitted, in_memory._fitted)
    assert on_disk._fitted.calendar.functions == in_memory._fitted.calendar.functions


@on_every_backend
@pytest.mark.parametrize("transform", ["log1p", TargetScaler("log1p", by="panel")])
def test_a_target_on_another_scale(table, folder, tiniest, transform):
    table = table.assign(sales=np.exp(table["sales"] / 20))
    table.to_parquet(folder / "skewed.parquet")
    in_memory = make(target_transform=transform).fit(table)
    on_disk = make(target_transform=transform).fit(folder / "skewed.parquet")
    assert_same_fitted(on_disk._fitted, in_memory._fitted)
    plain = make().fit(folder / "skewed.parquet")
    assert plain._fitted.units.typical_level > 2 * in_memory._fitted.units.typical_level
    # The same network on both sides: what goes in and what comes out is on the same scale.
    on_disk.model_.set_weights(in_memory.model_.get_weights())
    pd.testing.assert_frame_equal(on_disk.forecast(), in_memory.forecast(), rtol=1e-6)
    naive = [{**model.validation_losses_, "network": 0} for model in (on_disk, in_memory)]
    assert naive[0] == pytest.approx(naive[1], rel=1e-6)
    with pytest.raises(ValueError, match="target_transform: the forecaster asks for 'log1p'"):
        make(target_transform=transform).fit(ParquetPanel(
            folder / "skewed.parquet", **ROLES, horizon=3,
        ))  # fmt: skip


COUNTRIES = ["DE-BY", "FR", "US", "US-CA"]


@on_every_backend
@pytest.mark.parametrize("given", ["DE", ("US", "CA"), "land", "by label"])
def test_holidays(table, folder, tiniest, given):
    pytest.importorskip("holidays")
    number = table["store"].str[1:].astype(int) % 4
    roles = {**ROLES}
    if given == "land":
        table = table.assign(land=pd.Categorical(np.array(COUNTRIES)[number]))
        roles["static"] = [*ROLES["static"], "land"]
    elif given == "by label":
        given = {store: COUNTRIES[int(store[1:]) % 4] for store in table["store"].unique()}
    # From five days before Christmas on.
    table = table.assign(date=table["date"] + pd.Timedelta(days=354))
    table.to_parquet(folder / "winter.parquet")
    model = {**roles, "holidays": given}
    in_memory = make(**model).fit(table)
    panel = ParquetPanel(folder / "winter.parquet", **model, horizon=3, max_memory=FEW)
    assert panel.n_chunks > 3
    on_disk = make(**model).fit(panel)
    assert_same_fitted(on_disk._fitted, in_memory._fitted)
    expected, found = (one._fitted.calendar.holidays for one in (in_memory, on_disk))
    assert len(expected.vocabulary) > 1
    assert found.vocabulary == expected.vocabulary
    assert found.regions == expected.regions
    assert (found.location, found.scale) == pytest.approx(
        (expected.location, expected.scale), rel=1e-12
    )
    on_disk.model_.set_weights(in_memory.model_.get_weights())
    forecasts = [one.forecast(horizon=3) for one in (on_disk, in_memory)]
    pd.testing.assert_frame_equal(*forecasts, rtol=1e-6)


def test_robust_scalers(table, folder, tiniest):
    # Mostly one number: no distance between the quartiles.
    flat = np.where(np.random.default_rng(3).random(len(table)) < 0.9, 5.0, table["price"])
    table = table.assign(price=flat)
    table.to_parquet(folder / "scaled.parquet")
    in_memory = make(scaler="robust").fit(table)
    on_disk = make(scaler="robust").fit(folder / "scaled.parquet")
    assert_same_fitted(on_disk._fitted, in_memory._fitted)
    center = on_disk._fitted.encoder.location
    assert center["price"] == 5.0
    assert on_disk._fitted.encoder.scaler == "robust"
    with pytest.raises(ValueError, match="scaler: the forecaster asks for .* was read with 'stan"):
        make(scaler="robust").fit(read(folder))
    with pytest.raises(
        ValueError, match="scaler: expected 'standard' or 'robust', received 'mean'"
    ):
        read(folder, scaler="mean")


def test_a_target_that_has_no_logarithm_is_named(table, folder, tiniest):
    bad = table.copy()
    row = int(np.flatnonzero(bad["sales"].notna())[-1])
    bad.loc[row, "sales"] = -3.0
    bad.to_parquet(folder / "below.parquet")
    named = f"values above -1, received -3 in series '{bad['store'][row]}'"
    with pytest.raises(ValueError, match=named):
        make(target_transform="log1p").fit(folder / "below.parquet")


def week(times):
    return times.day_of_year // 7


def test_calibration_at_the_end_of_fit(table, folder, tiniest):
    options: dict = {
        "calibration": {"method": "cqr", "min_origins": 5},
        "max_epochs": 1,
        "validation_size": 0.3,
    }
    on_disk, in_memory = make(**options).fit(folder / "buckets"), make(**options).fit(table)
    on_disk.model_.set_weights(in_memory.model_.get_weights())
    on_disk.uncalibrate().calibrate(min_origins=5)
    found, expected = on_disk._calibration, in_memory._calibration
    np.testing.assert_array_equal(found.origin, expected.origin)
    np.testing.assert_allclose(found.scores, expected.scores, rtol=1e-4, atol=1e-5)


@on_every_backend
def test_a_fit_that_was_interrupted_goes_on(both, folder, panel, tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(checkpoint_dir=tmp_path / "c", callbacks=Stop()).fit(panel)
    model = make(checkpoint_dir=tmp_path / "c").fit(panel)
    assert model.history_ == both[1].history_
    with pytest.raises(KeyboardInterrupt):
        make(checkpoint_dir=tmp_path / "c", callbacks=Stop()).fit(panel)
    with pytest.raises(ValueError, match="the data differ"):
        make(checkpoint_dir=tmp_path / "c", validation_size=0.3).fit(
            read(folder, validation_size=0.3)
        )


def test_windows_are_chosen_by_number_however_many_there_are():
    count = np.array([3, 0, 5, 2])
    every = WindowIndex(np.arange(10), np.repeat(np.arange(4), count))
    chosen = _Wanted.of(count, 4)
    expected = every.thinned(4)
    first = np.cumsum(count) - count
    np.testing.assert_array_equal(chosen.series, expected.series)
    np.testing.assert_array_equal(chosen.place + first[chosen.series], expected.origin)
    # A list of the windows themselves would take sixteen terabytes.
    chosen = _Wanted.of(np.array([10**12 - 1, 1]), 3)
    assert chosen.series.tolist() == [0, 0, 1]
    assert chosen.place.tolist() == [0, 5 * 10**11, 0]


def test_too_few_rows_for_a_validation_tail(tmp_path, tiniest):
    frame = small_panel(n_series=2, n_steps=12)
    frame.loc[frame["date"] < "2024-01-10", "sales"] = np.nan
    frame.to_parquet(tmp_path / "a.parquet")
    in_memory = make(horizon=3).fit(frame)
    on_disk = make(horizon=3).fit(tmp_path / "a.parquet")
    assert in_memory._fitted.encoder.boundary is None
    assert_same_fitted(on_disk._fitted, in_memory._fitted)
    assert on_disk.validation_losses_ == {}
    frame.assign(sales=np.nan).to_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="No window to train on in ParquetPanel"):
        make(horizon=3).fit(tmp_path / "b.parquet")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"holidays": "Frence"}, "'Frence' is neither a country code nor a static column"),
        ({"holidays": {"s0": "DE"}}, "expected a country for every series, .* has none"),
        ({"target_transform": "box-cox"}, "target_transform='box-cox': expected None or 'log1p'"),
        ({"target_transform": TargetScaler("robust")}, "expected None or 'log1p' with files"),
        ({"warm_start": True}, "warm_start=True: expected none with files"),
        ({"target": "sails"}, "sails"),
        ({"series": None}, "more than one row at time|occurs more than once"),
    ],
)
def test_what_files_cannot_do_is_refused(changes, message, folder):
    with pytest.raises(ValueError, match=message):
        make(**changes).fit(folder / "buckets")


def test_other_sources_that_are_refused(folder, panel, table):
    with pytest.raises(ValueError, match="y: expected None with files"):
        make().fit(folder / "buckets", table["sales"])
    with pytest.raises(FileNotFoundError):
        make().fit(folder / "nothing")
    with pytest.raises(ValueError, match="is torn apart.*relayout"):
        make().fit(folder / "mixed.parquet")
    with pytest.raises(ValueError, match="known: the forecaster asks for .* was read with"):
        make(known=["price"]).fit(panel)
    with pytest.raises(ValueError, match="horizon: the forecaster asks for 4, the ParquetPanel"):
        make(horizon=4).fit(panel)
    with pytest.raises((TypeError, ValueError)):
        make().fit([["a", "b"]])


# The reader


@pytest.fixture(scope="module")
def windows(panel):
    return FileWindows.of(panel, context_length=6, horizon=3)


def draw(reader, n):
    """Return the windows of n batches by what tells them apart: the target's past and future."""
    keys = []
    for i in range(n):
        inputs, y, weight = reader.batch(i)
        whole = np.concatenate([np.nan_to_num(inputs["past_real"][..., 0], nan=-9.0), y], axis=1)
        keys.append([row.tobytes() + fallback.tobytes() for row, fallback in
                     zip(whole, inputs["fallback_loc"])])  # fmt: skip
    return keys


@on_every_backend
def test_each_window_is_drawn_once_in_a_round(windows, panel):
    reader = WindowReader(windows, batch_size=10, seed=3, at_once=3)
    n = len(windows)
    expected = sum(
        len(training_windows(part, panel.encoder.boundary, context_length=6, horizon=3))
        for part in panel.chunks()
    )
    assert n == expected
    drawn = [key for batch in draw(reader, 2 * n // 10 + 1) for key in batch]
    assert len(set(drawn[:n])) == n
    assert set(drawn[n : 2 * n]) == set(drawn[:n])
    assert drawn[n : 2 * n] != drawn[:n]


def test_rows_without_weight(table, tmp_path):
    late = table["date"] > table["date"].max() - pd.Timedelta(days=12)
    weighed = table.assign(w=np.where(late, 0.0, 1.0)).sort_values(["store", "date"])
    weighed.to_parquet(tmp_path / "late")
    weighed.assign(w=0.0).to_parquet(tmp_path / "none")
    with pytest.warns(DataWarning, match="^Weight column 'w': all rows of the validation tail"):
        found = make(weight="w").fit(tmp_path / "late")
    assert found._fitted.encoder.boundary is None
    options = {**ROLES, "weight": "w", "horizon": 3}
    panel = ParquetPanel(tmp_path / "late", **options)
    assert panel.weightless == [False, True]
    with pytest.raises(ValueError, match="^No rows of the validation tail with a weight above 0"):
        make(weight="w").fit(panel)
    assert ParquetPanel(tmp_path / "none", **options).weightless == [True, True]
    with pytest.raises(ValueError, match="^Weight column 'w': expected a number above 0 in some"):
        make(weight="w", validation_size=0).fit(tmp_path / "none")


@on_every_backend
def test_a_batch_follows_from_seed_and_number_alone(windows):
    reader = WindowReader(windows, batch_size=10, seed=3, at_once=3)
    n = len(windows) // 10 + 3
    expected = draw(reader, n)
    fresh = WindowReader(windows, batch_size=10, seed=3, at_once=3)
    for i in (n - 1, 0, n // 2, n // 2 + 1, 1):
        inputs, y, _ = fresh.batch(i)
        want, want_y, _ = reader.batch(i)
        np.testing.assert_array_equal(y, want_y)
        for name, values in want.items():
            np.testing.assert_array_equal(inputs[name], values, err_msg=name)
    assert draw(WindowReader(windows, batch_size=10, seed=4, at_once=3), 3) != expected[:3]


@on_every_backend
@pytest.mark.parametrize("ranks", [2, 4])
def test_ranks_share_out_the_batches_of_one(windows, ranks):
    options = {"batch_size": 12, "seed": 3, "at_once": 4, "shards": 4}
    one = draw(WindowReader(windows, **options), 60)
    parts = [
        draw(WindowReader(windows, **options, rank=rank, ranks=ranks), 60) for rank in range(ranks)
    ]
    for i, whole in enumerate(one):
        assert sorted(whole) == sorted(key for part in parts for key in part[i])
        assert all(len(part[i]) == 12 // ranks for part in parts)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 10, "shards": 4}, "expected a batch_size that shards divides"),
        ({"batch_size": 12, "shards": 2, "ranks": 3}, "shards that ranks divides"),
        ({"batch_size": 12, "shards": 2, "ranks": 2, "rank": 2}, "a rank below it"),
        ({"batch_size": 1000, "shards": 1000}, "Shard .* of 1000 has no training window"),
    ],
)
def test_shares_that_do_not_go_are_refused(windows, options, message):
    with pytest.raises(ValueError, match=message):
        WindowReader(windows, seed=0, **options)
