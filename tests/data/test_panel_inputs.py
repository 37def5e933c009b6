"""One panel through every kind of table: the same arrays, and those that plain Python expects."""

import datetime
import math
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tsfusion.data.encoder import PanelEncoder
from tsfusion.data.frames import as_frame
from tsfusion.data.panel import CalendarCodes, Panel, Units
from tsfusion.data.roles import resolve_roles

ROLES = {"time": "time", "series": "store", "target": "sales", "observed": "sky",
         "static": "region"}  # fmt: skip
ARRAYS = [name for name in Panel.__dataclass_fields__ if name not in ("labels",)]
# Which steps each store has: other starts, ends and lengths, gaps, and a store of one row.
STEPS = {"a": [0, 1, 2, 3, 5, 6, 7, 8, 9], "b": [2, 3, 4, 6, 7], "c": [4]}


def learn(frame, y=None, freq=None, **roles):
    """The panel of a frame, and the encoder that read it."""
    given = {**ROLES, **roles}
    encoder = PanelEncoder(resolve_roles(as_frame(frame), **given, y_given=y is not None), freq)
    rows = encoder.fit(frame, y, validation_size=0, horizon=1)
    panel = Panel.build(
        rows,
        encoder.timeline,
        CalendarCodes.learn(encoder.timeline, rows.ordinal),
        Units.learn(rows, None),
        n_observed_real=len(encoder.roles.observed_real),
        n_observed_categorical=len(encoder.roles.observed_categorical),
    )
    return panel, encoder


def long_frame(times):
    """A row for each store and step, shuffled; ``times`` holds the time of each step."""
    table = [(store, step) for store, steps in STEPS.items() for step in steps]
    frame = pd.DataFrame(
        {
            "time": times[[step for _, step in table]],
            "store": [store for store, _ in table],
            "sales": [sales(*key) for key in table],
            "price": [float(step % 4) for _, step in table],
            "event": [["none", "fair", "sale"][step % 3] for _, step in table],
            "sky": [None if step == 5 else ["sun", "rain"][step % 2] for _, step in table],
            "region": [{"a": "north"}.get(store, "south") for store, _ in table],
        }
    )
    return frame.sample(frac=1, random_state=1, ignore_index=True)


def sales(store, step):
    return math.nan if (store, step) == ("a", 3) else 10.0 * ord(store) + step**2


def assert_same(found, expected):
    assert found.labels.tolist() == expected.labels.tolist()
    for name in ARRAYS:
        np.testing.assert_array_equal(
            getattr(found, name), getattr(expected, name), err_msg=name, strict=True
        )


def assert_laid_out(panel, encoder, times):
    """Compare with what plain Python lays out step by step."""
    expected = []
    for store, steps in STEPS.items():
        for step in range(steps[0], steps[-1] + 1):
            here = step in steps
            expected.append(
                (
                    times[step],
                    sales(store, step) if here else math.nan,
                    here,
                    # Vocabularies are in order: fair, none, sale; rain, sun.
                    [2, 1, 3][step % 3] if here else 0,
                    [2, 1][step % 2] if here and step != 5 else 0,
                )
            )
    time, target, present, event, sky = zip(*expected)
    assert panel.labels.tolist() == list(STEPS)
    assert panel.lengths.tolist() == [steps[-1] - steps[0] + 1 for steps in STEPS.values()]
    assert encoder.timeline.times(panel.ordinal).tolist() == list(time)
    np.testing.assert_array_equal(panel.target, target)
    np.testing.assert_array_equal(panel.present, present)
    np.testing.assert_array_equal(panel.categorical[:, 0], sky)
    np.testing.assert_array_equal(panel.categorical[:, 1], event)
    np.testing.assert_array_equal(np.isnan(panel.real[:, 1]), ~np.array(present))
    price = panel.real[:, 1] * encoder.scale["price"] + encoder.location["price"]
    np.testing.assert_allclose(
        price[panel.present],
        [step % 4 for steps in STEPS.values() for step in steps],
        atol=1e-6,
    )
    assert panel.static_categorical.ravel().tolist() == [1, 2, 2]


DAYS = pd.date_range("2021-03-01", periods=10, unit="us")
FRAME = long_frame(DAYS)


def categories(frame):
    text = ["store", "event", "sky", "region"]
    return frame.astype(dict.fromkeys(text, "category"))


def to_polars(frame):
    return pl.from_arrow(pa.Table.from_pandas(frame))


def polars_types(frame):
    return to_polars(frame).with_columns(
        pl.col("store").cast(pl.Categorical),
        pl.col("event").cast(pl.Enum(["none", "fair", "sale"])),
        pl.col("time").cast(pl.Date),
        pl.col("sales").fill_nan(None),
        pl.col("price").cast(pl.Int32),
    )


def arrow_types(frame):
    table = pa.Table.from_pandas(frame)
    for name in ("store", "event", "sky", "region"):
        place = table.column_names.index(name)
        table = table.set_column(place, name, table[name].dictionary_encode())
    place = table.column_names.index("time")
    table = table.set_column(place, "time", table["time"].cast(pa.date32()))
    place = table.column_names.index("price")
    return table.set_column(place, "price", table["price"].cast(pa.decimal128(9, 2)))


def chunked(frame):
    table = arrow_types(frame)
    return pa.concat_tables([table.slice(0, 4), table.slice(4, 7), table.slice(11)])


@pytest.mark.parametrize(
    "change",
    [
        lambda f: f,
        lambda f: f.sort_values(["store", "time"]),
        lambda f: f.set_index(f.index[::-1] * 7),
        categories,
        *(lambda f, dtype=dtype: f.astype(dict.fromkeys(["store", "event", "sky", "region"], dtype))
          for dtype in ("str", object, "string", "string[pyarrow]", pd.ArrowDtype(pa.string()),
                        pd.ArrowDtype(pa.large_string()))),
        lambda f: f.convert_dtypes(),
        lambda f: f.convert_dtypes(dtype_backend="pyarrow"),
        lambda f: f.assign(time=f["time"].astype(pd.ArrowDtype(pa.timestamp("ms")))),
        lambda f: f.assign(time=[t.date() for t in f["time"]]),
        to_polars,
        polars_types,
        lambda f: pl.concat([to_polars(f[:5]), to_polars(f[5:])], rechunk=False),
        lambda f: pa.Table.from_pandas(f),
        arrow_types,
        chunked,
        lambda f: arrow_types(f).combine_chunks().to_batches()[0],
    ],
)  # fmt: skip
def test_every_table_gives_the_same_panel(change):
    expected, _ = learn(FRAME)
    found, encoder = learn(change(FRAME))
    assert_same(found, expected)
    assert_laid_out(found, encoder, DAYS)


@pytest.mark.parametrize(
    ("change", "roles"),
    [
        (lambda f: f.set_index("time"), {"time": None}),
        (lambda f: f.set_index("time"), {"time": "index"}),
        (lambda f: f.rename(columns={"time": "day"}), {"time": None}),
        (lambda f: f.set_index(f["time"].dt.to_period("D")).drop(columns="time"), {"time": None}),
        (lambda f: f.set_index(["store", "time"]), {"time": None, "series": None}),
        (
            lambda f: categories(f).set_index(["store", "time"]),
            {"time": None, "series": None},
        ),
        (lambda f: f.set_index(["store", "time"]).rename_axis([None, None]),
         {"time": None, "series": None}),
        (lambda f: f.set_index("time", append=True).droplevel(0), {"time": None}),
    ],
)  # fmt: skip
def test_times_and_series_may_stand_in_the_index(change, roles):
    found, encoder = learn(change(FRAME), **roles)
    assert_same(found, learn(FRAME)[0])
    times = DAYS.to_period("D") if encoder.timeline.period else DAYS
    assert_laid_out(found, encoder, times)


@pytest.mark.parametrize("series", [pl.Series, lambda y: pl.Series(y, nan_to_null=True), pa.array,
                                    pd.Series, list, np.asarray])  # fmt: skip
def test_a_target_beside_the_table(series):
    y = series(FRAME["sales"].to_numpy())
    for table in (to_polars(FRAME.drop(columns="sales")), FRAME.drop(columns="sales")):
        assert_same(learn(table, y, target=None)[0], learn(FRAME)[0])


@pytest.mark.parametrize(
    "freq", ["15min", "h", "D", "B", "W-SUN", "MS", "ME", "QS", "QE", "YS", "YE", "2h", "6MS"]
)
@pytest.mark.parametrize("kind", ["datetime", "index", "polars", "arrow"])
def test_times_of_every_frequency(freq, kind):
    times = pd.date_range("2019-12-20", periods=10, freq=freq, unit="us")
    frame = long_frame(times)
    table = {
        "datetime": lambda f: f, "index": lambda f: f.set_index("time"),
        "polars": to_polars, "arrow": pa.Table.from_pandas,
    }[kind](frame)  # fmt: skip
    panel, encoder = learn(table, time=None if kind == "index" else "time")
    assert_laid_out(panel, encoder, times)
    assert_same(panel, learn(frame)[0])


@pytest.mark.filterwarnings("ignore:Period:FutureWarning")
@pytest.mark.parametrize("freq", ["15min", "h", "2h", "D", "B", "W-SUN", "M", "Q", "Y"])
@pytest.mark.parametrize("as_index", [False, True])
def test_periods_of_every_frequency_without_a_warning(freq, as_index):
    times = pd.period_range("2019-12-20", periods=10, freq=freq)
    frame = long_frame(times)
    if as_index:
        frame = frame.set_index("time")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        panel, encoder = learn(frame, time=None if as_index else "time")
        shown = encoder.timeline.times(panel.ordinal)
    assert shown.dtype == times.dtype
    assert_laid_out(panel, encoder, times)


@pytest.mark.parametrize("start", ["2021-03-26", "2021-10-29"])
@pytest.mark.parametrize("freq", ["h", "6h", "D"])
@pytest.mark.parametrize("library", ["pandas", "polars", "arrow", "arrow dtype"])
def test_zones_over_both_changes_of_the_clock(start, freq, library):
    times = pd.date_range(start, periods=10, freq=freq, tz="Europe/Berlin", unit="us")
    if freq == "h":
        times = times + pd.Timedelta(hours=45)
    frame = long_frame(times)
    table = {
        "pandas": lambda: frame, "polars": lambda: to_polars(frame),
        "arrow": lambda: pa.Table.from_pandas(frame),
        "arrow dtype": lambda: frame.assign(
            time=frame["time"].astype(pd.ArrowDtype(pa.timestamp("us", "Europe/Berlin")))
        ),
    }[library]()  # fmt: skip
    panel, encoder = learn(table)
    assert_laid_out(panel, encoder, times)
    assert_same(panel, learn(frame)[0])
    assert str(encoder.timeline.tz) == "Europe/Berlin"


@pytest.mark.parametrize(
    "times",
    [
        np.arange(10), np.arange(10, dtype="uint8"), np.arange(100, 300, 20), np.arange(10) * 0.1,
        np.arange(10, dtype="float32") / 4, np.arange(10) - 5,
    ],
)  # fmt: skip
@pytest.mark.parametrize("change", [lambda f: f, to_polars, pa.Table.from_pandas])
def test_numbers_as_times(times, change):
    panel, encoder = learn(change(long_frame(times)))
    assert_laid_out(panel, encoder, dict(enumerate(encoder.timeline.times(np.arange(10)).tolist())))
    np.testing.assert_allclose(encoder.timeline.times(np.arange(10)), times, atol=1e-6)


@pytest.mark.parametrize("change", [lambda f: f, to_polars, pa.Table.from_pandas])
def test_every_row_is_one_step(change):
    trading = pd.DatetimeIndex(["2021-01-04", "2021-01-05", "2021-01-08", "2021-01-20"] + [
        f"2021-02-{day:02}" for day in (1, 2, 4, 9, 17, 26)]).as_unit("us")  # fmt: skip
    panel, encoder = learn(change(long_frame(trading)), freq="rows")
    assert panel.present.all()
    assert panel.lengths.tolist() == [len(steps) for steps in STEPS.values()]
    expected = [trading[step] for steps in STEPS.values() for step in steps]
    assert encoder.timeline.times(panel.ordinal).tolist() == expected


def test_an_array_holds_the_same_panel_by_number():
    code = {"a": 0.0, "b": 1.0, "c": 2.0}
    frame = long_frame(np.arange(10)).assign(
        store=lambda f: f["store"].map(code), event=lambda f: f["time"] % 3,
        sky=lambda f: f["time"] % 2, region=lambda f: f["store"] % 2,
    )  # fmt: skip
    named, _ = learn(frame)
    array = frame.to_numpy(dtype=float)
    numbered, encoder = learn(array, time=0, series=1, target=2, observed=5, static=6)
    assert_same(numbered, named)
    assert encoder.roles.known == (3, 4)
    assert_same(learn(array.tolist(), time=0, series=1, target=2, observed=5, static=6)[0], named)


def test_columns_without_a_role_are_not_read():
    table = to_polars(FRAME).with_columns(junk=pl.lit(None, pl.Object))
    roles = resolve_roles(FRAME, **ROLES)
    rows = PanelEncoder(roles).fit(table, None, validation_size=0, horizon=1)
    assert len(rows) == len(FRAME)


def test_numbers_of_other_tables_are_not_copied():
    table, other = pa.Table.from_pandas(FRAME), to_polars(FRAME)
    price = table["price"].chunk(0).to_numpy()
    assert np.shares_memory(as_frame(table)["price"].to_numpy(), price)
    assert np.shares_memory(as_frame(other)["price"].to_numpy(), other["price"].to_numpy())


def test_sorted_rows_are_not_sorted_again():
    ordered = FRAME.sort_values(["store", "time"], ignore_index=True)
    encoder = PanelEncoder(resolve_roles(ordered, **ROLES))
    rows = encoder.fit(ordered, None, validation_size=0, horizon=1)
    assert rows.sorted() is rows
    np.testing.assert_array_equal(rows.row, np.arange(len(ordered)))


def test_small_panels():
    one = FRAME[FRAME["store"] == "c"]
    with pytest.raises(ValueError, match="cannot infer the frequency, no series has two"):
        learn(one)
    panel, _ = learn(one, freq="D")
    assert (len(panel), panel.target.tolist()) == (1, [sales("c", 4)])
    panel, _ = learn(FRAME.assign(sales=np.nan))
    assert np.isnan(panel.target).all()
    assert np.isfinite(panel.fallback).all()


@pytest.mark.parametrize("change", [lambda f: f, to_polars, pa.Table.from_pandas])
def test_a_table_without_rows(change):
    with pytest.raises(ValueError, match="cannot infer the frequency"):
        learn(change(FRAME[:0]))
    assert len(learn(change(FRAME[:0]), freq="D")[0]) == 0


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        (lambda: to_polars(FRAME).lazy(), TypeError, r"LazyFrame: call .collect\(\)"),
        (lambda: to_polars(FRAME)["sales"], TypeError, "single column.*Reshape your data"),
        (lambda: pd.concat([FRAME, FRAME[["price"]]], axis=1), ValueError, "'price' occurs more"),
        (lambda: pa.Table.from_pandas(FRAME).append_column("price", pa.nulls(len(FRAME))),
         ValueError, "'price' occurs more than once"),
        (lambda: FRAME.assign(time=FRAME["time"].where(FRAME.index != 3)), ValueError,
         "Time column 'time': expected a time in every row, row 3 has none"),
        (lambda: to_polars(FRAME).with_columns(
            pl.when(pl.int_range(pl.len()) != 3).then("time").alias("time")), ValueError,
         "Time column 'time': expected a time in every row, row 3 has none"),
        (lambda: FRAME.assign(store=FRAME["store"].where(FRAME.index != 2)), ValueError,
         "Series column 'store': expected a label in every row, row 2 has none"),
        (lambda: FRAME.assign(time=FRAME["time"].astype(str)), TypeError, "pd.to_datetime"),
        (lambda: pd.concat([FRAME, FRAME[4:5]]), ValueError, "more than one row at time"),
    ],
)  # fmt: skip
def test_bad_tables_are_refused_in_one_sentence(table, error, message):
    with pytest.raises(error, match=message):
        learn(table())


@pytest.mark.parametrize(
    ("level", "message"),
    [("store", "Series column 'store': .*row 2 has none"), ("time", "Time column 'time': .*row 2")],
)
def test_an_index_with_gaps_is_refused(level, message):
    holed = FRAME.assign(**{level: FRAME[level].where(FRAME.index != 2)})
    with pytest.raises(ValueError, match=message):
        learn(holed.set_index(["store", "time"]), time=None, series=None)


def test_dates_of_python_are_times_where_they_are_named():
    days = [datetime.date(2021, 3, 1) + datetime.timedelta(i) for i in range(10)]
    panel, encoder = learn(long_frame(pd.Index(days, dtype=object)))
    assert_laid_out(panel, encoder, DAYS)


def test_statics_that_are_there_are_compared_where_others_are_not():
    frame = FRAME.assign(size=FRAME["store"].map({"a": 1.0, "b": 2.0, "c": 3.0}))
    encoder = PanelEncoder(resolve_roles(frame, **{**ROLES, "static": ["region", "size"]}))
    rows = encoder.fit(frame, None, validation_size=0, horizon=1)
    later = frame.drop(columns="region")
    for table in (later, to_polars(later)):
        again = encoder.read(table, kind="X", memory=rows, with_target=False)
        np.testing.assert_array_equal(again.static_real, rows.static_real)
        np.testing.assert_array_equal(again.static_categorical, rows.static_categorical)
    moved = later.assign(size=later["size"].replace(2.0, 7.0))
    with pytest.raises(ValueError, match="static column 'size' of series 'b' differs"):
        encoder.read(moved, kind="X", memory=rows, with_target=False)
