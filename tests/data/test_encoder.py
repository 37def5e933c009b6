"""What is learned from which rows, how later frames are read, and what is refused."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.compose import make_column_selector

from tsfusion.data.encoder import PanelEncoder, Rows, _order
from tsfusion.data.roles import resolve_roles
from tsfusion.exceptions import DataWarning

DAYS = 40
ROLES = {
    "time": "date", "series": "store", "target": "sales", "known": ["price", "event"],
    "observed": ["weather", "sky"], "static": ["size", "region"],
}  # fmt: skip


def make_frame(seed=0):
    """Two stores, forty days each, shuffled."""
    generator = np.random.default_rng(seed)
    n = 2 * DAYS
    store = np.repeat(["b", "a"], DAYS)
    frame = pd.DataFrame(
        {
            "date": np.tile(pd.date_range("2021-01-01", periods=DAYS), 2),
            "store": store,
            "sales": generator.normal(100, 10, n),
            "price": generator.normal(5, 2, n),
            "event": generator.choice(["fair", "none", "sale"], n),
            "weather": generator.normal(20, 8, n),
            "sky": generator.choice(["rain", "sun"], n),
            "size": np.where(store == "a", 3.0, 7.0),
            "region": np.where(store == "a", "north", "south"),
        }
    )
    frame.loc[3, "weather"] = np.nan
    frame.loc[4, "sky"] = None
    return frame.sample(frac=1, random_state=seed, ignore_index=True)


FRAME = make_frame()


def fit(frame=FRAME, validation_size=0.25, horizon=3, y=None, freq=None, **roles):
    encoder = PanelEncoder(resolve_roles(frame, **{**ROLES, **roles}, y_given=y is not None), freq)
    return encoder, encoder.fit(frame, y, validation_size=validation_size, horizon=horizon)


def read(encoder, frame, memory, *, with_target=True, kind="context"):
    return encoder.read(frame, kind=kind, memory=memory, with_target=with_target)


def assert_equal_rows(a, b, *, but=()):
    assert a.labels.tolist() == b.labels.tolist()
    for name in set(Rows.__dataclass_fields__) - {"labels", *but}:
        np.testing.assert_array_equal(getattr(a, name), getattr(b, name), err_msg=name)


def test_rows_come_in_order_and_say_what_the_frame_says():
    encoder, rows = fit()
    expected = FRAME.sort_values(["store", "date"], kind="stable")
    assert rows.labels.tolist() == ["a", "b"]
    np.testing.assert_array_equal(rows.row, expected.index)
    np.testing.assert_array_equal(rows.target, expected["sales"])
    np.testing.assert_array_equal(rows.series, np.repeat([0, 1], DAYS))
    assert (encoder.timeline.times(rows.ordinal) == expected["date"]).all()
    price = rows.real[:, 1] * encoder.scale["price"] + encoder.location["price"]
    np.testing.assert_allclose(price, expected["price"], rtol=1e-5)
    events = encoder.vocabularies["event"][rows.categorical[:, 1] - 1]
    assert events.tolist() == expected["event"].tolist()
    assert rows.categorical[expected["sky"].isna(), 0].tolist() == [0]
    np.testing.assert_array_equal(np.isnan(rows.real[:, 0]), expected["weather"].isna())


def test_scalers_are_those_of_the_rows_before_the_boundary():
    encoder, rows = fit()
    assert encoder.boundary == rows.ordinal[:DAYS][30]
    train = FRAME[FRAME["date"] < FRAME["date"].min() + pd.Timedelta(days=30)]
    for name in ("price", "weather", "size"):
        assert encoder.location[name] == pytest.approx(train[name].mean())
        assert encoder.scale[name] == pytest.approx(train[name].std(ddof=0))


def test_rows_from_the_boundary_on_teach_nothing():
    encoder, rows = fit()
    late = FRAME["date"] >= FRAME["date"].min() + pd.Timedelta(days=30)
    frame = FRAME.copy()
    frame.loc[late, "price"] = 1e6
    frame.loc[late, "weather"] = np.nan
    frame.loc[late, "event"] = "strike"
    frame.loc[late, "sky"] = "hail"
    frame.loc[late, "sales"] = -1e9
    changed, moved = fit(frame)
    assert (changed.location, changed.scale) == (encoder.location, encoder.scale)
    assert {k: v.tolist() for k, v in changed.vocabularies.items()} == {
        k: v.tolist() for k, v in encoder.vocabularies.items()
    }
    before = rows.ordinal < encoder.boundary
    np.testing.assert_array_equal(moved.real[before], rows.real[before])
    np.testing.assert_array_equal(moved.categorical[before], rows.categorical[before])
    assert (moved.categorical[~before] == 0).all()


def test_categories_of_a_series_that_begins_after_the_boundary_are_unseen():
    late = FRAME["date"] >= FRAME["date"].min() + pd.Timedelta(days=30)
    encoder, rows = fit(FRAME[late | (FRAME["store"] == "a")].reset_index(drop=True))
    assert encoder.vocabularies["region"].tolist() == ["north"]
    assert rows.static_categorical.ravel().tolist() == [1, 0]


def test_a_column_without_spread_or_without_values_is_not_divided_by_zero():
    encoder, rows = fit(FRAME.assign(price=0.1, weather=np.nan))
    assert (encoder.scale["price"], encoder.scale["weather"]) == (1.0, 1.0)
    assert np.abs(rows.real[:, 1]).max() < 1e-6


@pytest.mark.parametrize("dtype", ["str", object, "category", "string[pyarrow]"])
def test_text_of_any_type_reads_alike(dtype):
    frame = FRAME.astype(dict.fromkeys(["store", "event", "sky", "region"], dtype))
    assert_equal_rows(fit(frame)[1], fit()[1])


@pytest.mark.parametrize("dtype", ["Float64", "float64[pyarrow]", object, "float32"])
def test_numbers_of_any_type_read_alike(dtype):
    frame = FRAME.astype(dict.fromkeys(["price", "weather", "size"], dtype))
    np.testing.assert_allclose(fit(frame)[1].real, fit()[1].real, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("library", ["polars", "pyarrow"])
def test_tables_of_other_libraries_read_alike(library):
    table = pa.Table.from_pandas(FRAME)
    given = pl.from_arrow(table) if library == "polars" else table
    encoder, rows = fit()
    other = PanelEncoder(encoder.roles)
    assert_equal_rows(other.fit(given, None, validation_size=0.25, horizon=3), rows)
    assert_equal_rows(read(encoder, given, rows), read(encoder, FRAME, rows))


def test_the_frame_handed_in_stays_as_it_is():
    frame = FRAME.copy(deep=True)
    encoder, rows = fit(frame)
    read(encoder, frame, rows)
    read(encoder, frame, rows, with_target=False)
    pd.testing.assert_frame_equal(frame, FRAME)


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"price": np.nan}, ValueError, r"Known column 'price': .*NaN at row 0 \(80 rows"),
        ({"event": ["x"] * 79 + [None]}, ValueError, r"'event': .*no category\) at row 79"),
        ({"event": None}, ValueError, "Known column 'event': .*NaN at row 0"),
        ({"size": np.nan}, ValueError, "Static column 'size': .*NaN at row 0"),
        ({"region": None}, ValueError, "Static column 'region': .*at row 0"),
        ({"weather": np.inf}, ValueError, "observed column 'weather', row 0"),
        ({"sales": np.inf}, ValueError, "target column 'sales', row 0"),
        ({"sales": "much"}, TypeError, "Target column 'sales': expected numbers.*'much'"),
        ({"store": None}, ValueError, r"Series column 'store': .*row 0 has none \(80"),
        ({"size": np.arange(80.0)}, ValueError, r"'size' varies within series '.': \d+.0 and then"),
        ({"region": list("ab") * 40}, ValueError, "'region' varies within series '.'"),
    ],
)
def test_bad_values_are_named_with_column_and_row(change, error, message):
    with pytest.raises(error, match=message):
        fit(FRAME.assign(**change))


def test_categories_that_cannot_be_compared_are_refused():
    frame = FRAME.assign(event=pd.Series([[1], [2]] * DAYS, dtype=object))
    with pytest.raises(TypeError, match="Known column 'event': expected categories"):
        fit(frame)


def test_bad_weights_are_refused():
    with pytest.raises(
        ValueError, match="Weight column 'w': expected numbers >= 0, row 0 holds -1"
    ):
        fit(FRAME.assign(w=-1.0), weight="w")
    frame = FRAME.assign(w=np.arange(80.0))
    encoder, rows = fit(frame, weight="w")
    np.testing.assert_array_equal(rows.weight, rows.row)
    blank = frame.assign(w=np.nan)
    assert (read(encoder, blank, rows, with_target=False).weight == 1).all()


def test_two_rows_at_one_time_are_named():
    frame = pd.concat([FRAME, FRAME.iloc[[5]]], ignore_index=True)
    store, day = FRAME.loc[5, ["store", "date"]]
    with pytest.raises(
        ValueError, match=rf"Series '{store}' has more than .* {day} \(rows 5 and 80"
    ):
        fit(frame)
    encoder, rows = fit()
    with pytest.raises(ValueError, match="more than one row"):
        read(encoder, frame, rows)
    with pytest.raises(ValueError, match="more than one row"):
        read(encoder, frame, rows, with_target=False, kind="future")
    assert len(read(encoder, frame, rows, with_target=False, kind="X")) == 81


def test_a_panel_without_series_is_pointed_to_its_label_column():
    frame = FRAME.drop(columns=["event", "sky", "region"])
    with pytest.raises(ValueError, match=r"more than once .*pass series=.*perhaps 'store'"):
        fit(frame, series=None, known=["price"], observed=["weather"], static=None)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([10, 2], [2, 10]), (["10", "2"], ["10", "2"]), ([2.5, 1.5], [1.5, 2.5])],
)
def test_labels_keep_their_type(labels, expected):
    frame = FRAME.assign(store=np.where(FRAME["store"] == "a", labels[0], labels[1]))
    assert fit(frame)[1].labels.tolist() == expected


def test_categorical_labels_are_their_values_and_only_those_in_use():
    store = pd.Categorical(FRAME["store"], categories=["z", "b", "a"])
    assert_equal_rows(fit(FRAME.assign(store=store))[1], fit()[1])


def test_integer_labels_are_not_text_labels():
    frame = FRAME.assign(store=np.where(FRAME["store"] == "a", 1, 2))
    encoder, rows = fit(frame)
    later = read(encoder, frame.assign(store=frame["store"].astype(str)), rows)
    assert later.labels.tolist() == [1, 2, "1", "2"]
    assert set(later.series) == {2, 3}


@pytest.mark.parametrize("mixed", [False, True])
def test_series_of_several_columns(mixed):
    shop = np.where(np.arange(80) % 2 == 0, 1, 2).astype(object)
    frame = FRAME.assign(shop=np.where(shop == 1, "x", shop) if mixed else shop.astype(int))
    frame["date"] = pd.Timestamp("2021-01-01") + pd.to_timedelta(np.arange(80), unit="D")
    frame["size"], frame["region"] = 1.0, "north"
    encoder, rows = fit(frame, series=["store", "shop"], freq="D")
    assert rows.labels.names == ["store", "shop"]
    assert len(rows.labels) == 4
    for i in range(80):
        label = rows.labels[rows.series[i]]
        assert label == tuple(frame.loc[rows.row[i], ["store", "shop"]])
    later = read(encoder, frame.iloc[:5], rows)
    assert later.labels.equals(rows.labels)
    assert len(read(encoder, frame.iloc[:0], rows, with_target=False)) == 0


def test_series_and_time_from_a_multiindex():
    frame = FRAME.set_index(["store", "date"])
    encoder, rows = fit(frame, time=None, series=None)
    assert_equal_rows(rows, fit()[1])
    with pytest.raises(
        ValueError, match=r"expected a MultiIndex with the levels \['store', 'date'\] as"
    ):
        read(encoder, FRAME, rows)


def test_rows_without_a_time_must_stand_in_order():
    frame = pd.DataFrame({"sales": np.arange(9.0)}, index=[0, 1, 2, 3, 5, 4, 6, 7, 8])
    roles = resolve_roles(frame, target="sales")
    with pytest.raises(ValueError, match="goes backwards at row 5"):
        PanelEncoder(roles).fit(frame, None, validation_size=0, horizon=1)
    unsigned = frame.set_index(frame.index.astype("uint8"))
    with pytest.raises(ValueError, match="goes backwards at row 5"):
        PanelEncoder(roles).fit(unsigned, None, validation_size=0, horizon=1)


def test_future_rows_need_time_series_and_known_columns_alone():
    encoder, rows = fit()
    future = FRAME[["date", "store", "price", "event"]]
    later = read(encoder, future, rows, with_target=False)
    assert np.isnan(later.target).all()
    assert np.isnan(later.real[:, 0]).all()
    assert (later.categorical[:, 0] == 0).all()
    assert_equal_rows(
        later, read(encoder, FRAME.assign(sales="?", weather="?"), rows, with_target=False)
    )
    with pytest.raises(ValueError, match="expected the known column 'price'.*every step"):
        read(encoder, future.drop(columns="price"), rows, with_target=False)
    with pytest.raises(ValueError, match="expected the observed column 'weather'"):
        read(encoder, future.assign(sales=1.0), rows)


def test_statics_are_remembered_and_may_not_change():
    encoder, rows = fit()
    later = read(encoder, FRAME.drop(columns=["size", "region"]), rows)
    np.testing.assert_array_equal(later.static_real, rows.static_real)
    np.testing.assert_array_equal(later.static_categorical, rows.static_categorical)
    with pytest.raises(ValueError, match="static column 'size' of series 'a' differs"):
        read(encoder, FRAME.assign(size=11.0), rows)
    unseen = FRAME[FRAME["store"] == "a"].assign(store="c")
    with pytest.raises(ValueError, match="static column 'size' for the unseen series 'c'"):
        read(encoder, unseen.drop(columns="size"), rows)
    joined = read(encoder, unseen.assign(region="west"), rows)
    assert joined.labels.tolist() == ["a", "b", "c"]
    assert joined.static_categorical[:, 0].tolist() == [1, 2, 0]
    np.testing.assert_array_equal(joined.static_real[2], rows.static_real[0])


def test_an_unseen_category_has_the_code_zero():
    encoder, rows = fit()
    frame = FRAME.assign(event=np.where(np.arange(80) == 7, "strike", FRAME["event"]))
    assert np.flatnonzero(read(encoder, frame, rows).categorical[:, 1] == 0).tolist() == [7]


@pytest.mark.parametrize(
    ("fitted", "later"), [(["1", "2"], [1, 2]), (pd.Categorical([1, 2]), ["1", "2"])]
)
def test_categories_of_another_type_are_refused_rather_than_unseen(fitted, later):
    encoder, rows = fit(FRAME.assign(event=fitted * DAYS if isinstance(fitted, list) else
                                     pd.Categorical([1, 2] * DAYS)))  # fmt: skip
    with pytest.raises(TypeError, match="'event': expected categories such as .* as in fit"):
        read(encoder, FRAME.assign(event=list(later) * DAYS), rows)


def test_only_keeps_some_series_and_with_labels_counts_them_after_memory():
    _, rows = fit()
    only = rows.only(np.array([1]))
    assert only.labels.tolist() == ["b"]
    assert (only.series == 0).all()
    np.testing.assert_array_equal(only.target, rows.target[DAYS:])
    np.testing.assert_array_equal(only.static_real, rows.static_real[1:])
    back = only.with_labels(rows)
    assert back.labels.tolist() == ["a", "b"]
    assert (back.series == 1).all()


def test_in_an_upsert_the_new_row_wins_and_order_is_kept():
    encoder, rows = fit()
    newer = FRAME.sample(30, random_state=1).assign(sales=0.0)
    newer = pd.concat([newer, newer.iloc[:3].assign(store="c", date=newer["date"].min())])
    newer = newer.drop_duplicates(["store", "date"])
    joined = rows.upsert(read(encoder, newer, rows))
    expected = pd.concat([FRAME, newer]).drop_duplicates(["store", "date"], keep="last")
    expected = expected.sort_values(["store", "date"])
    np.testing.assert_array_equal(joined.target, expected["sales"])
    assert joined.labels[joined.series].tolist() == expected["store"].tolist()
    assert (encoder.timeline.times(joined.ordinal) == expected["date"]).all()


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=12),
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5)), max_size=12),
    st.booleans(),
    st.none() | st.sets(st.integers(0, 11)),
)
def test_an_upsert_is_the_stable_sort_of_both_less_what_is_replaced(old, new, ties, kept):
    # Rows of a memory are one to a time; each column carries the row's number.
    old = sorted(set(old))
    rows, newer = numbered(old, 0), numbered(new, 100)
    if kept is not None:
        kept = np.array([place for place in range(len(old)) if place in kept], np.int64)
    left = rows if kept is None else rows.take(kept)
    both = [(old[number], number, False) for number in left.row]
    both += [(key, number, True) for key, number in zip(new, newer.row)]
    both.sort(key=lambda one: one[0])
    replaced = set(new)
    expected = [n for key, n, is_new in both if is_new or key not in replaced]
    if not ties:
        last = {key: n for key, n, is_new in both if is_new}
        expected = [n for key, n, is_new in both if n == last.get(key, n)]
    joined = rows.upsert(newer, ties=ties, kept=kept)
    for name in ("row", "target", "weight"):
        assert getattr(joined, name).tolist() == expected, name
    assert joined.real[:, 0].tolist() == joined.categorical[:, 0].tolist() == expected


def numbered(keys, first):
    number = first + np.arange(len(keys))
    series, ordinal = (np.array([key[i] for key in keys], np.int64) for i in (0, 1))
    return Rows(
        labels=pd.Index(["a", "b", "c"]), series=series, ordinal=ordinal,
        target=number.astype(float), real=number[:, None].astype(np.float32),
        categorical=number[:, None].astype(np.int32), weight=number.astype(np.float32),
        static_real=np.zeros((3, 0), np.float32), static_categorical=np.zeros((3, 0), np.int32),
        row=number,
    )  # fmt: skip


def test_all_rows_taken_are_the_same_columns_in_an_object_of_their_own():
    _, rows = fit()
    for all_of_them in (rows.take(np.ones(len(rows), bool)), rows.only(np.array([0, 1]))):
        assert all_of_them is not rows  # one may be taken apart, the other is kept
        assert all_of_them.real is rows.real
    other_way = rows.only(np.array([1, 0]))
    assert other_way.labels.tolist() == ["b", "a"]
    np.testing.assert_array_equal(other_way.series, 1 - rows.series)


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(-9, 9)), min_size=1, max_size=40),
    st.sampled_from([1, 10**9, 0.5]),
)
def test_the_order_is_that_of_a_stable_sort(pairs, scale):
    series = np.array([pair[0] for pair in pairs])
    time = np.array([pair[1] for pair in pairs]) * scale
    order = _order(series, time)
    found = np.arange(len(pairs)) if order is None else order
    np.testing.assert_array_equal(found, np.lexsort((time, series)))


@pytest.mark.parametrize(
    ("validation_size", "horizon", "expected"),
    [(0, 3, None), (0.25, 3, 30), (0.1, 8, 32), (0.5, 20, None)],
)
def test_the_validation_tail_is_a_share_of_the_times_but_no_less_than_a_horizon(
    validation_size, horizon, expected
):
    encoder, rows = fit(validation_size=validation_size, horizon=horizon)
    first = None if expected is None else rows.ordinal[0] + expected
    assert encoder.boundary == first


def test_robust_columns_have_median_and_interquartile_range():
    roles = resolve_roles(FRAME, **ROLES)
    encoder = PanelEncoder(roles, scaler="robust")
    encoder.fit(FRAME, None, validation_size=0.25, horizon=3)
    train = FRAME[FRAME["date"] < FRAME["date"].min() + pd.Timedelta(days=30)]
    for name in ("price", "weather"):
        low, median, high = train[name].quantile([0.25, 0.5, 0.75])
        assert encoder.location[name] == pytest.approx(median)
        assert encoder.scale[name] == pytest.approx(high - low)
    rare = np.where(np.arange(80) % 10 == 0, 500.0, 0.0)
    encoder.fit(FRAME.assign(price=rare), None, validation_size=0, horizon=3)
    assert encoder.location["price"] == 0
    assert encoder.scale["price"] == pytest.approx(rare.std())


def limited(events, most, validation_size=0.0):
    frame = FRAME.sort_values(["store", "date"]).assign(event=events)
    encoder = PanelEncoder(resolve_roles(frame, **ROLES), max_categories=most)
    return encoder, encoder.fit(frame, None, validation_size=validation_size, horizon=3)


def test_the_most_frequent_categories_keep_their_codes():
    events = np.array(["d"] * 30 + ["b", "c", "a"] * 10 + ["z"] * 20)
    message = r"'event' has 5 categories in training: the 3 most frequent .* other 2 \(20 of 80 row"
    with pytest.warns(DataWarning, match=message) as caught:
        encoder, rows = limited(events, 3)
    assert len(caught) == 1
    assert encoder.vocabularies["event"].tolist() == ["a", "d", "z"]
    codes = rows.categorical[:, 1]
    assert codes.tolist() == pd.Series(events).map({"a": 1, "d": 2, "z": 3}).fillna(0).tolist()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert limited(events, 5)[0].vocabularies["event"].tolist() == list("abcdz")
        assert limited(events, None)[0].vocabularies["event"].tolist() == list("abcdz")
        later = read(encoder, FRAME.assign(event="b"), rows)
    assert (later.categorical[:, 1] == 0).all()


@pytest.mark.parametrize("stray", ["-", "1.5"])
def test_numbers_that_are_read_as_categories_are_warned_of(stray):
    prices = FRAME["price"].round(2).astype(str)
    prices[3] = stray
    message = (
        r"'price' is read as \d+ categories, most of them numbers with decimals, "
        r"such as '?-?\d+[.,]\d.*with pd.to_numeric"
    )
    with pytest.warns(DataWarning, match=message) as caught:
        fit(FRAME.assign(price=prices))
    assert len(caught) == 1
    with pytest.warns(DataWarning, match=message):
        fit(FRAME.assign(price=prices.str.replace(".", ",")))
    mixed = FRAME["price"].astype(object)
    mixed[3] = "closed"
    with pytest.warns(DataWarning, match=message):
        fit(FRAME.assign(price=mixed))


def test_names_and_codes_are_categories_without_a_word():
    row = np.arange(len(FRAME))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for values in (row.astype(str), [f"{i}.b" for i in row], (row % 9 / 2).astype(str)):
            fit(FRAME.assign(event=values))


def test_only_training_rows_count_for_the_limit():
    events = np.tile(["a"] * 10 + ["b"] * 8 + ["c"] * 12 + ["d"] * 10, 2)
    with pytest.warns(DataWarning, match="has 3 categories in training"):
        encoder, _ = limited(events, 2, validation_size=0.25)
    assert encoder.vocabularies["event"].tolist() == ["a", "c"]


def test_the_limit_counts_static_columns_and_mixed_types():
    with pytest.warns(DataWarning) as caught:
        encoder, rows = limited(np.array(["x", 1] * 40, dtype=object), 1)
    named = [str(warning.message).split("'")[1] for warning in caught]
    assert sorted(named) == ["event", "region", "sky"]
    assert encoder.vocabularies["region"].tolist() == ["north"]
    assert rows.static_categorical.ravel().tolist() == [1, 0]
    assert len(encoder.vocabularies["event"]) == 1


@pytest.mark.parametrize("dtype", [bool, object, "boolean", "bool[pyarrow]"])
def test_booleans_are_numbers(dtype):
    flags = pd.Series(np.arange(80) % 3 == 0)
    encoder, rows = fit(FRAME.assign(price=flags.astype(dtype)), validation_size=0)
    assert encoder.location["price"] == pytest.approx(flags.mean())
    assert sorted(set(rows.real[:, 1] > 0)) == [False, True]


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pd.date_range("2024-01-01", periods=80), "datetime64"),
        (pd.date_range("2024-01-01", periods=80).date, "date"),
        (pd.date_range("2024-01-01", periods=80).to_pydatetime().astype(object), "datetime"),
        (pd.period_range("2024-01", periods=80, freq="M"), "period"),
        (pd.to_timedelta(np.arange(80), unit="D"), "timedelta64"),
        (pa.array(np.arange(80), pa.duration("s")), "duration"),
        (pa.array(np.arange(80).astype("int32"), pa.date32()), "date32"),
    ],
)
@pytest.mark.parametrize("role", ["known", "observed", "static"])
def test_dates_are_no_features(values, kind, role):
    if isinstance(values, pa.Array):
        values = pd.array(values, dtype=pd.ArrowDtype(values.type))
    frame = FRAME.assign(since=pd.Series(values, dtype=object if kind == "datetime" else None))
    message = (
        f"{role.capitalize()} column 'since': expected numbers .* {kind}.* days since an event"
    )
    with pytest.raises(TypeError, match=message):
        fit(frame, **{role: [*ROLES[role], "since"]})


def test_column_selectors_find_what_lists_name():
    encoder, rows = fit(observed=make_column_selector(pattern="^(?:weather|sky)$"))
    assert_equal_rows(rows, fit()[1])
    text = make_column_selector(dtype_include="str")
    encoder, _ = fit(known=text, observed=["weather", "price", "sky"], static=["size"])
    assert encoder.roles.known == ("event", "region")


def test_some_series_of_sorted_rows():
    rows = fit()[1].sorted()
    for chosen in ([0], [1], [0, 1], [], [1, 5]):
        found = rows.of_series(np.array(chosen, np.int64))
        assert_equal_rows(found, rows.take(np.isin(rows.series, chosen)))
        assert list(found.labels) == list(rows.labels)
    assert rows.of_series(np.array([0, 1])) is rows
