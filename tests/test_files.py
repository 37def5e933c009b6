"""Files: a forecaster comes back exactly; a damaged or hostile file gets one clear error."""

import copy
import dataclasses
import datetime
import decimal
import errno
import io
import json
import os
import pathlib
import resource
import subprocess
import sys
import time
import uuid
import warnings
import zipfile
import zoneinfo

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.compose import make_column_selector
from sklearn.exceptions import NotFittedError

from tests.conftest import ROLES, SMALL
from tsfusion import DataWarning, FusionForecaster
from tsfusion.data import TargetScaler
from tsfusion.data.encoder import PanelEncoder
from tsfusion.exceptions import FileFormatError
from tsfusion.files import archive, codec
from tsfusion.files import forecaster as content
from tsfusion.files.codec import Decoder, Encoder

pytestmark = pytest.mark.usefixtures("eager")

HORIZON = 3


# What comes back is the same --------------------------------------------------------------------


def same(a, b):
    """Whether two values are equal in type, to the last bit, all the way down."""
    if type(a) is not type(b):
        return False
    if isinstance(a, (pd.Index, pd.Series, pd.DataFrame)):
        kind = "index" if isinstance(a, pd.Index) else "series" if a.ndim == 1 else "frame"
        getattr(pd.testing, f"assert_{kind}_equal")(a, b, check_exact=True)
        return not isinstance(a, pd.Index) or a.dtype != object or same(a.tolist(), b.tolist())
    if isinstance(a, np.ndarray):
        if a.dtype == object:
            return same(a.tolist(), b.tolist())
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[name], b[name]) for name in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, np.random.RandomState):
        return same(a.get_state(), b.get_state())
    if a is b or (isinstance(a, (float, np.generic)) and a != a):
        return a is b or b != b
    if dataclasses.is_dataclass(a) or isinstance(a, (PanelEncoder, TargetScaler)):
        return same(
            {name: value for name, value in vars(a).items() if name != "function"},
            {name: value for name, value in vars(b).items() if name != "function"},
        )
    return a == b


def saved_and_loaded(model, path, history="full", **options):
    model.save(path, history=history)
    loaded = FusionForecaster.load(path, **options)
    assert os.listdir(path.parent) == [path.name]
    return loaded


def assert_same_model(model, loaded, without=()):
    assert same(model._memory, loaded._memory)
    assert same(model._fitted, loaded._fitted)
    assert same(model.model_.get_weights(), loaded.model_.get_weights())
    assert {*vars(model)} == {*vars(loaded)}
    left = {"_memory", "_fitted", "model_", *without}
    for name in {*vars(model)} - left:
        assert same(vars(model)[name], vars(loaded)[name]), name


@pytest.mark.heavy
@pytest.mark.backends
def test_forecasts_as_before(fitted, future, tmp_path):
    loaded = saved_and_loaded(fitted, tmp_path / "model.tsfusion")
    assert same(fitted.forecast(future), loaded.forecast(future))
    assert same(fitted.model_.get_weights(), loaded.model_.get_weights())


@pytest.mark.parametrize("history", ["full", "tail"])
def test_everything_as_before(fitted, history, future, panel, tmp_path):
    loaded = saved_and_loaded(fitted, tmp_path / "model.tsfusion", history)
    if history == "full":
        assert_same_model(fitted, loaded)
        assert same(vars(fitted.explain(max_windows=4)), vars(loaded.explain(max_windows=4)))
        assert same(fitted.predict(panel.iloc[:50:9]), loaded.predict(panel.iloc[:50:9]))
    assert same(fitted.forecast(future), loaded.forecast(future))
    assert same(fitted.predict(future.iloc[::-1]), loaded.predict(future.iloc[::-1]))
    rows = future.iloc[:7]
    # Of a tail there are fewer training windows to take a variable from.
    before, after = ({**vars(made.explain(rows))} for made in (fitted, loaded))
    if history == "tail":
        assert before.pop("sensitivity_shares").keys() == after.pop("sensitivity_shares").keys()
    assert same(before, after)
    before = copy.deepcopy(fitted).update(panel.iloc[50:58])
    after = loaded.update(panel.iloc[50:58])
    context = panel.iloc[:30].assign(store="new", size=1.0)
    for made in ({"context": context}, {}):
        rows = before.make_future_dataframe(**made)
        assert same(rows, after.make_future_dataframe(**made))
        rows = rows.assign(price=1.0, event="none")
        assert same(before.forecast(rows, **made), after.forecast(rows, **made))


def series_of(labels, times, **columns):
    """Rows of each label at the same times."""
    rng = np.random.default_rng(1)
    n = len(times)
    return pd.concat(
        [
            pd.DataFrame(
                {"id": typed([label] * n), "t": times, "y": rng.normal(10, 1, n)}
                | {name: np.resize(values, n) for name, values in columns.items()}
            )
            for label in labels
        ],
        ignore_index=True,
    )


def typed(values):
    """A column of the dtype that holds such values, object where there is none."""
    if isinstance(values[0], (tuple, decimal.Decimal, uuid.UUID)):
        column = np.empty(len(values), object)
        column[:] = values
        return column
    return pd.Series(values)


def panels():
    """Frames with labels, categories and times of every kind, and the parameters for them."""
    days = pd.date_range("2024-01-01", periods=30, freq="D")
    berlin = pd.date_range("2024-03-20", periods=30, freq="D", tz="Europe/Berlin")
    ids = {"series": "id", "time": "t", "target": "y"}
    yield "integers, a zone", series_of([1, 2], berlin, known=["a", "b"]), ids
    frame = series_of([True, False], days.tz_localize("UTC").as_unit("s"), c=[1, "one", 2.5])
    yield "booleans, UTC, mixed categories", frame, {**ids, "architecture": "tft"}
    fixed = datetime.timezone(datetime.timedelta(hours=5, minutes=30))
    hours = pd.date_range("2024-03-30", periods=40, freq="h", tz=fixed)
    frame = series_of([1.5, 2.5], hours)
    frame["c"] = pd.cut(frame["y"], 3)
    yield "floats, an offset, intervals", frame, {**ids, "n_estimators": 2}
    labels = pd.to_datetime(["2020-01-01", "2021-01-01"]).tz_localize("Asia/Tokyo")
    frame = series_of(labels, pd.period_range("2020-01", periods=30, freq="M"), c=[True, False])
    yield "timestamps, periods of months", frame, {**ids, "observed": ["c"]}
    frame = series_of(pd.period_range("2020", periods=2, freq="Y"), days, c=["x", None, np.nan])
    yield "periods, missing categories", frame, {**ids, "observed": "c", "scaler": "robust"}
    frame = series_of([("a", 1), ("b", 2)], pd.bdate_range("2024-01-01", periods=30))
    pair = pd.DataFrame(frame.pop("id").tolist(), columns=["shop", 7]).astype({"shop": "category"})
    two = {**ids, "series": ["shop", 7], "weight": "w"}
    yield "two columns, business days, weights", pd.concat([frame.assign(w=0.5), pair], axis=1), two
    frame = series_of(["a"], pd.date_range("2020-01-31", periods=30, freq="ME", unit="ms"))
    frame["id"] = frame["id"].astype(pd.StringDtype("python", pd.NA))
    yield "nullable text, ends of months", frame, {**ids, "freq": "ME"}
    frame = series_of([np.int8(3), np.int8(4)], np.arange(30) * 0.25)
    frame["id"] = frame["id"].astype("Int8")
    yield "nullable integers, numbers for times", frame, {**ids, "target_transform": "yeo-johnson"}
    frame = series_of(["a", "b"], days[[0, 1, 4, *range(7, 30)]], c=np.arange(30.0))
    frame["id"] = pd.Categorical(frame["id"])
    scaler = TargetScaler("standard", by="panel")
    rows = {**ids, "freq": "rows", "target_transform": scaler, "known": "c"}
    yield "categories, rows for steps", frame, rows
    frame = series_of([decimal.Decimal("1.5"), uuid.UUID(int=7)], days)
    yield "objects", frame, {**ids, "freq": pd.offsets.Day(), "quantiles": np.array([0.1, 0.5])}
    frame = series_of(["a", "b"], days).set_index(["id", "t"])
    random = np.random.RandomState(3)
    yield "an index", frame, {"target": "y", "random_state": random}
    yield "rows in order", series_of(["a"], days)[["y"]], {"target": "y"}
    arrow = series_of(["a", "b"], pd.date_range("2024", periods=30, freq="W-WED"))
    arrow["id"] = arrow["id"].astype("string[pyarrow]")
    yield "text of Arrow, weeks", arrow, ids
    quarters = series_of(["é\n\0", ""], pd.date_range("2000", periods=30, freq="QS-FEB"), n=[1, 2])
    yield "odd text, quarters", quarters, {**ids, "known": make_column_selector("n")}


@pytest.fixture(scope="module")
def untrained(fitted):
    """Networks of random weights: files do not care, and it takes a tenth of the time."""
    from tsfusion.models.factory import make_model

    def train(self, learned, architecture, weights, checkpoint):
        return make_model(architecture), [{"loss": [1.5]}] * int(self.n_estimators)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tsfusion.forecaster.train_members", train)
        yield


@pytest.mark.parametrize(
    ("frame", "parameters"), [pytest.param(f, p, id=n) for n, f, p in panels()]
)
def test_labels_categories_and_times(frame, parameters, untrained, tmp_path):
    model = FusionForecaster(HORIZON, context_length=6, **{**SMALL, **parameters}).fit(frame)
    loaded = saved_and_loaded(model, tmp_path / "model")
    assert_same_model(model, loaded, [n for n in parameters if callable(parameters[n])])
    if isinstance(parameters.get("known"), make_column_selector):
        assert loaded.known == ["n"]
    rows = model.make_future_dataframe()
    assert same(rows, loaded.make_future_dataframe())
    for name in model._fitted.encoder.roles.known:
        rows[name] = frame[name].iloc[np.resize(np.arange(30), len(rows))].set_axis(rows.index)
    assert same(model.forecast(rows), loaded.forecast(rows))
    tail = saved_and_loaded(model, tmp_path / "model", "tail")
    assert same(model.make_future_dataframe(), tail.make_future_dataframe())
    assert same(model.forecast(rows), tail.forecast(rows))
    if parameters.get("series"):
        assert len(tail._memory) < len(model._memory)


def test_a_tail_whose_steps_to_come_would_be_others(untrained, tmp_path):
    """Without a frequency they are guessed from the gaps of all rows."""
    days = pd.Timestamp("2024-01-01") + pd.to_timedelta([*range(0, 60, 3), *range(60, 68)], "D")
    frame = series_of(["a", "b"], days)
    parameters = {"series": "id", "time": "t", "target": "y", "freq": "rows"}
    model = FusionForecaster(HORIZON, context_length=4, **parameters, **SMALL).fit(frame)
    tail = saved_and_loaded(model, tmp_path / "model", "tail")
    assert same(model.make_future_dataframe(), tail.make_future_dataframe())
    assert same(model.forecast(), tail.forecast())


def payday(times):
    return times.day == 15


def season(times):
    return np.where(times.month == 1, "sales", "usual")


@pytest.fixture(scope="module")
def knows_time(history, untrained):
    """With functions of time and holidays."""
    return FusionForecaster(
        7, context_length=14, time_features={"payday": payday, "season": season},
        holidays={"s0": "DE", "s1": "US-CA", "s2": None}, **ROLES, **SMALL
    ).fit(history)  # fmt: skip


def test_functions_of_time(knows_time, future, tmp_path):
    path = tmp_path / "model"
    functions = {"season": season, "payday": payday}
    loaded = saved_and_loaded(knows_time, path, time_features=functions)
    assert_same_model(knows_time, loaded)
    assert same(knows_time.forecast(future), loaded.forecast(future))
    for given in (
        None,
        {"payday": payday},
        {**functions, "more": season},
        {**functions, "season": 1},
    ):
        with pytest.raises(
            ValueError, match="expected time_features= with the functions"
        ) as caught:
            FusionForecaster.load(path, time_features=given)
        assert not isinstance(caught.value, FileFormatError)


def test_holidays_of_a_column(history, future, untrained, tmp_path):
    roles = {**ROLES, "static": ["country"], "holidays": "country"}
    frame = history.assign(country=history["region"].map({"north": "DE", "south": "FR"}))
    model = FusionForecaster(7, context_length=14, **roles, **SMALL)
    model.fit(frame.drop(columns=["region", "size"]))
    loaded = saved_and_loaded(model, tmp_path / "model")
    assert_same_model(model, loaded)
    assert same(model.forecast(future), loaded.forecast(future))


@pytest.mark.parametrize("backend", ["torch"])
def test_another_backend(fitted, backend, future, tmp_path):
    pytest.importorskip(backend)
    import keras

    if keras.backend.backend() == backend:
        pytest.skip("the same backend")
    fitted.save(tmp_path / "model")
    future.to_pickle(tmp_path / "future")
    code = (
        "import pandas as pd, sys; from tsfusion import FusionForecaster\n"
        "model = FusionForecaster.load(sys.argv[1] + '/model')\n"
        "table = model.forecast(pd.read_pickle(sys.argv[1] + '/future'))\n"
        "table.to_pickle(sys.argv[1] + '/forecast')\n"
        "model.save(sys.argv[1] + '/again')"
    )
    environment = {**os.environ, "KERAS_BACKEND": backend}
    subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=True, env=environment)
    expected, found = fitted.forecast(future), pd.read_pickle(tmp_path / "forecast")
    pd.testing.assert_frame_equal(expected, found, rtol=1e-5, atol=1e-5)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "model").read_bytes()


def test_objects_that_forecasts_do_not_need(history, future, untrained, tmp_path):
    import keras

    model = FusionForecaster(
        7, context_length=14, optimizer=keras.optimizers.Adam(),
        callbacks=[keras.callbacks.Callback()],
        **ROLES, **SMALL,
    ).fit(history)  # fmt: skip
    model.note = 1
    with pytest.warns(DataWarning) as caught:
        model.save(tmp_path / "model")
    ours = [warning for warning in caught if warning.category is DataWarning]
    assert "optimizer and callbacks will be None" in str(ours[0].message)
    assert "['note']" in str(ours[1].message)
    assert {warning.filename for warning in ours} == {__file__}
    loaded = FusionForecaster.load(tmp_path / "model")
    assert loaded.optimizer is loaded.callbacks is None
    assert same(model.forecast(future), loaded.forecast(future))


def test_what_a_file_cannot_hold(fitted, tmp_path):
    other = copy.copy(fitted).set_params(freq=object())
    with pytest.raises(
        TypeError, match=r"parameters.freq: expected a plain value .*builtins.object"
    ):
        other.save(tmp_path / "model")
    with pytest.raises(ValueError, match="history: expected 'full' or 'tail', received 'all'"):
        fitted.save(tmp_path / "model", history="all")
    with pytest.raises(NotFittedError):
        clone(fitted).save(tmp_path / "model")
    assert os.listdir(tmp_path) == []


def test_a_subclass(fitted, tmp_path):
    class Mine(FusionForecaster):
        pass

    fitted.save(tmp_path / "model")
    assert type(Mine.load(tmp_path / "model")) is Mine


def test_one_model_makes_one_file(fitted, tmp_path):
    fitted.save(tmp_path / "a")
    FusionForecaster.load(tmp_path / "a").save(str(tmp_path / "b"))
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    weights = 4 * fitted.model_.count_params()
    rows = sum(a.nbytes for a in vars(fitted._memory).values() if isinstance(a, np.ndarray))
    assert os.path.getsize(tmp_path / "a") < 2 * weights + rows


def test_no_seed_is_left_changed(fitted, tmp_path):
    import random

    fitted.save(tmp_path / "model")
    random.seed(3)
    before = random.getstate(), np.random.mtrand._rand.get_state()
    FusionForecaster.load(tmp_path / "model")
    assert same(before, (random.getstate(), np.random.mtrand._rand.get_state()))


# Single values ----------------------------------------------------------------------------------

TOKYO = zoneinfo.ZoneInfo("Asia/Tokyo")
VALUES = [
    None, True, 1, 10**30, -0.0, 1e-320, float("nan"), float("-inf"), "text", "\ud800\n", [1, [2]],
    (1, (2, [None])), {"a": 1, 2: (3,)}, {1, 2}, frozenset({"a"}), np.int8(-3),
    np.uint64(2**64 - 1),
    np.float16(0.1), np.float32(0.1), np.float64("nan"), np.float64(0.1), np.bool_(True),
    np.str_("a"),
    np.datetime64("2024-01"), np.timedelta64(3, "h"), np.datetime64("NaT", "s"), pd.NaT, pd.NA,
    pd.Timestamp("2024-01-01"), pd.Timestamp("1700-01-01 01:02:03.004", tz="Europe/Berlin"),
    pd.Timestamp(2**40, unit="s"), pd.Timestamp("2024-10-27 02:30", tz="UTC").tz_convert(TOKYO),
    pd.Timedelta("1D"), pd.Timedelta(5, unit="ns"), pd.Period("2024-03", "M"), pd.Period("2024",
    "Y"),
    pd.Interval(0.5, 1.5), pd.Interval(1, 2, closed="left"),
    pd.Interval(pd.Timestamp("2024"), pd.Timestamp("2025")), datetime.date(2024, 1, 2),
    datetime.datetime(2024, 10, 27, 2, 30, fold=1, tzinfo=zoneinfo.ZoneInfo("Europe/Berlin")),
    datetime.time(1, 2), datetime.timedelta(days=1, microseconds=3), decimal.Decimal("1.50"),
    uuid.UUID(int=5), pathlib.Path("a/b"), b"\x00\xff", pd.offsets.MonthEnd(2),
    pd.offsets.Week(weekday=2),
    np.random.RandomState(5), TOKYO, datetime.UTC, datetime.timezone(datetime.timedelta(hours=-3)),
    pd.Index([1, 2], name=("a", 1)), pd.Index([], dtype=object), pd.Index([0.5, np.nan], name="x"),
    pd.Index(["a", ""], dtype="str"), pd.Index([], dtype="str"), pd.Index(["a", pd.NA],
    dtype="string"),
    pd.Index([1, None], dtype="Int64"), pd.Index([True, False]), pd.Index([1, "a", (2, 3)],
    dtype=object),
    pd.DatetimeIndex(["2024-01-01", None], tz=TOKYO), pd.to_timedelta(["1h", "2h"]),
    pd.period_range("2024", periods=2, freq="Q-FEB"), pd.Index([True, None], dtype="boolean"),
    pd.Index([1, 2], dtype=pd.ArrowDtype(__import__("pyarrow").int32())),
    pd.MultiIndex.from_tuples([("a", 1), ("b", 2)], names=["x", 3]),
    pd.Series([1.5, 2.5], pd.Index(["a", "b"])), np.arange(6.0).reshape(2, 3), np.zeros((0, 4),
    np.int32),
    np.array(["a", 1, None], object), np.array([True]), TargetScaler("box-cox", bounds=(0, 1)),
    TargetScaler("standard").fit([1.0, 2, 3, 5], ["a", "a", "b", "b"]),
]  # fmt: skip


@pytest.mark.parametrize("value", VALUES, ids=lambda value: f"{type(value).__name__}")
def test_values_come_back_exactly(value):
    encoder = Encoder()
    text = json.dumps(encoder.encode(value, "here"), allow_nan=False)
    decoder = Decoder(encoder.arrays)
    found = decoder.decode(json.loads(text), "here")
    assert same(value, found)
    assert decoder.used == set(encoder.arrays)


class Text(str):
    pass


@pytest.mark.parametrize(
    "value", [object(), len, Text("a"), 1j, np.complex64(1), np.longdouble(1), np.zeros((1, 1, 1)),
    pd.Index(["a"]).astype("category"), pd.DataFrame(), np.datetime64(3, "25s"), lambda: 1,
    pd.IntervalIndex.from_breaks([1, 2, 3]), np.array(["a"])],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_values_that_would_not(value):
    with pytest.raises(TypeError, match="^here: expected"):
        Encoder().encode(value, "here")


def test_a_value_without_an_end():
    endless = []
    endless.append(endless)
    with pytest.raises(TypeError, match="nested more than"):
        Encoder().encode(endless, "here")


def test_equal_labels_are_stored_once_and_other_arrays_never():
    encoder, a = Encoder(), np.zeros(3)
    encoder.encode({"x": pd.Index(["a", "b"]), "y": pd.Index(["a", "b"]), "z": [a, a]}, "here")
    assert len(encoder.arrays) == 4


def test_every_field_of_our_classes_is_written(fitted):
    for cls, names in codec.CLASSES.values():
        if dataclasses.is_dataclass(cls):
            wanted = {field.name for field in dataclasses.fields(cls)} - {"function"}
        elif cls is PanelEncoder:
            wanted = set(vars(fitted._fitted.encoder))
        else:
            wanted = set(vars(TargetScaler().fit([1.0, 2.0])))
        assert set(names) == wanted, cls
    known = {*content._ATTRIBUTES, *content._STATE, *content._DERIVED}
    assert {*vars(fitted), "_calibration"} == {*fitted.get_params(), *known}


# Writing whole or not at all --------------------------------------------------------------------


class Full:
    """A file on a disk that takes so many bytes and no more."""

    def __init__(self, file, room):
        self.file, self.room = file, room

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.file.close()

    def __getattr__(self, name):
        return getattr(self.file, name)


@pytest.mark.parametrize("room", [0, 100, 5000, 30_000, "last"])
@pytest.mark.parametrize("old", [b"old", None])
def test_a_full_disk_leaves_the_old_file(fitted, tmp_path, monkeypatch, room, old):
    path = tmp_path / "model"
    if room == "last":
        fitted.save(path)
        room = 2 * os.path.getsize(path) - 1000
        path.unlink()
    if old is not None:
        path.write_bytes(old)
    monkeypatch.setattr(archive, "open", lambda *args: Full(open(*args), room), raising=False)  # noqa: SIM115
    if room > 60_000:
        monkeypatch.setattr(archive.os, "fsync", lambda handle: Full(None, 0).write(b"x"))
    with pytest.raises(OSError, match="No space left") as caught:
        fitted.save(path)
    assert caught.value.errno == errno.ENOSPC
    assert os.listdir(tmp_path) == ([] if old is None else ["model"])
    assert old is None or path.read_bytes() == old


def test_a_limit_of_the_system(fitted, tmp_path):
    (tmp_path / "model").write_bytes(b"old")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, hard))
    try:
        with pytest.raises(OSError, match="too large"):
            fitted.save(tmp_path / "model")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == ["model"]
    assert (tmp_path / "model").read_bytes() == b"old"


def test_an_interrupt_leaves_the_old_file(fitted, tmp_path, monkeypatch):
    def interrupt(*args):
        raise KeyboardInterrupt

    (tmp_path / "model").write_bytes(b"old")
    monkeypatch.setattr(archive, "_write_array", interrupt)
    with pytest.raises(KeyboardInterrupt):
        fitted.save(tmp_path / "model")
    assert os.listdir(tmp_path) == ["model"]
    assert (tmp_path / "model").read_bytes() == b"old"


def test_places_that_take_no_file(fitted, tmp_path):
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError, match="expected the name of a file"):
        fitted.save(tmp_path / "folder")
    with pytest.raises(FileNotFoundError):
        fitted.save(tmp_path / "absent" / "model")
    assert os.listdir(tmp_path) == ["folder"]


def test_a_link_and_its_permissions(fitted, tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "real").chmod(0o640)
    (tmp_path / "link").symlink_to("real")
    fitted.save(tmp_path / "link")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").stat().st_mode & 0o777 == 0o640
    assert FusionForecaster.load(tmp_path / "link").horizon == 7


# Damaged and hostile files ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def good(fitted, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "model"
    fitted.save(path, history="tail")
    return path.read_bytes()


def refused(path, match=None):
    """Assert that a file gets one clear error, quickly and without a network being built."""
    before = sorted(os.listdir(path.parent))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(FileFormatError, match=match) as caught:
            FusionForecaster.load(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "expected" in str(caught.value)
    assert "received" in str(caught.value)
    assert len(str(caught.value)) < 1000
    assert sorted(os.listdir(path.parent)) == before


def members_of(data):
    with zipfile.ZipFile(io.BytesIO(data)) as zipped:
        return {name: zipped.read(name) for name in zipped.namelist()}


def zipped(path, members, method=zipfile.ZIP_STORED):
    """Write a zip of (name, bytes), or of (name, bytes, its own ZipInfo settings), and seal it."""
    with open(path, "w+b") as file:
        with zipfile.ZipFile(file, "w", method) as zipped, warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            for name, data in members:
                zipped.writestr(zipfile.ZipInfo(name) if method == 0 else name, data)
            zipped.comment = archive._SEAL + b"0" * 64
        archive.seal(file)


def manifest_of(members):
    return json.loads(members["manifest.json"])


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "received 0 bytes"), (b"PK\x03\x04", "too short"),
        (b"x" * 5000, "ends with its digest"),
        (zipfile.ZipFile, "ends with its digest"), ("pickle", "ends with its digest"),
    ],
)  # fmt: skip
def test_another_kind_of_file(data, message, tmp_path):
    if data == "pickle":
        import pickle

        data = pickle.dumps(np.zeros(1000))
    if data is zipfile.ZipFile:
        with zipfile.ZipFile(tmp_path / "model", "w") as file:
            file.writestr("manifest.json", "{}" * 100)
    else:
        (tmp_path / "model").write_bytes(data)
    refused(tmp_path / "model", message)


def test_a_folder_a_pipe_and_nothing(tmp_path):
    (tmp_path / "folder").mkdir()
    refused(tmp_path / "folder", "received a folder")
    os.mkfifo(tmp_path / "pipe")
    refused(tmp_path / "pipe", "a device")
    with pytest.raises(FileNotFoundError, match="absent"):
        FusionForecaster.load(tmp_path / "absent")


def test_a_file_cut_short(good, tmp_path):
    path = tmp_path / "model"
    for size in [*range(0, len(good), len(good) // 23), len(good) - 1, len(good) - 100]:
        path.write_bytes(good[:size])
        refused(path)
    for more in (b"\0", good):
        path.write_bytes(good + more) if more != good else path.write_bytes(more + good[1:])
        refused(path)


def test_a_flipped_bit_in_every_member_and_header(good, tmp_path):
    path = tmp_path / "model"
    with zipfile.ZipFile(io.BytesIO(good)) as zipped:
        starts = [info.header_offset for info in zipped.infolist()]
        central = zipped.start_dir
    places = [start + shift for start in starts for shift in (0, 10, 40, 250)]
    places += [central, central + 20, len(good) - 1, len(good) - 70, len(good) - 100]
    for place in places:
        data = bytearray(good)
        data[place] ^= 4
        path.write_bytes(data)
        refused(path)


def test_random_bit_flips_never_load(good, tmp_path):
    path = tmp_path / "model"
    rng = np.random.default_rng(0)
    for _ in range(400):
        data = bytearray(good)
        for place in rng.integers(len(good), size=rng.integers(1, 4)):
            data[place] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        refused(path)


def test_random_bit_flips_under_a_new_seal(good, fitted, future, tmp_path):
    """Someone who can seal a file can write any: still no other error, and no other shape."""
    path = tmp_path / "model"
    rng = np.random.default_rng(1)
    loads = 0
    for _ in range(400):
        data = bytearray(good)
        data[rng.integers(len(good) - 80)] ^= 1 << rng.integers(8)
        path.write_bytes(data)
        with open(path, "r+b") as file:
            archive.seal(file)
        try:
            loaded = FusionForecaster.load(path)
        except FileFormatError:
            continue
        # A date or another idle field of the zip.
        loads += 1
        assert same(fitted.model_.get_weights(), loaded.model_.get_weights())
        assert same(fitted._fitted, loaded._fitted)
    assert loads < 20


def test_random_changes_of_the_manifest(good, fitted, tmp_path, monkeypatch):
    """Values of other types and sizes at any place: refused, or such as a fit might have given."""
    monkeypatch.setattr(content, "_network", lambda architecture, weights: (architecture, weights))
    path, members = tmp_path / "model", members_of(good)
    rng = np.random.default_rng(2)
    odd = [None, True, -1, 0, 1, 10**12, 2**70, 0.5, 1e308, "", "x", "weights", [], [1], {},
    {"x": 1},
           {"float": "nan"}, {"array": "weights"}, {"tuple": []}, {"dict": [[1, 2]]}]  # fmt: skip
    kept = 0
    for _ in range(300):
        manifest = manifest_of(members)
        places = list(spots(manifest, ("fitted", "memory", "attributes", "architecture")))
        parent, key = places[rng.integers(len(places))]
        parent[key] = odd[rng.integers(len(odd))]
        zipped(path, [*members.items()][:-1] + [("manifest.json", json.dumps(manifest))])
        try:
            FusionForecaster.load(path)
            kept += 1
        except FileFormatError:
            pass
    assert kept < 60


def spots(tree, names):
    """Yield (parent, key) of every value under some names."""
    for name in names:
        yield tree, name
        todo = [tree[name]]
        while todo:
            node = todo.pop()
            items = node.items() if isinstance(node, dict) else enumerate(node)
            for key, value in list(items):
                yield node, key
                if isinstance(value, (dict, list)):
                    todo.append(value)


def npy(array, **options):
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asarray(array), **options)
    return file.getvalue()


def header(shape, descr="<f4", size=118):
    text = (
        f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}, }}".ljust(size - 1) + "\n"
    )
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


EXTRA = [
    ("path traversal", "../../evil.npy"), ("an absolute path", "/etc/passwd"),
    ("a drive", "C:\\a.npy"),
    ("a folder", "folder/"), ("a code file", "evil.py"), ("a keras model", "model.keras"),
    ("capital letters", "Weights.npy"), ("a name cut by zero", "weights.npy\0.txt"),
    ("no name", ""),
]  # fmt: skip


@pytest.mark.parametrize("name", [n for _, n in EXTRA], ids=[i for i, _ in EXTRA])
def test_foreign_members(good, name, tmp_path):
    zipped(tmp_path / "model", [*members_of(good).items(), (name or "a", b"x")])
    if "\0" in name:
        # zipfile itself would not write it.
        size = len(name)
        zipped(tmp_path / "model", [*members_of(good).items(), ("w" * size, b"x")])
        data = (tmp_path / "model").read_bytes().replace(b"w" * size, name.encode())
        (tmp_path / "model").write_bytes(data)
        with open(tmp_path / "model", "r+b") as file:
            archive.seal(file)
    refused(tmp_path / "model", "expected members such as manifest.json or weights.npy")
    assert os.listdir(tmp_path) == ["model"]


def test_members_too_many_too_few_and_twice(good, tmp_path):
    path, members = tmp_path / "model", members_of(good)
    zipped(path, [*members.items(), ("more.npy", npy([1.0]))])
    refused(path, "more.npy.*are listed or there, but not both")
    for name in members:
        zipped(path, [(n, data) for n, data in members.items() if n != name])
        refused(path, name.replace(".", r"\."))
    zipped(path, [*members.items(), ("weights.npy", members["weights.npy"])])
    refused(path, "expected each member once, received 'weights.npy' twice")
    zipped(path, [])
    refused(path, "expected a member manifest.json")


def test_an_array_that_nothing_uses(good, tmp_path):
    members = members_of(good)
    data = npy([1.0])
    rewrite(tmp_path / "model", members, arrays={"more": data})
    refused(tmp_path / "model", "received also .*more")


def rewrite(path, members, change=None, arrays=None):
    """Write the members with another manifest and other arrays, digests made anew."""
    import hashlib

    members = dict(members)
    manifest = manifest_of(members)
    del members["manifest.json"]
    members |= {f"{name}.npy": data for name, data in (arrays or {}).items()}
    manifest["arrays"] = {
        name.removesuffix(".npy"): hashlib.sha256(data).hexdigest()
        for name, data in members.items()
    }
    if change is not None:
        manifest = change(manifest) or manifest
    text = manifest if isinstance(manifest, (str, bytes)) else json.dumps(manifest)
    zipped(path, [*members.items(), ("manifest.json", text)])


def test_compressed_and_encrypted_members(good, tmp_path):
    path, members = tmp_path / "model", members_of(good)
    zipped(path, members.items(), zipfile.ZIP_DEFLATED)
    refused(path, "stored as they are")
    zipped(path, members.items())
    data = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        central = file.start_dir
    flagged = bytearray(data)
    flagged[central + 8] |= 1
    path.write_bytes(flagged)
    with open(path, "r+b") as file:
        archive.seal(file)
    refused(path, "encrypted")


def test_zip_bombs(good, tmp_path):
    path, members = tmp_path / "model", members_of(good)
    zipped(path, [*members.items(), ("bomb.npy", b"\0" * 200_000_000)], zipfile.ZIP_DEFLATED)
    refused(path, "stored as they are")
    # A member that claims more than the file holds, and members that share their bytes.
    zipped(path, members.items())
    data = path.read_bytes()
    with zipfile.ZipFile(path) as file:
        central = file.start_dir
    for size in (2**31, 10**6):
        large = bytearray(data)
        large[central + 20 : central + 28] = size.to_bytes(4, "little") * 2
        path.write_bytes(large)
        with open(path, "r+b") as file:
            archive.seal(file)
        refused(path, "expected members of no more than the file's")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (npy(np.array([1, "a"], object), allow_pickle=True), "another header .*[|]O"),
        (npy(np.array(["a"])), "header .*<U1"), (npy(np.zeros(2, "c8")), "header .*c8"),
        (npy(np.zeros(2, "M8[s]")), "header .*M8"),
        (npy(np.zeros(2, [("a", "f4")])), "received"),
        (npy(np.zeros((2, 2, 2), "f4")), "one or two dimensions"),
        (npy(np.float32(1)), "dimensions"),
        (npy(np.asfortranarray(np.zeros((3, 2), "f4"))), "dimensions"),
        (npy(np.zeros(3, "f4"), version=(2, 0)), "another header"),
        (b"", "header"), (b"\x93NUMPY", "header"),
        (header("(1000000000000,)"), "expected 4000000000000 bytes"),
        (header("(-1,)"), "dimensions"),
        (header("(3,)") + b"\0" * 11, "expected 12 bytes .* received 11"),
        (header("(True,)"), "dimensions"),
        (header("(3,)") + b"\0" * 13, "expected 12 bytes .* received 13"),
        (header("(3.0,)"), "header"),
        (header("(3,)", size=40_000), "header"), (header("(" * 500), "header"),
        (header("len(())"), "header"),
        (header("(0, 999999999999999999)"), "expected"),
        (header("(3,)", "|O"), "another header .*[|]O"),
        (header("(3,)", "O8"), "header|received"),
        (header("(3,)", ("<f4", (2,))), "header|received"),
    ],
)  # fmt: skip
def test_arrays_that_are_none_of_ours(good, data, message, tmp_path):
    rewrite(tmp_path / "model", members_of(good), arrays={"weights": data})
    refused(tmp_path / "model", message)


def weights_of(good, change):
    array = np.lib.format.read_array(io.BytesIO(members_of(good)["weights.npy"]))
    return npy(change(array))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w[:-1], "expected .* weights, received"),
        (lambda w: np.append(w, w[:1]), "weights"),
        (lambda w: w.astype("f8"), "float32"), (lambda w: w.reshape(1, -1), "weights of float32"),
        (lambda w: w[:0], "weights"), (lambda w: np.zeros(len(w), "i4"), "float32"),
    ],
)  # fmt: skip
def test_weights_of_another_network(good, change, message, tmp_path):
    rewrite(tmp_path / "model", members_of(good), arrays={"weights": weights_of(good, change)})
    refused(tmp_path / "model", message)


def at(*path, value):
    def change(manifest):
        for name in path[:-1]:
            manifest = manifest[name]
        manifest[path[-1]] = value

    return change


NETWORK = ("architecture", "network")
HOSTILE = {
    "a later version": (at("format_version", value=2), "written by a later release .*Upgrade"),
    "version 0": (at("format_version", value=0), "expected an integer format_version"),
    "a version of text": (at("format_version", value="1"), "received '1'"),
    "version true": (at("format_version", value=True), "received True"),
    "a foreign class": (at("kind", value="os.system"), "received 'os.system'"),
    "a class to call": (at("fitted", value={"os.system": "ls"}), "names no class or function"),
    "a Lambda layer": (at("architecture", "architecture", value="Lambda"), "received .*Lambda"),
    "a class of keras": (
        at(*NETWORK, "head", value={"class_name": "Lambda", "config": {}}), "parameters of"),
    "a dtype for the network": (at(*NETWORK, "dtype", value="float64"), "parameters of"),
    "a name for the network": (at(*NETWORK, "name", value="x"), "parameters of"),
    "an unknown field": (at("more", value=1), "received .*'more'"),
    "an unknown parameter": (at("parameters", "more", value=1), "Upgrade it"),
    "functions as a parameter": (at("parameters", "time_features", value={}), "Upgrade it"),
    "a wide network": (at(*NETWORK, "hidden_size", value=100_000), "expected the weight"),
    "a huge network": (at(*NETWORK, "hidden_size", value=10**9), "up to"),
    "heads": (at(*NETWORK, "num_heads", value=10**5), "expected the weight"),
    "a negative width": (at(*NETWORK, "hidden_size", value=-8), "up to"),
    "a width of 0": (at(*NETWORK, "hidden_size", value=0), "expected"),
    "no network": (at("architecture", "network", value=[]), "parameters of a network"),
    "many members": (at("architecture", "members", value=10**6), "expected a list of weights"),
    "no members": (at("architecture", "members", value=0), "members of an ensemble"),
    "another horizon": (at(*NETWORK, "horizon", value=8), "expected horizon=7, received 8"),
    "other categories": (at(*NETWORK, "past_cardinalities", value=[2, 8]), "expected past_card"),
    "a long window": (at("fitted", "Fitted", "context_length", value=10**9), "context_length from"),
    "a level above 1": (at("fitted", "Fitted", "levels", value={"tuple": [0.5, 1.5]}), "levels"),
    "no levels": (at("fitted", "Fitted", "levels", value={"tuple": []}), "levels"),
    "a level of text": (at("fitted", "Fitted", "levels", value={"tuple": ["0.5"]}), "levels"),
    "another array": (at("memory", "Rows", "labels", value={"array": "weights"}), "expected Index"),
    "an array of other numbers": (
        at("memory", "Rows", "series", value={"array": "memory.target"}),
        "expected array of int64"),
    "an array that is not there": (at("memory", "Rows", "row", value={"array": "x"}),
    "name of an array"),
    "series in no order": (at("memory", "Rows", "series", value={"array": "memory.row"}),
    "expected"),
    "no seal of arrays": (at("arrays", value=3), "arrays that manifest.json lists"),
    "another digest": (at("arrays", "weights", value="0" * 64),
    "weights.npy: expected the SHA-256"),
    "a digest of another type": (at("arrays", "weights", value=[]),
    "weights.npy: expected the SHA"),
    "no histories": (at("attributes", "histories_", value=[]), "losses by epoch"),
    "losses of text": (at("attributes", "histories_", value=[{"dict": [["a", ["b"]]]}]), "losses"),
    "a method as an attribute": (at("attributes", "predict", value=1), "attributes: expected"),
    "weights by another name": (at("weights", 0, 0, value="x"), "expected the weight"),
    "weights of another shape": (at("weights", 0, 1, value=[8, 14]), "expected the weight"),
    "no weights": (at("weights", value=[]), "networks of"),
    "a million weights": (at("weights", value=[0] * 10**6), "networks of"),
    "a list": (lambda manifest: "[]", "expected an object"),
    "no JSON": (lambda manifest: "{", "expected JSON"),
    "no text": (lambda manifest: b"\xff\xfe\xfd", "expected JSON"),
    "NaN": (lambda manifest: '{"a": NaN}', "NaN is no number of JSON"),
    "Infinity": (lambda manifest: '{"a": -Infinity}', "Infinity is no number of JSON"),
    "an endless number": (lambda manifest: '{"a": ' + "9" * 5000 + "}", "expected JSON"),
    "a name twice": (lambda manifest: '{"a": 1, "a": 2}', "a name occurs twice"),
    "deep JSON": (lambda manifest: "[" * 200_000, "nested lists"),
    "deep but whole": (lambda manifest: "[" * 200_000 + "]" * 200_000, "nested lists"),
    "many lists": (lambda manifest: "[" + "[]," * 1_000_000 + "[]]", "lists"),
    "deep values": (
        lambda manifest: at("fitted", value={"tuple": nested(60)})(manifest), "nested lists"),
}  # fmt: skip


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=list(HOSTILE))
def test_hostile_manifests(good, change, message, tmp_path):
    began = time.perf_counter()
    rewrite(tmp_path / "model", members_of(good), change)
    refused(tmp_path / "model", message)
    assert time.perf_counter() - began < 5


def test_huge_json(good, tmp_path):
    rewrite(
        tmp_path / "model", members_of(good), lambda manifest: '{"a": "' + "x" * 40_000_000 + '"}'
    )
    refused(tmp_path / "model", "expected at most 33554432 bytes, received 40000009")


def test_hostile_files_take_no_memory(good, tmp_path):
    """A declared network of 10**12 weights is refused by its shapes, without making it."""
    import tracemalloc

    def change(manifest):
        manifest["architecture"]["network"]["hidden_size"] = 2**20

    rewrite(tmp_path / "model", members_of(good), change)
    tracemalloc.start()
    refused(tmp_path / "model", "expected the weight")
    assert tracemalloc.get_traced_memory()[1] < 50_000_000
    tracemalloc.stop()


@pytest.mark.parametrize(("first", "last"), [("1679-01", "1682-05"), ("2258-01", "2261-12")])
def test_months_up_to_the_ends_of_what_fit_takes_are_read_again(first, last, tiny, tmp_path):
    times = pd.Series(np.arange(np.datetime64(first), np.datetime64(last)).astype("datetime64[s]"))
    table = pd.DataFrame({"t": times, "y": np.arange(len(times)) * 1.0})
    model = FusionForecaster(3, target="y", context_length=6, **SMALL).fit(table)
    model.save(tmp_path / "model")
    again = FusionForecaster.load(tmp_path / "model")
    pd.testing.assert_frame_equal(again.forecast(), model.forecast())


@pytest.mark.parametrize(
    ("field", "change", "message"),
    [
        ("series", lambda a: a[::-1], "expected rows in order"),
        ("series", lambda a: a + 9, "of 3 series"),
        ("series", lambda a: a - 1, "of 3 series"), ("categorical", lambda a: a + 9, "codes below"),
        ("categorical", lambda a: a - 9, "codes below"),
        ("categorical", lambda a: a[:, :0], "1 codes"),
        ("static_categorical", lambda a: a + 9, "codes below"),
        ("real", lambda a: a[:, :1], "2 numbers"),
        ("real", lambda a: a[:-1], "rows of real"), ("ordinal", lambda a: a[::-1], "rows in order"),
        ("ordinal", lambda a: a * 10**12, "times in the range"),
        ("target", lambda a: a[:0], "rows of target"),
        ("static_real", lambda a: a[:0], "series of static_real"),
        ("weight", lambda a: a[1:], "of weight"),
        ("ordinal", lambda a: np.full(len(a), np.nan), "finite times"),
    ],
)  # fmt: skip
def test_hostile_rows(good, field, change, message, tmp_path):
    members = members_of(good)
    array = np.lib.format.read_array(io.BytesIO(members[f"memory.{field}.npy"]))
    changed = {f"memory.{field}": npy(np.ascontiguousarray(change(array)))}
    rewrite(tmp_path / "model", members, arrays=changed)
    refused(tmp_path / "model", message)


def test_hostile_regions_and_calendars(knows_time, tmp_path):
    path = tmp_path / "model"
    knows_time.save(path)
    members = members_of(path.read_bytes())
    functions = {"payday": payday, "season": season}
    calendar = ("fitted", "Fitted", "calendar", "CalendarCodes")
    holidays = (*calendar, "holidays", "HolidayCalendar")
    for change in (
        at(*holidays, "regions", value={"tuple": [{"tuple": ["os", "system"]}]}),
        at(*holidays, "regions", value={"tuple": [{"tuple": ["registry", None]}]}),
        at(*holidays, "regions", value={"tuple": []}),
        at(*holidays, "column", value=99),
        at(*holidays, "scale", value=0.0),
        at(*calendar, "names", value={"tuple": []}),
        at(*calendar, "seen", value={"tuple": []}),
        at("time_features", "fitted", value=["other"]),
    ):
        rewrite(path, members, change)
        with pytest.raises(ValueError, match="expected"):
            FusionForecaster.load(path, time_features=functions)


def test_hostile_values():
    arrays = {"a": np.arange(3), "b": np.zeros(3, np.uint8), "c": np.array([5, 1, 3])}

    def index(dtype, values):
        return {"index": {"name": None, "dtype": dtype, "values": values}}

    for data in (
        {}, {"a": 1, "b": 2}, {"tuple": 3}, {"dict": [1]}, {"dict": [[1]]}, {"dict": [[[], 1]]},
        {"dict": [[1, 2], [1, 3]]}, {"set": [[]]}, {"float": "1"}, {"float": []}, {"numpy": ["O",
        1]},
        {"numpy": ["float64", "x"]}, {"numpy": ["int8", 1000]}, {"numpy": ["datetime64", "x", 1]},
        {"timestamp": [1, "ns", "../../etc/passwd"]}, {"timestamp": [1, "ns", "/etc/passwd"]},
        {"timestamp": [2**70, "ns", None]}, {"timestamp": [1, "x", None]}, {"zone": "No/Where"},
        {"zone": 10**9}, {"zone": {}}, {"period": [1, "x"]}, {"offset": "x"}, {"offset": 3},
        {"interval": [1, 2, "x"]}, {"interval": [2, 1, "left"]}, {"date": "x"}, {"bytes": "x"},
        {"random_state": [[1], 0, 0, "0"]}, {"array": "x"}, {"array": []}, {"series": [1]},
        {"random_state": [[1] * 624, 1000, 0, "0"]}, {"decimal": "x"}, {"uuid": "x"}, {"path": 1},
        {"Roles": {}}, {"Roles": 3}, {"eval": "1"}, {"__class__": 1}, {"objects": 3}, {"index": 3},
        index(["numpy", "float64"], "a"), index(["datetime", "ns", None], "b"), index(["object"],
        3),
        index(["object"], {"text": "b", "ends": "c"}), index(["object"], {"text": "b",
        "ends": "b"}),
        index(["string", "x", "nan"], []), index(["masked", "Int64"], ["x"]), index([], []),
        index(["category"], []), index(["arrow", "os"], []), index(["period", "x"], "a"),
        {"index": {"levels": [], "codes": [], "names": []}},
        {"index": {"levels": [index(["numpy", "int64"], "a")["index"]], "codes": ["c"],
        "names": [None]}},
        nested(100),
    ):  # fmt: skip
        with pytest.raises(FileFormatError, match="^here"):
            Decoder(arrays).decode(data, "here")


# Calibration --------------------------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::tsfusion.CalibrationWarning")
@pytest.mark.parametrize("method", ["cqr", "aci"])
def test_a_calibrated_forecaster(fitted, history, future, method, tmp_path):
    calibrated = copy.copy(fitted).calibrate(history, method=method)
    loaded = saved_and_loaded(calibrated, tmp_path / "model")
    assert (calibrated.forecast(future)["q0.1"] != fitted.forecast(future)["q0.1"]).all()
    assert same(calibrated.forecast(future), loaded.forecast(future))
    rows = history[-30:].assign(sales=history["sales"] + 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        assert same(calibrated.update(rows).forecast(future), loaded.update(rows).forecast(future))


@pytest.mark.filterwarnings("ignore::tsfusion.CalibrationWarning")
def test_a_calibration_that_does_not_fit(fitted, history, tmp_path):
    path = tmp_path / "model"
    copy.copy(fitted).calibrate(history).save(path)
    members = members_of(path.read_bytes())
    arrays = manifest_of(members)["calibration"][0]["dict"]
    place = {key: i for i, (key, _) in enumerate(arrays)}
    for name, value in {
        "method": "magic", "coverage": "sky", "window": 0, "rate": -1.0, "n_series": 99,
        "series": 3, "min_origins": "many", "n_series ": 1,
    }.items():  # fmt: skip
        if name.endswith(" "):
            change = at("calibration", 0, "dict", place[name.strip()], 0, value=name)
        else:
            change = at("calibration", 0, "dict", place[name], 1, value=value)
        rewrite(path, members, change)
        refused(path, "calibration|do not go together")
    (name,) = [
        name for name in members if name.startswith("calibration.") and b"<f4" in members[name][:99]
    ]
    scores = np.load(io.BytesIO(members[name]))
    for data in (scores[:-1], scores[:, :-1], scores.astype("f8"), scores + np.inf):
        file = io.BytesIO()
        np.save(file, data)
        rewrite(path, members, arrays={name.removesuffix(".npy"): file.getvalue()})
        refused(path, "calibration|do not go together")
