"""Readers of benchmark files, on small files written here; what is refused, and in which words."""

import gzip
import os
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tsfusion.data import read_ett, read_m4, read_nixtla, read_tsf, read_wide
from tsfusion.exceptions import DataWarning

DATA = os.environ.get("TSFUSION_DATA")
needs_data = pytest.mark.skipif(not DATA, reason="TSFUSION_DATA names no folder with the files")


@pytest.fixture
def write(tmp_path):
    """Write a file of lines and return its path."""

    def written(name, *lines, encoding="utf-8"):
        path = tmp_path / name
        text = "\n".join(lines) + "\n" if lines else ""
        data = text.encode(encoding)
        path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        return path

    return written


def rows(frame):
    return [tuple(row) for row in frame.itertuples(index=False)]


def day(text):
    return pd.Timestamp(text)


# --- ETT ---

ETT = "date,HUFL,HULL,MUFL,MULL,LUFL,LULL,OT"


def ett_line(time, *values):
    return ",".join([time, *map(str, values)])


@pytest.mark.parametrize("name", ["ETTm1.csv", "ETTm1.csv.gz"])
def test_ett_has_the_oil_temperature_as_its_value(write, name):
    times = pd.date_range("2016-07-01", periods=4, freq="15min")
    path = write(name, ETT, *(ett_line(str(t), *range(i, i + 7)) for i, t in enumerate(times)))
    for given_path in (path, str(path)):
        df = read_ett(given_path)
        loads = ETT.split(",")[1:-1]
        assert list(df.columns) == ["series", "time", "value", *loads]
        assert df["series"].tolist() == ["ETTm1"] * 4
        assert df["time"].tolist() == times.tolist()
        assert df["value"].tolist() == [6.0, 7.0, 8.0, 9.0]
        assert df["LULL"].tolist() == [5.0, 6.0, 7.0, 8.0]
        assert df.attrs == {
            "frequency": "15min",
            "horizon": None,
            "roles": {
                "series": "series", "time": "time", "target": "value", "observed": loads,
            },
        }  # fmt: skip


def test_ett_of_one_row_has_no_frequency(write):
    assert (
        read_ett(write("a.csv", ETT, ett_line("2016-07-01", *range(7)))).attrs["frequency"] is None
    )


def test_ett_errors(write):
    good = ett_line("2016-07-01 00:00:00", *range(7))
    late = ett_line("2016-07-01 01:00:00", *range(7))
    for lines, message in [
        (["date,OT", "2016-07-01,1"], "expected the header date,HUFL.* found date, OT"),
        ([ETT], "expected rows after the header, found none"),
        ([], "the file is empty"),
        ([ETT, good, good], "series 'a' has the time 2016-07-01 00:00:00 twice, again at line 3"),
        ([ETT, good, "", late + ",9"], "malformed: Expected 8 fields in line 4, saw 9"),
        ([ETT, good, "", late[:-2]], "line 4: expected 8 fields as in the first line, found 7"),
        ([ETT, good + ",1", late + ",1"], "line 2: expected 8 fields .* found 9"),
        ([ETT, good, "", ett_line("2016-07-01 01:00:00", 1, "x", *range(5))],
         "line 4: expected a number in column 'HULL', found 'x' .1 such"),
        ([ETT, good, ett_line("noon", *range(7))],
         "line 3: expected a time in column 'date'.* found 'noon'"),
        ([ETT, good, late, late.replace("01:00", "02:00"), late.replace("01:00", "02:20")],
         "the times are irregular"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            read_ett(write("a.csv", *lines))


# --- M4 ---


def m4_line(name, *values):
    return ",".join(f'"{value}"' if value != "" else "" for value in (name, *values))


def header(n):
    return m4_line(*(f"V{i + 1}" for i in range(n)))


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.lists(st.none() | st.floats(-1e6, 1e6), max_size=5), st.floats(-9, 9),
            st.lists(st.floats(-9, 9), min_size=1, max_size=3),
        ),
        min_size=1, max_size=6,
    ),
    st.randoms(),
)  # fmt: skip
def test_m4_equals_a_loop_over_series(tmp_path_factory, panel, random):
    folder = tmp_path_factory.mktemp("m4")
    train, test, expected = [], [], []
    for i, (values, last, later) in enumerate(panel):
        values = [*values, last]
        train.append(m4_line(f"Q{i}", *("" if v is None else v for v in values)))
        train[-1] += "," * (6 - len(values))
        test.append(m4_line(f"Q{i}", *later) + "," * (3 - len(later)))
        expected += [
            (f"Q{i}", step, np.nan if v is None else v, step >= len(values))
            for step, v in enumerate([*values, *later])
        ]
    random.shuffle(test)
    (folder / "train.csv").write_text("\n".join([header(7), *train]))
    (folder / "test.csv").write_text("\n".join([header(4), *test]))
    df = read_m4(folder / "train.csv", folder / "test.csv")
    wanted = pd.DataFrame(expected, columns=["series", "time", "value", "test"])
    pd.testing.assert_frame_equal(df, wanted)
    assert (df.attrs["frequency"], df.attrs["horizon"]) == ("QS", 8)
    alone = read_m4(folder / "train.csv")
    kept = wanted.loc[~wanted["test"], ["series", "time", "value"]].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, kept)


def test_m4_is_read_in_chunks(write, monkeypatch):
    monkeypatch.setattr("tsfusion.data.readers._M4_CHUNK", 2)
    lines = [m4_line(f"D{i}", *range(i + 1)) + "," * (4 - i) for i in range(5)]
    df = read_m4(write("a.csv", header(6), *lines))
    assert df["value"].tolist() == [float(v) for i in range(5) for v in range(i + 1)]
    lines[3] = m4_line("D3", 1, "x", "", "", "")
    with pytest.raises(ValueError, match="line 5: expected a number in column 'V3', found 'x'"):
        read_m4(write("b.csv", header(6), *lines))


@pytest.mark.parametrize(
    ("letter", "start", "n", "first", "last", "frequency"),
    [
        ("Y", "01-01-79 12:00", 3, "1979-01-01", "1981-01-01", "YS"),
        # The century is the latest that ends before the competition opened.
        ("Y", "01-01-15 12:00", 3, "2015-01-01", "2017-01-01", "YS"),
        ("Y", "01-01-15 12:00", 4, "1915-01-01", "1918-01-01", "YS"),
        ("Y", "01-01-50 12:00", 168, "1850-01-01", "2017-01-01", "YS"),
        ("Y", "01-01-50 12:00", 169, "1750-01-01", "1918-01-01", "YS"),
        ("M", "1882-07-01 12:00:00", 2, "1882-07-01", "1882-08-01", "MS"),
        ("M", "31-01-99 12:00", 2, "1999-01-01", "1999-02-01", "MS"),
        ("M", "01-12-17 12:00", 1, "2017-12-01", "2017-12-01", "MS"),
        ("M", "01-12-17 12:00", 2, "1917-12-01", "1918-01-01", "MS"),
        ("Q", "15-05-01 12:00", 4, "2001-04-01", "2002-01-01", "QS"),
        ("W", "01-07-15 12:00", 2, "2015-06-29", "2015-07-06", "W-MON"),
        ("W", "29-02-16 12:00", 200, "1916-02-28", None, "W-MON"),
        ("D", "29-02-96 12:00", 2, "1996-02-29", "1996-03-01", "D"),
        ("H", "01-07-15 12:00", 3, "2015-07-01 12:00", "2015-07-01 14:00", "h"),
    ],
)
def test_m4_dates(write, letter, start, n, first, last, frequency):
    train = write("train.csv", header(n + 1), m4_line(f"{letter}1", *range(n)))
    info = write("info.csv", "M4id,category,Frequency,Horizon,SP,StartingDate",
                 f"X9,Micro,1,7,Other,?\n{letter}1,Macro,1,6,Some,{start}")  # fmt: skip
    df = read_m4(train, info=info)
    times = df["time"]
    if letter == "W":
        assert set(times.dt.day_name()) == {"Monday"}
        assert times.iloc[0] in (day(first), day(first) - pd.Timedelta(days=6 - 5 * (n < 9)))
    else:
        assert times.iloc[0] == day(first)
    assert last is None or times.iloc[-1] == day(last)
    assert times.iloc[-1] < day("2018-01-01")
    assert set(times.diff().dropna().dt.days) <= {
        "Y": {365, 366}, "Q": {89, 90, 91, 92}, "M": {28, 29, 30, 31}, "W": {7}, "D": {1}, "H": {0},
    }[letter]  # fmt: skip
    assert set(df["category"]) == {"Macro"}
    assert df.attrs["roles"]["static"] == ["category"]
    assert (df.attrs["frequency"], df.attrs["horizon"]) == (frequency, 6)


def test_m4_test_rows_follow_in_time(write):
    train = write("train.csv", header(3), m4_line("M2", 1, 2), m4_line("M1", 5, ""))
    test = write("test.csv", header(2), m4_line("M1", 6), m4_line("M2", 3))
    info = write("info.csv", "M4id,category,Horizon,StartingDate",
                 "M1,a,1,01-03-00 12:00", "M2,b,1,01-11-99 12:00")  # fmt: skip
    assert rows(read_m4(train, test, info)) == [
        ("M2", day("1999-11-01"), 1.0, False, "b"),
        ("M2", day("1999-12-01"), 2.0, False, "b"),
        ("M2", day("2000-01-01"), 3.0, True, "b"),
        ("M1", day("2000-03-01"), 5.0, False, "a"),
        ("M1", day("2000-04-01"), 6.0, True, "a"),
    ]
    undated = write("less.csv", "M4id,category,Horizon", "M1,a,1", "M2,b,2")
    df = read_m4(train, info=undated)
    assert df["time"].tolist() == [0, 1, 0]
    assert df.attrs["horizon"] is None
    mixed = write("mixed.csv", header(2), m4_line("M1", 6), m4_line("Q2", 3))
    assert read_m4(mixed).attrs["frequency"] is None


def test_m4_errors(write):
    one = write("one.csv", header(3), m4_line("W1", 1, 2))
    for lines, message in [
        (
            ["unique_id,ds,y", "a,1,2"],
            "expected the header of an M4 file .* found unique_id, ds, y",
        ),
        (["V1", "W1"], "expected the header of an M4 file"),
        ([], "the file is empty"),
        ([header(3)], "expected series after the header, found none"),
        ([header(3), m4_line("W1", 1, 2, 3)], "line 2: expected 3 fields .* found 4"),
        ([header(3), m4_line("W1", 1, 2), m4_line("W2", 1, 2, 3)], "Expected 3 fields in line 3"),
        ([header(3), m4_line("W1", 1), m4_line("W1", 2)], "line 3: the id W1 occurs a second time"),
        ([header(3), m4_line("W1", 1), "W2,,"], "line 3: series W2 has no values"),
        ([header(3), m4_line("W1", 1), ",1,2"], "line 3: expected an id, found none"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_m4(write("bad.csv", *lines))
    other = write("other.csv", header(2), m4_line("W1", 1), m4_line("W7", 1))
    with pytest.raises(ValueError, match=r"1 others are there \(W7\) and 0 are not"):
        read_m4(one, other)
    with pytest.raises(ValueError, match=r"0 others are there \(none\) and 1 are not \(W7\)"):
        read_m4(other, one)
    known = "M4id,category,Horizon,StartingDate"
    mixed = write("mixed.csv", header(2), m4_line("M1", 6), m4_line("W1", 3))
    for train, lines, message in [
        (one, ["a,b", "1,2"], "expected the header of M4-info.csv"),
        (one, [known, "W2,x,1,01-01-00 12:00"], r"1 have none \(such as W1\)"),
        (one, [known, "W1,x,1,a", "W1,x,1,a"], "line 3: the M4id 'W1' occurs a second time"),
        (one, [known, "W1,x,1,1 May"], "expected a StartingDate such as .* found '1 May'"),
        (one, [known, "W1,x,1,"], "expected a StartingDate .* found 'nan'"),
        (mixed, [known, "W1,x,1,01-01-00 12:00", "M1,x,1,01-01-00 12:00"], "series of one freq"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_m4(train, info=write("info.csv", *lines))


# --- Monash ---


def tsf(*lines, attributes=("series_name string", "start_timestamp date"), frequency="daily"):
    return [
        "# A comment", "", "@relation demo", *(f"@attribute {text}" for text in attributes),
        *([f"@frequency {frequency}"] if frequency else []), "@horizon 3", "@missing true",
        "@equallength false", "@data", *lines,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("frequency", "alias"),
    [
        ("yearly", "YS"), ("quarterly", "QS"), ("monthly", "MS"), ("weekly", "W-MON"),
        ("daily", "D"), ("hourly", "h"), ("half_hourly", "30min"), ("15_minutes", "15min"),
        ("10_minutes", "10min"), ("minutely", "min"), ("secondly", "s"), ("4_seconds", "4s"),
        ("2_weeks", "2W-MON"), ("6_months", "6MS"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("name", ["a.tsf", "a.tsf.gz"])
def test_tsf_counts_in_every_frequency(write, name, frequency, alias):
    start = "2024-01-01 00-00-00"
    path = write(name, *tsf(f"T1:{start}:1,?,3.5,-4e2", f"T2:{start}:7", frequency=frequency))
    df = read_tsf(path)
    times = pd.date_range("2024-01-01", periods=4, freq=alias)
    assert df["time"].tolist() == [*times, times[0]]
    assert df["series"].tolist() == ["T1"] * 4 + ["T2"]
    np.testing.assert_array_equal(df["value"], [1.0, np.nan, 3.5, -400.0, 7.0])
    assert df.attrs == {
        "frequency": alias,
        "horizon": 3,
        "roles": {"series": "series", "time": "time", "target": "value"},
    }
    without = write("b.tsf", *tsf("T1:1,2", attributes=["series_name string"], frequency=frequency))
    assert read_tsf(without)["time"].tolist() == [0, 1]


@pytest.mark.parametrize(
    ("frequency", "start", "alias"),
    [
        ("monthly", "2023-11-30 00-00-00", "ME"),
        ("monthly", "2024-02-29 00-00-00", "ME"),
        ("monthly", "2023-12-01 12-00-00", "MS"),
        ("quarterly", "2023-11-01 00-00-00", "QS-FEB"),
        ("quarterly", "2023-12-31 00-00-00", "QE"),
        ("yearly", "2023-12-31 12-00-00", "YE"),
        ("yearly", "2023-04-01 00-00-00", "YS-APR"),
        ("weekly", "2024-02-28 00-00-00", "W-WED"),
        ("hourly", "2024-02-28 05-30-00", "h"),
        ("monthly", "2023-10-30 00-00-00", None),
        ("monthly", "2023-10-31 06-00-00", "ME"),
    ],
)
def test_tsf_keeps_the_place_in_the_month_or_week(write, frequency, start, alias):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        df = read_tsf(write("a.tsf", *tsf(f"a:{start}:1,2,3,4,5", frequency=frequency)))
    first = pd.to_datetime(start, format="%Y-%m-%d %H-%M-%S")
    if alias is None:
        expected = [first + pd.DateOffset(months=i) for i in range(5)]
    else:
        expected = list(pd.date_range(first, periods=5, freq=alias))
    assert df["time"].tolist() == expected
    assert df.attrs["frequency"] == alias


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.dates(pd.Timestamp("1900-01-01").date(), pd.Timestamp("2100-01-01").date()),
            st.lists(st.none() | st.floats(-1e9, 1e9), min_size=1, max_size=9),
        ),
        min_size=1, max_size=5,
    ),
    st.sampled_from([("monthly", 1), ("quarterly", 3), ("yearly", 12)]),
)  # fmt: skip
def test_tsf_equals_a_loop_over_values(tmp_path_factory, panel, frequency):
    name, months = frequency
    lines, expected = [], []
    for i, (start, values) in enumerate(panel):
        text = ",".join("?" if v is None else repr(v) for v in values)
        lines.append(f"T{i}:{start:%Y-%m-%d} 00-00-00:{text}")
        first = pd.Timestamp(start)
        for step, value in enumerate(values):
            time = first + pd.DateOffset(months=months * step)
            if first.is_month_end:
                time += pd.offsets.MonthEnd(0)
            expected.append((f"T{i}", time, np.nan if value is None else value))
    path = tmp_path_factory.mktemp("tsf") / "a.tsf"
    path.write_text("\n".join(tsf(*lines, frequency=name)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        df = read_tsf(path)
    wanted = pd.DataFrame(expected, columns=["series", "time", "value"])
    pd.testing.assert_frame_equal(df, wanted, check_dtype=False)


def test_tsf_attributes_are_static_columns(write):
    attributes = ["state string", "area numeric", "opened date", "start_timestamp date"]
    path = write("a.tsf", *tsf(
        "New South Wales:1.5:1990-05-17 00-00-00:2024-01-01 00-00-00:1,2",
        "?:?:1991-05-17 00-00-00:2024-01-03 00-00-00:3", attributes=attributes,
    ))  # fmt: skip
    df = read_tsf(path)
    assert df["series"].tolist() == ["T1", "T1", "T2"]
    assert list(df.columns) == ["series", "time", "value", "state", "area", "opened"]
    assert df["state"].tolist()[:2] == ["New South Wales"] * 2
    assert df["state"].isna().tolist() == df["area"].isna().tolist() == [False, False, True]
    assert df["area"].dtype == "float64"
    assert df["opened"].iloc[2] == day("1991-05-17")
    assert df["time"].iloc[2] == day("2024-01-03")
    assert df.attrs["roles"]["static"] == ["state", "area"]
    bare = read_tsf(write("b.tsf", "@data", "1,2", "3"))
    assert rows(bare) == [("T1", 0, 1.0), ("T1", 1, 2.0), ("T2", 0, 3.0)]
    assert (bare.attrs["frequency"], bare.attrs["horizon"]) == (None, None)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "latin-1"])
def test_tsf_encodings(write, encoding):
    # 0x8d is a letter in neither UTF-8 nor cp1252.
    name = "Zürich\x8d" if encoding == "latin-1" else "Zürich"
    path = write("a.tsf", *tsf(f"{name}:2024-01-01 00-00-00:1"), encoding=encoding)
    assert read_tsf(path)["series"].tolist() == [name]


def test_tsf_warns_where_series_share_no_grid(write):
    def read(frequency, *starts):
        lines = [f"T{i}:{start} 00-00-00:1,2" for i, start in enumerate(starts)]
        return read_tsf(write("a.tsf", *tsf(*lines, frequency=frequency)))

    for frequency, starts, alias in [
        ("weekly", ["2024-01-01", "2024-01-02"], "W"),
        ("quarterly", ["2024-01-01", "2024-02-01"], "QS"),
        ("monthly", ["2024-01-01", "2024-02-03"], "MS"),
    ]:
        with pytest.warns(DataWarning, match=f"the 2 series do not start on one grid of '{alias}'"):
            df = read(frequency, *starts)
        assert df.attrs["frequency"] == alias
        assert df["time"].tolist()[::2] == [day(start) for start in starts]
    with pytest.warns(DataWarning, match="no @frequency .* in each of the 1 series"):
        df = read(None, "2024-01-01")
    assert df["time"].tolist() == [0, 1]
    with pytest.warns(DataWarning, match=r"1 header lines are not known .*\(@version 2\)"):
        read_tsf(write("b.tsf", "@version 2", "@data", "1"))


def test_tsf_series_that_start_on_one_day_share_a_grid(write):
    """30 April ends its month and 30 March does not: both are the 30th."""
    lines = [f"T{i}:{start} 00-00-00:1,2,3" for i, start in enumerate(["2024-03-30", "2024-04-30"])]
    df = read_tsf(write("a.tsf", *tsf(*lines, frequency="monthly")))
    times = [df.loc[df["series"] == name, "time"].tolist() for name in ("T0", "T1")]
    assert times[0] == [day("2024-03-30"), day("2024-04-30"), day("2024-05-30")]
    assert times[1] == [day("2024-04-30"), day("2024-05-30"), day("2024-06-30")]


def test_tsf_errors(write):
    def where(*lines, **options):
        return tsf(*lines, **options)

    start = "2024-01-01 00-00-00"
    for lines, message in [
        ([], "expected a line @data"),
        (["@relation x"], "expected a line @data"),
        (tsf(), "expected series after @data, found none"),
        (["relation x", "@data"], "line 1: expected '@attribute NAME .* found 'relation x'"),
        (["@attribute name text", "@data"], "line 1: expected '@attribute NAME string"),
        (["@attribute a string", "@attribute a string"], "line 2: a second attribute 'a'"),
        (["@horizon many"], "line 1: expected .* found '@horizon many'"),
        (["@frequency fortnightly"], "line 1: expected a frequency such as yearly.*'fortnightly'"),
        (["@frequency 0_days"], "line 1: expected a frequency"),
        (tsf(f"T1:{start}:1", "T2:1,2"), "line 12: expected 2 attributes .* found 2 parts"),
        (tsf(f"T1:{start}:a:1"), "line 11: expected 2 attributes .* found 4 parts"),
        (tsf("T1:2024-01-01:1"), "line 11: expected a time such as .* found '2024-01-01'"),
        (tsf(f"T1:{start}:1,2", f"T1:{start}:3"), "line 12: series 'T1' .* first in line 11"),
        (tsf(f"T1:{start}:1,x,3"), "line 11: expected numbers or .* found 'x' as value 2 of 3"),
        (tsf(f"T1:{start}:1,,3"), "found '' as value 2 of 3"),
        (tsf(f"T1:{start}:1,2,"), "found '' as value 3 of 3"),
        (tsf(f"T1:{start}:1 2,3"), "found '1 2' as value 1 of 2"),
        (tsf(f"T1:{start}:"), "found '' as value 1 of 1"),
        (tsf("a:big:1", attributes=["series_name string", "size numeric"]),
         "line 11: expected a number as the attribute 'size', found 'big'"),
        (tsf("a:b:1", attributes=["series_name string", "time string"]), "column 'time' clashes"),
    ]:  # fmt: skip
        with pytest.raises(ValueError, match=message):
            read_tsf(write("bad.tsf", *lines))


# --- Nixtla ---


def nixtla_frame():
    return pd.DataFrame(
        {
            "unique_id": ["b", "b", "a"],
            "ds": pd.to_datetime(["2024-01-02", "2024-01-01", "2024-01-01"]),
            "y": [1, None, 3],
            "price": [9.5, 9.0, 1.0],
            "event": ["fair", None, "none"],
        }
    )


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "a.parquet", "a.pq"])
def test_nixtla_columns_are_renamed_and_order_kept(tmp_path, name):
    frame, path = nixtla_frame(), tmp_path / name
    frame.to_csv(path, index=False) if "csv" in name else frame.to_parquet(path)
    df = read_nixtla(path)
    wanted = frame.rename(columns={"unique_id": "series", "ds": "time", "y": "value"})
    pd.testing.assert_frame_equal(df, wanted, check_dtype=False)
    assert df["value"].dtype == "float64"
    roles = {"series": "series", "time": "time", "target": "value"}
    assert df.attrs == {"frequency": None, "horizon": None, "roles": roles}


def test_nixtla_times_may_be_integers_or_need_a_format(write, tmp_path):
    df = read_nixtla(write("a.csv", "unique_id,ds,y", "1,5,1", "1,6,2"))
    assert df["time"].tolist() == [5, 6]
    assert df["series"].tolist() == [1, 1]
    lines = ["unique_id,ds,y", "a,01/02/2024,1", "a,13/02/2024,2"]
    df = read_nixtla(write("b.csv", *lines), date_format="%d/%m/%Y")
    assert df["time"].tolist() == [day("2024-02-01"), day("2024-02-13")]
    with pytest.raises(ValueError, match="line 3: expected a time .* found '13/02/2024'"):
        read_nixtla(write("b.csv", *lines))
    numbers = write("c.csv", "unique_id,ds,y", "a,202401,1", "a,202402,2")
    df = read_nixtla(numbers, date_format="%Y%m")
    assert df["time"].tolist() == [day("2024-01-01"), day("2024-02-01")]
    nixtla_frame().set_index("unique_id").to_parquet(tmp_path / "index.parquet")
    assert read_nixtla(tmp_path / "index.parquet")["series"].tolist() == ["b", "b", "a"]


def test_nixtla_errors(write, tmp_path, monkeypatch):
    head = "unique_id,ds,y"
    for lines, message in [
        (["unique_id,date,y", "a,2024-01-01,1"], r"columns unique_id, ds and y, \['ds'\] are not"),
        ([head], "expected rows after the header"),
        ([head, "a,2024-01-01,1", ",2024-01-02,1"], "line 3 has none .1 in all"),
        ([head, "a,2024-01-01,1", "a,2024-01-01,2"], "series 'a' has the time .* again at line 3"),
        ([head, "a,2024-01-01,one"], "line 2: expected a number in column 'y', found 'one'"),
        ([head, "a,,1"], "line 2: expected a time in column 'ds'.* found 'nan'"),
        ([head, "a,2024-01-01"], "line 2: expected 3 fields .* found 2"),
        ([head + ",time", "a,2024-01-01,1,2"], "column 'time' clashes"),
        ([head + ",y", "a,2024-01-01,1,2"], "unique column names, 'y' occurs twice"),
        (["," + head, "0,a,2024-01-01,1"], r"column 0 \(counted from 0\) has no name"),
        ([head, "a,2024-01-01 00:00+01:00,1", "a,2024-07-01 00:00+02:00,1"], "column 'ds'"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_nixtla(write("bad.csv", *lines))
    with pytest.raises(ValueError, match="expected a Parquet file"):
        read_nixtla(write("bad.parquet", "unique_id,ds,y"))
    nixtla_frame()[:0].to_parquet(tmp_path / "none.parquet")
    with pytest.raises(ValueError, match="expected rows, found none"):
        read_nixtla(tmp_path / "none.parquet")
    pd.concat([nixtla_frame()] * 2).to_parquet(tmp_path / "twice.parquet")
    with pytest.raises(ValueError, match="series 'b' has the time .* again at row 3 .3 repeats"):
        read_nixtla(tmp_path / "twice.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match=r'pip install "tsfusion\[parquet\]"'):
        read_nixtla(tmp_path / "twice.parquet")


# --- wide ---


@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz"])
def test_wide_goes_from_columns_to_series(write, name):
    path = write(name, "a,when,b", "1,2024-01-01,2", ",2024-01-02,4.5")
    assert rows(read_wide(path, "when").fillna(-1)) == [
        ("a", day("2024-01-01"), 1.0),
        ("a", day("2024-01-02"), -1.0),
        ("b", day("2024-01-01"), 2.0),
        ("b", day("2024-01-02"), 4.5),
    ]
    unnamed = write(name, ",a", "2024-01-01,1", "2024-01-02,2")
    assert read_wide(unnamed, time="Unnamed: 0")["value"].tolist() == [1.0, 2.0]
    european = write(name, "t;a".replace(";", ","), "02/01/2024,1", "03/01/2024,2")
    assert read_wide(european, "t", date_format="%d/%m/%Y")["time"].iloc[0] == day("2024-01-02")


def test_wide_without_times_counts_rows_or_starts_somewhere(write):
    path = write("a.csv", "0,1", "0.7855,1.611", "0.7818,1.61", "0.7867,1.6293")
    df = read_wide(path)
    assert df["series"].tolist() == ["0"] * 3 + ["1"] * 3
    assert df["time"].tolist() == [0, 1, 2] * 2
    dated = read_wide(path, start="1990-01-01", freq="B")
    assert dated["time"].tolist() == list(pd.date_range("1990-01-01", periods=3, freq="B")) * 2
    assert dated.attrs["frequency"] == "B"
    bare = write("b.csv", "0.7855,1.611", "0.7818,1.61")
    assert rows(read_wide(bare, header=False)) == [
        ("0", 0, 0.7855), ("0", 1, 0.7818), ("1", 0, 1.611), ("1", 1, 1.61),
    ]  # fmt: skip
    with pytest.raises(ValueError, match=r"found numbers \(0.7855, 1.611\).* header=False"):
        read_wide(bare)


def test_wide_warns_of_a_start_that_is_no_time_of_the_frequency(write):
    path = write("a.csv", "a", "1", "2")
    with pytest.warns(DataWarning, match="the first row is of 2024-01-07 00:00:00"):
        df = read_wide(path, start="2024-01-03", freq="W")
    assert df["time"].tolist() == [day("2024-01-07"), day("2024-01-14")]


def test_wide_errors(write):
    for lines, options, message in [
        (
            ["a,b", "1,2"],
            {"time": "date"},
            "the time column 'date', which is not there. Found a, b",
        ),
        (["a,b", "1,2"], {"start": "2024-01-01"}, "start= and freq= together"),
        (["a,b", "1,2"], {"time": "a", "start": "2024", "freq": "D"}, "start= and freq= together"),
        (["a,a", "1,2"], {}, "'a' occurs twice"),
        (["a", "1"], {"time": "a"}, "at least one column beside the time"),
        (["t,b", "1,2", "", "1,3"], {"time": "t"}, "1 occurs again at line 4"),
        (["a,b", "1,2", "1"], {}, "line 3: expected 2 fields"),
        (["1,2.5", "1,x"], {"header": False}, "line 2: expected a number in column '1', found 'x'"),
        ([",b", "1,2"], {}, r"column 0 \(counted from 0\) has no name"),
        (["a,b"], {}, "expected rows after the header"),
        ([], {}, "the file is empty"),
    ]:
        with pytest.raises(ValueError, match=message):
            read_wide(write("bad.csv", *lines), **options)


# --- all ---


@pytest.mark.parametrize("reader", [read_ett, read_m4, read_tsf, read_nixtla, read_wide])
def test_what_is_no_file_or_no_text_is_said(reader, tmp_path, write):
    name = reader.__name__
    with pytest.raises(FileNotFoundError, match=f"{name}: expected a file, '.*none' is not there"):
        reader(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=f"{name}: expected a file, .* is a folder"):
        reader(str(tmp_path))
    if reader is not read_tsf:
        with pytest.raises(ValueError, match="expected text in UTF-8"):
            reader(write("a.csv", "é,b", "1,2", encoding="latin-1"))
        (tmp_path / "b.csv.gz").write_text("a,b\n")
        with pytest.raises(ValueError, match="gzipped only where the name ends in .gz"):
            reader(tmp_path / "b.csv.gz")


def test_what_is_read_goes_straight_into_the_panel(write):
    from tsfusion.data.encoder import PanelEncoder
    from tsfusion.data.roles import resolve_roles

    train = write("train.csv", header(4), m4_line("W1", 1, 2, 3), m4_line("W2", 4, 5, ""))
    info = write("info.csv", "M4id,category,Horizon,StartingDate",
                 "W1,a,13,01-03-00 12:00", "W2,b,13,05-11-99 12:00")  # fmt: skip
    df = read_m4(train, info=info)
    encoder = PanelEncoder(resolve_roles(df, **df.attrs["roles"]), df.attrs["frequency"])
    encoded = encoder.fit(df, None, validation_size=0, horizon=1)
    assert encoded.target.tolist() == [1, 2, 3, 4, 5]
    assert (encoder.timeline.times(encoded.ordinal) == df["time"]).all()


@needs_data
def test_the_real_files():
    ett = read_ett(f"{DATA}/ETTh1.csv")
    assert (len(ett), ett.attrs["frequency"]) == (17420, "h")
    np.testing.assert_allclose(ett["value"].iloc[0], 30.531, rtol=1e-6)
    rates = read_wide(f"{DATA}/exchange_rate.csv", start="1990-01-01", freq="D")
    assert rates.groupby("series").size().tolist() == [7588] * 8
    milk = read_wide(f"{DATA}/monthly-milk-incomplete.csv", time="Month")
    assert milk["time"].iloc[0] == day("1962-01-01")
    assert read_wide(f"{DATA}/australian_tourism.csv")["series"].nunique() == 96
