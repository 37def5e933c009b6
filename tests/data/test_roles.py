"""Which column plays which part, and what is said where that cannot be told."""

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import make_column_selector

from tsfusion.data.frames import as_frame
from tsfusion.data.roles import INDEX, is_categorical, resolve_roles

N = 6
FRAME = pd.DataFrame(
    {
        "date": pd.date_range("2021-01-01", periods=N),
        "store": ["a"] * N,
        "sales": np.arange(N, dtype=float),
        "price": np.ones(N),
        "event": ["x", "y"] * 3,
        "weather": np.zeros(N),
    }
)
SERIES = {"series": "store", "target": "sales"}


def test_the_only_datetime_column_is_the_time_and_the_rest_is_known():
    roles = resolve_roles(FRAME, **SERIES, observed="weather")
    assert (roles.time, roles.time_label) == ("date", "date")
    assert (roles.known_real, roles.known_categorical) == (("price",), ("event",))
    assert roles.observed == ("weather",)
    assert roles.ignored == ()


def test_columns_without_a_role_are_listed_where_known_is_given():
    assert resolve_roles(FRAME, **SERIES, known=["price"]).ignored == ("event", "weather")


@pytest.mark.parametrize("kind", [lambda time: time, lambda time: time.date()])
def test_times_in_a_column_of_objects_are_times(kind):
    objects = pd.Series([kind(time) for time in FRAME["date"]], dtype=object)
    frame = FRAME.assign(date=objects)
    assert resolve_roles(frame, **SERIES).time == "date"
    words = objects.where(objects.index != 1, "a word")
    assert resolve_roles(frame.assign(other=words), **SERIES).time == "date"


def test_several_datetime_columns_are_ambiguous_unless_one_has_another_role():
    frame = FRAME.assign(opened=FRAME["date"])
    with pytest.raises(ValueError, match=r"2 columns hold datetimes.*Pass time='date'"):
        resolve_roles(frame, **SERIES)
    with pytest.raises(TypeError, match="'opened': expected numbers or categories.*leave it out"):
        resolve_roles(frame, **SERIES, time="date")
    assert resolve_roles(frame, **SERIES, time="date", known=[]).ignored[-1] == "opened"


def test_a_datetime_index_comes_before_a_datetime_column():
    indexed = FRAME.set_index("date")
    assert resolve_roles(indexed, **SERIES).time is INDEX
    assert resolve_roles(indexed, **SERIES).time_label == "date"
    assert resolve_roles(indexed.rename_axis(None), **SERIES).time_label == "time"
    periods = indexed.set_index(indexed.index.to_period("D"))
    assert resolve_roles(periods, **SERIES).time is INDEX
    plain = FRAME.drop(columns="date")
    assert resolve_roles(plain, **SERIES, time="index").time is INDEX


def test_a_column_called_index_is_a_column():
    indexed = FRAME.set_index("date").assign(index=range(len(FRAME)))
    roles = resolve_roles(indexed, **SERIES)
    assert roles.time is INDEX
    assert "index" in roles.known
    with pytest.raises(ValueError, match="an index of datetime64.* and a column 'index'"):
        resolve_roles(indexed, **SERIES, time="index")
    named = FRAME.rename(columns={"date": "index"})
    roles = resolve_roles(named, **SERIES, time="index", known=[])
    assert (roles.time, roles.time_label, "index" in roles.ignored) == ("index", "index", False)


def test_a_multiindex_holds_series_and_time():
    roles = resolve_roles(FRAME.set_index(["store", "date"]), target="sales")
    assert (roles.series, roles.series_in_index, roles.time) == (("store",), True, INDEX)
    unnamed = FRAME.set_index(["store", "date"]).rename_axis([None, None])
    assert resolve_roles(unnamed, target="sales").series == ("level_0",)


def test_a_multiindex_may_count_its_steps():
    counted = pd.concat({"a": FRAME[["sales"]], "b": FRAME[["sales"]]})
    assert resolve_roles(counted, target="sales").time is INDEX
    text = FRAME.set_index(["store", "event"])[["sales"]]
    with pytest.raises(ValueError, match="last level of the MultiIndex holds str"):
        resolve_roles(text, target="sales")


def test_without_a_time_rows_are_the_steps_of_one_series():
    roles = resolve_roles(FRAME[["sales", "price"]], target="sales")
    assert (roles.time, roles.time_label) == (None, "step")
    with pytest.raises(ValueError, match=r"time: expected a time column for the series of \['st"):
        resolve_roles(FRAME[["store", "sales"]], **SERIES)


def test_columns_of_an_array_go_by_number():
    roles = resolve_roles(as_frame(np.zeros((4, 3))), time=0, series=1, y_given=True)
    assert (roles.time, roles.series, roles.known_real) == (0, (1,), (2,))
    with pytest.raises(ValueError, match="time: expected a column of X, received 7"):
        resolve_roles(as_frame(np.zeros((4, 3))), time=7, y_given=True)


def test_the_target_column_is_no_feature_where_y_is_given():
    assert "sales" not in resolve_roles(FRAME, **SERIES, y_given=True).known
    roles = resolve_roles(FRAME, series="store", y_name="sales", y_given=True)
    assert "sales" not in roles.known
    assert roles.target == "sales"
    apart = resolve_roles(FRAME.drop(columns="sales"), series="store", y_name="y", y_given=True)
    assert (apart.target, apart.target_in_frame) == ("y", False)


def test_no_target_is_an_error():
    with pytest.raises(ValueError, match="No target"):
        resolve_roles(FRAME, series="store")


def test_selectors_choose_by_type_and_leave_time_series_and_target_alone():
    roles = resolve_roles(
        FRAME, **SERIES, known=make_column_selector(), observed=make_column_selector("weather")
    )
    assert roles.time == "date"
    assert (roles.known, roles.observed) == (("price", "event"), ("weather",))


def test_names_come_before_selectors_whatever_the_role():
    roles = resolve_roles(
        FRAME, **SERIES, observed=make_column_selector(dtype_include="number"), static=["price"]
    )
    assert (roles.static, roles.observed) == (("price",), ("weather",))


def test_two_selectors_may_not_want_the_same_column():
    number = make_column_selector(dtype_include="number")
    with pytest.raises(ValueError, match="'price' is named as observed and as static"):
        resolve_roles(FRAME, **SERIES, observed=number, static=number)


@pytest.mark.parametrize(
    ("roles", "message"),
    [
        ({"known": ["price"], "observed": ["price"]}, "'price' is named as observed and as known"),
        ({"static": "store"}, "'store' is named as series and as static"),
        ({"known": ["sales"]}, "'sales' is named as target and as known"),
        ({"time": "date", "weight": "date"}, "'date' is named as time and as weight"),
    ],
)
def test_a_column_has_one_role(roles, message):
    with pytest.raises(ValueError, match=message):
        resolve_roles(FRAME, **SERIES, **roles)


def test_a_name_twice_in_one_list_is_one_column():
    assert resolve_roles(FRAME, **SERIES, known=["price", "price"]).known == ("price",)


def test_names_come_in_any_container():
    for names in (["price"], ("price",), np.array(["price"]), pd.Index(["price"]), "price"):
        assert resolve_roles(FRAME, **SERIES, known=names).known == ("price",)
    with pytest.raises(TypeError, match="time: expected the name of one column"):
        resolve_roles(FRAME, **SERIES, time=["date"])


@pytest.mark.parametrize("role", ["time", "series", "target", "known", "observed", "weight"])
def test_a_prefix_of_a_column_transformer_is_recognised(role):
    frame = FRAME.rename(columns=lambda name: f"remainder__{name}")
    given = {"target": "remainder__sales"} | {role: "date"}
    with pytest.raises(ValueError, match=f"{role}.*'date'.*Did you mean 'remainder__date'"):
        resolve_roles(frame, **given)


def test_a_slip_in_a_name_is_guessed():
    with pytest.raises(ValueError, match="static: expected .*'prise'.*Did you mean 'price'"):
        resolve_roles(FRAME, **SERIES, static=["prise"])


def test_a_name_unlike_all_is_not_guessed_at():
    frame = FRAME.assign(size=1.0)
    with pytest.raises(ValueError, match=r"'series', which is not there\. The columns are"):
        resolve_roles(frame, **{**SERIES, "series": "series"})


@pytest.mark.parametrize(
    ("values", "dtype", "expected"),
    [
        (["a", "b"], "str", True),
        (["1", "2"], "str", True),
        (["1", "2"], object, True),
        (["1", "2"], "string[pyarrow]", True),
        ([1, 2], "category", True),
        ([1, "a"], object, True),
        ([1, None], object, False),
        ([1, 2], "Int64", False),
        ([True, None], "boolean", False),
        ([True, False], bool, False),
    ],
)
def test_text_and_categories_are_encoded_and_the_rest_are_numbers(values, dtype, expected):
    assert is_categorical(pd.Series(values, dtype=dtype)) is expected


def test_lengths_of_time_are_refused():
    frame = FRAME.assign(age=pd.to_timedelta(np.arange(N), unit="D"))
    with pytest.raises(TypeError, match="Known column 'age'.*days since"):
        resolve_roles(frame, **SERIES)
