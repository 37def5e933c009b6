"""A panel read from Parquet in parts is the panel made in memory; what must be refused."""

import subprocess
import sys
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsfusion.data.encoder import PanelEncoder
from tsfusion.data.panel import CalendarCodes, Panel, Units
from tsfusion.data.parquet import ParquetPanel, _Files, _median, _quartiles
from tsfusion.data.roles import resolve_roles
from tsfusion.data.scaling import Moments
from tsfusion.exceptions import DataWarning

ROLES = {
    "time": "time", "series": "store", "target": "sales", "known": ["price", "event"],
    "observed": ["weather", "sky"], "static": ["size", "region"], "weight": "weight",
}  # fmt: skip
SMALL = "90kB"  # a handful of series at a time


def make_frame(times=None, n_series=12, seed=0):
    """Series of different starts, ends and gaps, in a random order of labels, times in order."""
    generator = np.random.default_rng(seed)
    times = pd.date_range("2021-01-28", periods=60, unit="us") if times is None else times
    parts = []
    for i in generator.permutation(n_series):
        keep = generator.random(len(times)) < 0.9
        keep[: generator.integers(0, 20)] = False
        keep[55 - i :] = False
        n = int(keep.sum())
        parts.append(
            pd.DataFrame(
                {
                    "time": times[keep],
                    "store": f"s{i:02}",
                    "sales": 100.0 * i + generator.normal(size=n) * (0 if i == 3 else 1 + i),
                    "price": generator.normal(5, 2, n),
                    "event": generator.choice(["fair", "none", f"only {i}"], n),
                    "weather": np.where(generator.random(n) < 0.2, np.nan, generator.random(n)),
                    "sky": generator.choice(np.array(["rain", "sun", None], object), n),
                    "size": i / 7,
                    "region": ["north", "south", "west"][i % 3],
                    "weight": generator.random(n),
                    "visits": generator.integers(0, 9, n),
                }
            )
        )
    frame = pd.concat(parts, ignore_index=True)
    frame.loc[generator.random(len(frame)) < 0.05, "sales"] = np.nan
    return frame


FRAME = make_frame()


def in_memory(frame, roles, freq=None, validation_size=0.1, horizon=3):
    encoder = PanelEncoder(resolve_roles(frame, **roles), freq)
    rows = encoder.fit(frame, None, validation_size=validation_size, horizon=horizon)
    train = rows.ordinal if encoder.boundary is None else rows.ordinal[
        rows.ordinal < encoder.boundary]  # fmt: skip
    calendar = CalendarCodes.learn(encoder.timeline, train)
    units = Units.learn(rows, encoder.boundary)
    panel = Panel.build(
        rows, encoder.timeline, calendar, units,
        n_observed_real=len(encoder.roles.observed_real),
        n_observed_categorical=len(encoder.roles.observed_categorical),
    )  # fmt: skip
    return encoder, units, panel


def read(path, roles=ROLES, max_memory=SMALL, horizon=3, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        return ParquetPanel(path, **roles, max_memory=max_memory, horizon=horizon, **options)


def assert_same_panel(files, frame, roles=ROLES, **options):
    """Compare what the files teach, and each of their parts, with the panel in memory."""
    encoder, units, whole = in_memory(frame, roles, **options)
    assert files.encoder.timeline == encoder.timeline
    assert files.encoder.boundary == encoder.boundary
    assert files.encoder.vocabularies.keys() == encoder.vocabularies.keys()
    for name, vocabulary in encoder.vocabularies.items():
        assert files.encoder.vocabularies[name].tolist() == vocabulary.tolist()
    for found, expected in (
        (files.encoder.location, encoder.location),
        (files.encoder.scale, encoder.scale),
        (files.units.unit.to_dict(), units.unit.to_dict()),
        ({"unit": files.units.typical_unit, "level": files.units.typical_level},
         {"unit": units.typical_unit, "level": units.typical_level}),
    ):  # fmt: skip
        assert found == pytest.approx(expected, rel=1e-12, abs=1e-12)
    place = whole.labels.get_indexer(files.series)
    np.testing.assert_array_equal(files.lengths, whole.lengths[place])
    assert (len(files), files.n_series) == (len(whole), whole.n_series)
    at = 0
    for part in files.chunks():
        of_part = np.sort(place[at : at + part.n_series])
        at += part.n_series
        assert part.labels.equals(whole.labels[of_part])
        assert part.labels.dtype == whole.labels.dtype
        steps = np.concatenate([np.arange(whole.offsets[s], whole.offsets[s + 1]) for s in of_part])
        for name in ("ordinal", "target", "categorical", "present", "weight"):
            np.testing.assert_array_equal(
                getattr(part, name), getattr(whole, name)[steps], err_msg=name, strict=True
            )
        np.testing.assert_allclose(part.real, whole.real[steps], rtol=1e-6, atol=1e-6)
        np.testing.assert_array_equal(part.lengths, whole.lengths[of_part])
        for name in ("offset", "unit", "fallback", "static_real", "static_categorical"):
            np.testing.assert_allclose(
                getattr(part, name), getattr(whole, name)[of_part], rtol=1e-6, err_msg=name
            )
    assert at == files.n_series


def one_file(frame, folder):
    frame.to_parquet(folder / "sales.parquet", row_group_size=37)
    return folder / "sales.parquet"


def one_group(frame, folder):
    frame.to_parquet(folder / "sales.parquet", row_group_size=10**6)
    return str(folder / "sales.parquet")


def many_files(frame, folder):
    """Files of seven series and a part of the eighth, the last one without rows."""
    for i, start in enumerate(range(0, len(frame), 170)):
        frame[start : start + 170].to_parquet(folder / f"part-{i:03}.parquet", row_group_size=50)
    frame[:0].to_parquet(folder / "part-999.parquet")
    return folder


def listed(frame, folder):
    many_files(frame, folder)
    return sorted(folder.iterdir())


def polars_file(frame, folder):
    table = pl.from_pandas(frame).with_columns(
        pl.col("event").cast(pl.Categorical), pl.col("time").cast(pl.Date)
    )
    table.write_parquet(folder / "sales.parquet", row_group_size=100)
    return folder


def mixed_writers(frame, folder):
    """Text as large strings, strings and categories; the rows of a series in two files."""
    pl.from_pandas(frame[:200]).write_parquet(folder / "a.parquet")
    frame[200:400].astype({"event": "category"}).to_parquet(folder / "b.parquet")
    table = pa.Table.from_pandas(frame[400:], preserve_index=False)
    pq.write_table(table.cast(pa.schema([
        field.with_type(pa.string()) if pa.types.is_large_string(field.type) else field
        for field in table.schema
    ])), folder / "c.parquet")  # fmt: skip
    return folder


def buckets(frame, folder):
    """Directories of buckets, which are no columns of the panel."""
    bucket = frame["store"].str[1:].astype(int) % 3
    pq.write_to_dataset(
        pa.Table.from_pandas(frame.assign(bucket=bucket), preserve_index=False),
        folder / "buckets", partition_cols=["bucket"],
    )  # fmt: skip
    return folder / "buckets"


def a_directory_for_each_store(frame, folder):
    """The labels are in the paths alone."""
    pq.write_to_dataset(
        pa.Table.from_pandas(frame, preserve_index=False), folder / "stores",
        partition_cols=["store"],
    )  # fmt: skip
    return folder / "stores"


def times_out_of_order(frame, folder):
    mixed = frame.groupby("store", sort=False).sample(frac=1, random_state=0)
    return one_file(mixed.reset_index(drop=True), folder)


def with_a_stray_index(frame, folder):
    frame.set_index(np.arange(len(frame))[::-1] * 3).to_parquet(folder / "sales.parquet")
    return folder


LAYOUTS = [
    one_file, one_group, many_files, listed, polars_file, mixed_writers, buckets,
    a_directory_for_each_store, times_out_of_order, with_a_stray_index,
]  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_parts_are_the_panel_in_memory(layout, tmp_path):
    files = read(layout(FRAME, tmp_path))
    assert files.n_chunks > 3
    frame = FRAME
    if layout is polars_file:
        frame = FRAME.assign(time=FRAME["time"].astype("datetime64[s]"))
    assert_same_panel(files, frame)


def test_all_series_fit_into_a_large_memory(tmp_path):
    files = read(one_file(FRAME, tmp_path), max_memory=10**9)
    assert files.n_chunks == 1
    assert_same_panel(files, FRAME)


@pytest.mark.filterwarnings("ignore:Period:FutureWarning")
@pytest.mark.parametrize(
    "times",
    [
        pd.date_range("2021-03-27", periods=60, freq="h", tz="Europe/Berlin", unit="us"),
        pd.date_range("2021-03-01", periods=60, freq="D", tz="Europe/Berlin", unit="ms"),
        pd.bdate_range("2021-01-01", periods=60, unit="us"),
        pd.date_range("2015-01-31", periods=60, freq="ME", unit="us"),
        pd.date_range("2015-01-31", periods=60, freq="QS", unit="us"),
        pd.period_range("2015-01", periods=60, freq="M"),
        np.arange(60) * 7 - 50,
        np.arange(60) * 0.1,
        np.arange(60, dtype=np.int16),
    ],
)  # fmt: skip
def test_times_of_every_kind(times, tmp_path):
    frame = make_frame(times)
    assert_same_panel(read(one_file(frame, tmp_path)), frame)


def test_every_row_is_one_step(tmp_path):
    days = pd.date_range("2021-01-01", periods=200, unit="us")
    frame = make_frame(days[np.sort(np.random.default_rng(1).permutation(200)[:60])])
    path = one_file(frame, tmp_path)
    assert_same_panel(read(path, freq="rows"), frame, freq="rows")


def test_the_frequency_is_that_of_most_rows(tmp_path):
    """As in memory, where a rare step decides nothing, wherever in the files it stands."""
    weekly = make_frame(pd.date_range("2021-01-03", periods=60, freq="W"), 2, seed=1)
    daily = make_frame(n_series=6).assign(store=lambda f: "d" + f["store"])
    frame = pd.concat([weekly, daily], ignore_index=True)
    path = one_file(frame, tmp_path)
    with pytest.warns(DataWarning) as warned:
        files = ParquetPanel(path, **ROLES, horizon=3, max_memory="300kB")
    assert sum("holds only one step in 7" in str(one.message) for one in warned) == 1
    assert files.encoder.timeline.freq == "D"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        assert_same_panel(files, frame)


@pytest.mark.parametrize("labels", ["int", "two columns", "none", "late"])
def test_labels_of_every_kind(labels, tmp_path):
    frame, roles = FRAME, dict(ROLES)
    if labels == "int":
        frame = FRAME.assign(store=FRAME["store"].str[1:].astype(int) * 11)
    elif labels == "two columns":
        frame = FRAME.assign(store=FRAME["store"].str[2:], chain=FRAME["store"].str[:2])
        roles["series"] = ["chain", "store"]
    elif labels == "none":
        frame = FRAME[FRAME["store"] == "s05"].reset_index(drop=True)
        roles["series"] = None
    else:
        # A series that begins after the training rows: its unit is the usual one.
        late = (FRAME["store"] != "s01") | (FRAME["time"] >= "2021-03-24")
        frame = FRAME[late].reset_index(drop=True)
    assert_same_panel(read(one_file(frame, tmp_path), roles), frame, roles)


def test_columns_may_be_left_to_be_known(tmp_path):
    roles = {"series": "store", "target": "sales", "observed": ["weather", "sky"]}
    files = read(one_file(FRAME, tmp_path), roles)
    assert set(files.roles.known) == {"price", "event", "size", "region", "weight", "visits"}
    assert_same_panel(files, FRAME, roles)


def test_columns_without_a_role_are_named(tmp_path):
    with pytest.warns(DataWarning, match=r"columns \['visits'\] have no role"):
        ParquetPanel(one_file(FRAME, tmp_path), **ROLES)


def test_without_validation_and_without_any_target(tmp_path):
    frame = FRAME.assign(sales=np.nan)
    files = read(one_file(frame, tmp_path), validation_size=0)
    assert_same_panel(files, frame, validation_size=0)


def test_the_order_follows_from_seed_and_epoch_alone(tmp_path):
    files = read(one_file(FRAME, tmp_path))
    n = files.n_chunks
    assert files.chunk_order().tolist() == list(range(n))
    orders = [tuple(files.chunk_order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)]
    assert len(set(orders)) == 4
    assert all(sorted(order) == list(range(n)) for order in orders)
    again = read(tmp_path)
    assert tuple(again.chunk_order(1, 1)) == orders[3]
    shuffled = [part.labels.tolist() for part in again.chunks(1, 1)]
    assert shuffled == [files.chunk(i).labels.tolist() for i in orders[3]]
    for seed in (None, 1):
        all_parts = [part.labels.tolist() for part in files.chunks(seed, 1)]
        for start in (0, 2, n):
            rest = files.chunks(seed, 1, start)
            assert [part.labels.tolist() for part in rest] == all_parts[start:]
    assert len(files.rows(1)) == files.chunk(1).present.sum()
    with pytest.raises(ValueError, match=f"start: expected 0 to {n}, received {n + 1}"):
        files.chunks(start=n + 1)
    with pytest.raises(IndexError, match=f"chunk: expected 0 to {n - 1}, received {n}"):
        files.chunk(n)


def test_a_shuffled_file_is_refused_with_the_mend(tmp_path):
    path = one_file(FRAME.sample(frac=1, random_state=0), tmp_path)
    with pytest.raises(ValueError, match=r"is torn apart.*must lie together.*relayout.*or sort"):
        read(path)


@pytest.mark.parametrize("max_memory", [SMALL, "1MB"])
def test_a_torn_series_is_named_with_both_places(max_memory, tmp_path):
    store = FRAME["store"].iloc[0]
    n = int((FRAME["store"] == store).sum())
    frame = pd.concat([FRAME[5:], FRAME[:5]], ignore_index=True)
    message = (
        f"Series '{store}' is torn apart: its rows begin at row 0 and again at row "
        rf"{len(frame) - 5} of .* or sort them by \['store', 'time'\]"
    )
    with pytest.raises(ValueError, match=message):
        read(one_file(frame, tmp_path), max_memory=max_memory)
    assert n > 5


def test_time_partitions_tear_series_apart(tmp_path):
    early = FRAME["time"] < "2021-03-01"
    FRAME[early].to_parquet(tmp_path / "a.parquet")
    FRAME[~early].to_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="is torn apart"):
        read(tmp_path)


def test_a_series_larger_than_the_memory_is_named(tmp_path):
    path = one_file(FRAME, tmp_path)
    with pytest.raises(ValueError, match=r"Series 's\d\d' alone takes .* MB.*larger max_memory="):
        read(path, max_memory=5_000)
    stray = FRAME.copy()
    stray.loc[stray.index[-1], "time"] = pd.Timestamp("2221-01-01")
    with pytest.raises(ValueError, match=r"alone takes .*more steps than rows.*wrong date"):
        read(one_file(stray, tmp_path), max_memory="1MB")


@pytest.mark.parametrize(
    ("change", "roles", "error", "message"),
    [
        ({}, {"known": "prise"}, ValueError, "known: expected a column.*Did you mean 'price'"),
        ({}, {"time": "index"}, ValueError, "time: expected a column of the files"),
        ({}, {"target": None}, ValueError, "No target"),
        ({"time": lambda f: f["time"].astype(str)}, {}, TypeError, "pd.to_datetime"),
        ({"time": lambda f: f["time"].where(f.index != 300)}, {}, ValueError,
         "Time column 'time': expected a time in every row, row 300 has none"),
        ({"store": lambda f: f["store"].where(f.index != 3)}, {}, ValueError,
         "Series column 'store': expected a label in every row, row 3 has none"),
        ({"price": lambda f: f["price"].where(f.index != 300)}, {}, ValueError,
         r"Known column 'price': Input contains NaN at row \d+ .*counted from row \d+ of the fil"),
        ({"event": lambda f: f["event"].where(f.index != 3)}, {}, ValueError,
         r"Known column 'event': Input contains NaN \(no category\) at row 3 "),
        ({"sales": lambda f: f["sales"].where(f.index != 3, np.inf)}, {}, ValueError,
         "infinity.*target column 'sales', row 3"),
        ({"sales": "much"}, {}, TypeError, "Target column 'sales': expected numbers"),
        ({"weight": -1.0}, {}, ValueError, "Weight column 'weight': expected numbers >= 0, row 0"),
        ({"size": lambda f: np.arange(len(f))}, {}, ValueError, "'size' varies within series"),
        ({"region": lambda f: f["event"]}, {}, ValueError, "'region' varies within series"),
        ({"time": lambda f: f["time"].mask(f.index == 1, f["time"][0])}, {}, ValueError,
         r"more than one row at time 2021-.* \(rows 0 and 1"),
        ({"time": lambda f: f["time"].mask(f.index == 9, f["time"] + pd.Timedelta("7h"))}, {},
         ValueError, r"times are irregular. Most steps are 1 days.*\(row 9\)"),
        ({"time": lambda f: f["time"] + pd.to_timedelta(np.where(f["store"] == "s04", 7, 0), "h")},
         {}, ValueError, r"a series does not share the steps of the others.*pass freq='h'"),
    ],
)  # fmt: skip
def test_bad_files_are_refused(change, roles, error, message, tmp_path):
    path = one_file(FRAME.assign(**change), tmp_path)
    with pytest.raises(error, match=message):
        read(path, {**ROLES, **roles})


def test_rows_off_a_given_grid_are_counted(tmp_path):
    off = FRAME["time"] + pd.to_timedelta(np.where(FRAME["store"] == "s04", 7, 0), "h")
    n = int((FRAME["store"] == "s04").sum())
    with pytest.raises(ValueError, match=rf"off that grid \({n} rows in all\)"):
        read(one_file(FRAME.assign(time=off), tmp_path), freq="D")


def test_what_is_no_parquet_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="there are no Parquet files in"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match="path: expected a Parquet file, a directory"):
        read(tmp_path / "nothing.parquet")
    (tmp_path / "text.parquet").write_text("store,time,sales\n")
    with pytest.raises(ValueError, match="path: expected Parquet files alone in .* relayout"):
        read(tmp_path / "text.parquet")


def test_files_without_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match="the Parquet files hold no rows"):
        read(one_file(FRAME[:0], tmp_path))


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (FRAME.drop(columns="sky"), "Column 'sky' is string in .*a.parquet but missing in .*b.par"),
        (FRAME.assign(more=1), "Column 'more' is missing in .*a.parquet but int64 in .*b.parquet"),
        (FRAME.astype({"visits": "int32"}), "Column 'visits' is int64 in .* but int32 in"),
    ],
)
def test_files_of_different_columns_are_refused(other, message, tmp_path):
    FRAME[:200].to_parquet(tmp_path / "a.parquet")
    other[200:].to_parquet(tmp_path / "b.parquet")
    with pytest.raises(ValueError, match=message):
        read(tmp_path)


@pytest.mark.parametrize("size", ["much", "1.2.3MB", 0, -5, True, "12XB"])
def test_a_memory_that_is_none_is_refused(size, tmp_path):
    with pytest.raises(ValueError, match="max_memory: expected a number of bytes"):
        read(tmp_path, max_memory=size)


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.floats(-1e300, 1e300, allow_subnormal=False), max_size=30),
    st.sampled_from([0.0, 7.0]), st.integers(1, 40), st.lists(st.integers(0, 30), max_size=3),
)  # fmt: skip
def test_the_median_of_parts(values, added, most, cuts):
    y = np.array([*values, *[added] * (len(values) // 2)])
    parts = np.split(y, sorted(cuts))
    found = _median(lambda: iter(parts), len(y), most)
    assert found == (pytest.approx(np.median(y), rel=1e-15) if len(y) else 0.0)
    if len(y):
        quartiles = _quartiles(lambda: iter(parts), len(y), most)
        expected = np.quantile(y, [0.25, 0.5, 0.75]).tolist()
        assert quartiles == pytest.approx(expected, rel=1e-14, abs=1e-14 * np.abs(y).max())


@settings(deadline=None, max_examples=80)
@given(
    st.lists(st.lists(st.floats(-1e6, 1e6) | st.just(np.nan), max_size=9), max_size=5),
    st.sampled_from([0.0, 1e9]),
)
def test_moments_of_parts(parts, level):
    moments = Moments()
    for part in parts:
        moments.add(np.array(part, float) + level)
    y = np.array([value for part in parts for value in part], float) + level
    y = y[np.isfinite(y)]
    assert moments.n == len(y)
    if len(y):
        assert moments.mean == pytest.approx(y.mean(), rel=1e-12, abs=1e-9)
        assert moments.spread == pytest.approx(y.std(), rel=1e-9, abs=1e-6)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.integers(0, 200), min_size=2, max_size=8, unique=True).map(sorted))
def test_tables_are_the_rows_between_bounds(many, bounds):
    table = pl.concat([pl.from_arrow(part) for part in many.tables(["i", "t"], bounds)])
    assert table["i"].to_list() == list(range(bounds[0], bounds[-1]))
    assert table["t"].cast(pl.String).to_list() == [
        str(i // 30) for i in range(bounds[0], bounds[-1])
    ]
    lengths = [len(part) for part in many.tables(["t"], bounds)]
    assert lengths == np.diff(bounds).tolist()


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """Two hundred numbered rows in files and row groups of odd sizes."""
    folder = tmp_path_factory.mktemp("rows")
    frame = pd.DataFrame({"i": np.arange(200), "t": [str(i // 30) for i in range(200)]})
    for name, low, high in (("a", 0, 70), ("b", 70, 71), ("c", 71, 200)):
        frame[low:high].to_parquet(folder / f"{name}.parquet", row_group_size=23)
    return _Files(folder, set(), 1)


MEASURE = """
import sys
import pyarrow as pa
from tsfusion.data import ParquetPanel

def peak():
    lines = open("/proc/self/status").read().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))

roles = dict(time="time", series="store", target="sales", observed=["weather", "sky"],
             static=["region"], max_memory="64MB")
ParquetPanel(sys.argv[1], **roles).chunk(0)
before = peak()
panel = ParquetPanel(sys.argv[2], **roles)
steps = sum(len(part) for part in panel.chunks())
print(steps, panel.n_chunks, peak() - before, pa.default_memory_pool().max_memory())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_memory_stays_within_the_bound(tmp_path):
    generator = np.random.default_rng(0)
    n_series, n_steps = 200, 3_000
    n = n_series * n_steps
    for name, series in (("small", 4), ("large", n_series)):
        code = np.repeat(np.arange(series), n_steps)
        time = np.tile(np.arange(n_steps), series) * np.timedelta64(3_600, "s")
        frame = pd.DataFrame(
            {
                "time": np.datetime64("2021-01-01T00", "us") + time,
                "store": pd.Categorical.from_codes(code, [f"store {i}" for i in range(series)]),
                "sales": generator.normal(size=len(code)),
                "price": generator.normal(size=len(code)),
                "weather": generator.normal(size=len(code)),
                "sky": pd.Categorical.from_codes(code % 3, ["rain", "snow", "sun"]),
                "region": pd.Categorical.from_codes(code % 2, ["north", "south"]),
            }
        )
        frame.to_parquet(tmp_path / f"{name}.parquet", row_group_size=n)
    arguments = [str(tmp_path / f"{name}.parquet") for name in ("small", "large")]
    done = subprocess.run(
        [sys.executable, "-c", MEASURE, *arguments], check=True, capture_output=True, text=True
    )
    steps, chunks, grown, arrow = map(int, done.stdout.split())
    assert steps == n
    assert chunks > 5
    assert grown < 64e6
    assert arrow < 64e6
