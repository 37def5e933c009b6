"""Tables of every library as one frame, y beside it, and columns that hold no numbers."""

import decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from tsfusion.data.frames import as_frame, as_target, numbers

FRAME = pd.DataFrame(
    {
        "day": pd.date_range("2021-01-01", periods=3, unit="us"),
        "store": ["a", "b", "a"],
        "price": [1.5, np.nan, 2.0],
        "open": [True, False, True],
        "visits": [3, 4, 5],
    }
)


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_other_tables_hold_what_the_pandas_one_holds(library):
    table = pa.Table.from_pandas(FRAME)
    found = as_frame(pl.from_arrow(table) if library == "polars" else table)
    pd.testing.assert_frame_equal(found, FRAME, check_dtype=False)
    assert [t.kind for t in found.dtypes] == [t.kind for t in FRAME.dtypes]


def test_a_frame_is_handed_on_uncopied():
    assert as_frame(FRAME) is FRAME


def test_columns_of_an_array_are_numbered():
    frame = as_frame(np.arange(6.0).reshape(3, 2), names=[0, None])
    assert frame.columns.tolist() == [0, 1]


def test_an_array_where_names_are_asked_for_is_refused():
    with pytest.raises(ValueError, match=r"name the columns \['day'\].*set_output"):
        as_frame(np.zeros((3, 2)), names=["day", None])


def test_repeated_column_names_are_refused():
    with pytest.raises(ValueError, match="'a' occurs more than once"):
        as_frame(pd.DataFrame([[1, 2]], columns=["a", "a"]))


def test_a_lazy_frame_is_asked_to_collect():
    with pytest.raises(TypeError, match=r"LazyFrame: call .collect\(\)"):
        as_frame(pl.DataFrame({"a": [1]}).lazy())


def test_only_the_columns_asked_for_are_read():
    table = pl.from_arrow(pa.Table.from_pandas(FRAME)).with_columns(junk=pl.lit(None, pl.Object))
    assert as_frame(table, columns={"price", "day"}).columns.tolist() == ["day", "price"]


def test_columns_of_other_libraries_keep_their_meaning():
    table = pa.table(
        {
            "day": pa.array([18_628, None], pa.date32()),
            "price": pa.array([decimal.Decimal("1.25"), None], pa.decimal128(9, 2)),
            "zone": pa.array([0, 1], pa.timestamp("us", tz="Europe/Berlin")),
            "code": pa.array(["a", None]).dictionary_encode(),
        }
    )
    frame = as_frame(table)
    assert frame["day"].tolist() == [pd.Timestamp("2021-01-01"), pd.NaT]
    np.testing.assert_array_equal(frame["price"], [1.25, np.nan])
    assert str(frame["zone"].dtype) == "datetime64[us, Europe/Berlin]"
    assert isinstance(frame["code"].dtype, pd.CategoricalDtype)


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("text", TypeError, r"X: expected a DataFrame or a 2-D array, received str 'text'\."),
        (None, TypeError, r"received None\."),
        (3.5, TypeError, "received float '3.5'"),
        ({"a": [1]}, TypeError, r"received dict.*pd.DataFrame\(X\)"),
        (object(), TypeError, "received object"),
        (np.zeros(3), ValueError, "Expected 2D array, got 1D array of 3 values.*Reshape your data"),
        ([1, 2], ValueError, "Expected 2D array, got 1D array of 2 values.*Reshape your data"),
        (pd.Series([1]), TypeError, r"a single column \(Series\). Reshape your data: X.to_frame\("),
        (pl.Series([1]), TypeError, r"a single column \(Series\)"),
        (pa.chunked_array([[1]]), TypeError, r"a single column \(ChunkedArray\)"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(X, error, message):
    with pytest.raises(error, match=message) as caught:
        as_frame(X)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "column",
    [
        pd.Series([1, 2, None], dtype="Int64"),
        pd.Series([1.0, 2.0, np.nan]),
        pd.Series([1, 2, None], dtype=object),
        pd.Series([1, 2, None], dtype="float64[pyarrow]"),
        pd.Series([1, 2, None], dtype="int64[pyarrow]"),
        pd.Series([decimal.Decimal(1), decimal.Decimal(2), None], dtype=object),
    ],
)
def test_numbers_of_any_type(column):
    np.testing.assert_array_equal(numbers(column, "a", "known"), [1.0, 2.0, np.nan])


@pytest.mark.parametrize("dtype", ["boolean", "bool[pyarrow]", object])
def test_truth_values_are_numbers(dtype):
    column = pd.Series([True, False, None], dtype=dtype)
    np.testing.assert_array_equal(numbers(column, "a", "known"), [1.0, 0.0, np.nan])


@pytest.mark.parametrize("values", [["1", "x"], ["1", "2"]])
@pytest.mark.parametrize("dtype", ["str", object, "string[pyarrow]", "category"])
def test_text_is_no_number_even_where_it_is_spelt_as_one(values, dtype):
    with pytest.raises(TypeError, match="Known column 'a': expected numbers.*'1'.*to_numeric"):
        numbers(pd.Series(values, dtype=dtype), "a", "known")


def test_complex_numbers_are_refused():
    with pytest.raises(ValueError, match="Complex data not supported"):
        numbers(pd.Series([1j]), "a", "known")


@pytest.mark.parametrize(
    "y",
    [
        [1, 2, 3],
        np.array([[1.0], [2.0], [3.0]])[:, 0],
        pd.Series([1, 2, 3]),
        pd.Series([1, 2, 3], dtype="Int64"),
        pd.DataFrame({"y": [1, 2, 3]}),
        pl.Series([1, 2, 3]),
        pa.chunked_array([[1, 2, 3]]),
        np.array([1, 2, 3], dtype=object),
    ],
)
def test_targets_of_any_type(y):
    np.testing.assert_array_equal(as_target(y, FRAME, FRAME), [1.0, 2.0, 3.0])


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (None, ValueError, "No target"),
        (pd.Series([1, 2, 3], index=[0, 2, 1]), ValueError, "another order than X: at row 1"),
        ([1, 2], ValueError, "inconsistent numbers of samples"),
        ([1, np.inf, 2], ValueError, "target column 'y', row 1"),
        (["a", "b", "c"], TypeError, "expected numbers"),
    ],
)
def test_a_bad_target_is_refused(y, error, message):
    with pytest.raises(error, match=message):
        as_target(y, FRAME, FRAME)


def test_what_is_no_number_is_named_with_its_row():
    column = pd.Series(["1.5", "2", "n/a?", None, "-"])
    message = (
        r"Target column 'y': expected numbers, received str such as '1.5' and 'n/a\?' in row 2 \(2"
    )
    with pytest.raises(TypeError, match=message):
        numbers(column, "y", "target")
    with pytest.raises(TypeError, match="'closed' in row 1 .1 such rows in all.. Convert it with"):
        numbers(pd.Series([1.5, "closed", 2.5], dtype=object), "y", "target")
    with pytest.raises(TypeError, match=r"received str such as '1'\. Convert it"):
        numbers(pd.Series(["1", "2"]), "y", "target")
    with pytest.raises(TypeError, match="received object such as {}"):
        numbers(pd.Series([{}, 2.5], dtype=object), "y", "target")
