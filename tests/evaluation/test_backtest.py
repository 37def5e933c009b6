"""Backtests: what a model may see, and that nothing is run twice."""

import io
import sys
import types
import warnings

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from tests.conftest import ROLES, SMALL, eagerly, small_panel
from tests.tiny import Wide
from tsfusion import DataWarning, FusionForecaster, PanelSplit
from tsfusion.evaluation import Baseline, backtest, baseline_forecast
from tsfusion.evaluation.backtesting import _Progress
from tsfusion.models.factory import NETWORKS

COLUMNS = {"time": "date", "series": "store", "target": "sales"}
NAMES = ["last_value", "seasonal_naive", "season_mean", "drift", "linear"]


class Noted:
    """Forecasts the last known value; notes what it is given."""

    fits: list = []
    futures: list = []

    def __init__(self, known=None, observed=None, static=None, context=True):
        self.known, self.observed, self.static = known, observed, static

    def fit(self, X, y=None):
        self.table = X if y is None else X.assign(sales=y)
        Noted.fits.append(self.table)
        return self

    def forecast(self, future, context=None):
        Noted.futures.append((future, context))
        table = self.table if context is None else context
        last = table.dropna(subset="sales").sort_values("date").groupby("store")["sales"].last()
        result = future[["store", "date"]].copy()
        result["mean"] = future["store"].map(last)
        return result.sample(frac=1, random_state=0)


class Updated(Noted):
    """The same with update in place of context."""

    def update(self, X, y=None):
        self.table = pd.concat([self.table, X if y is None else X.assign(sales=y)])
        Noted.fits.append(self.table)

    def forecast(self, future):
        return super().forecast(future)


@pytest.fixture
def notes():
    Noted.fits, Noted.futures = [], []
    return Noted


@pytest.fixture(scope="module")
def network():
    return FusionForecaster(horizon=3, context_length=8, **ROLES, **SMALL)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"gap": 2},
        {"window": "sliding", "train_size": 20},
        {"step": 2, "n_windows": 4},
        {"refit": 2},
    ],
)
def test_windows_are_those_of_panel_split(panel, notes, options):
    options = {"n_windows": 3, **options}
    table = backtest(Noted(), panel, horizon=4, **COLUMNS, **options)
    given = {key: value for key, value in options.items() if key not in ("n_windows", "refit")}
    split = PanelSplit(
        options["n_windows"], horizon=4, time="date", series="store",
        refit_every=options.get("refit", 1), **given,
    )  # fmt: skip
    assert list(table["cutoff"].unique()) == list(split.cutoffs(panel))
    refits = split.splits(panel)["refit"]
    fitted = iter(notes.fits)
    for refit, (train, test) in zip(refits, split.split(panel)):
        if refit:
            assert_frame_equal(next(fitted), panel.iloc[train])
        rows = panel.iloc[test]
        part = table[table["cutoff"] == rows["date"].min()]
        assert_frame_equal(
            part[["store", "date", "y"]].reset_index(drop=True),
            rows.rename(columns={"sales": "y"})[["store", "date", "y"]].reset_index(drop=True),
        )
        assert part["step"].tolist() == [1, 2, 3, 4] * 3
    assert next(fitted, None) is None


def test_columns_of_the_table(panel):
    table = backtest(
        {"naive": "last_value", "point": Noted()}, panel, horizon=2, quantiles=[0.9, 0.1], **COLUMNS
    )
    assert table.columns.tolist() == [
        "store", "cutoff", "date", "step", "model", "y", "mean", "q0.1", "q0.9",
    ]  # fmt: skip
    assert table["model"].unique().tolist() == ["naive", "point"]
    apart = table.set_index("model")
    assert apart.loc["naive"].notna().all(axis=None)
    assert apart.loc["point", ["q0.1", "q0.9"]].isna().all(axis=None)
    # Two ways to the same forecast, the rows of the second in another order.
    np.testing.assert_allclose(apart.loc["naive", "mean"], apart.loc["point", "mean"])
    assert table.attrs == {"target": "sales", "freq": "D"}


@pytest.mark.parametrize("name", NAMES)
def test_baselines_equal_those_of_a_frame(panel, name):
    table = backtest(name, panel, horizon=5, n_windows=2, season=7, **COLUMNS)
    for cutoff, part in table.groupby("cutoff"):
        expected = baseline_forecast(
            panel[panel["date"] < cutoff], name=name, **COLUMNS, horizon=5, season_length=7,
            freq="D", quantiles=[0.1, 0.5, 0.9],
        )  # fmt: skip
        assert_frame_equal(
            part[expected.columns].reset_index(drop=True), expected, check_dtype=False
        )


@pytest.mark.parametrize("name", NAMES)
def test_baseline_steps_count_from_the_last_row(panel, name):
    late = panel[(panel["store"] != "s1") | (panel["date"] < "2024-02-15")]
    late = late[late["date"] < "2024-02-20"]
    model = Baseline(name, 8, **COLUMNS, freq="D").fit(late)
    future = panel.loc[panel["date"].between("2024-02-20", "2024-02-22"), ["store", "date"]]
    found = model.forecast(future)
    alone = Baseline(name, 8, **COLUMNS, freq="D").fit(late).forecast()
    joined = found.merge(alone, on=["store", "date"], suffixes=("", "_alone"))
    assert len(joined) == len(found) == 9
    for column in ("mean", "q0.1", "q0.9"):
        np.testing.assert_allclose(joined[column], joined[f"{column}_alone"])
    with pytest.raises(ValueError, match="after the history"):
        model.forecast(panel)
    with pytest.raises(ValueError, match="series 'new' has no history"):
        model.forecast(future.head(1).assign(store="new"))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("gap", [0, 2])
def test_baselines_begin_after_the_last_known_target(panel, name, gap):
    """Rows of unknown targets before a cutoff are as good as none."""
    day = panel["date"].dt.strftime("%m-%d")
    ahead = ["02-21", "02-22"] if gap else ["02-23", "02-24"]
    unknown = (panel["store"] == "s1") & day.isin(ahead)
    blank = panel.assign(sales=panel["sales"].mask(unknown))
    options = {"horizon": 5, "n_windows": 1, "gap": gap, "season": 7, "freq": "D", **COLUMNS}
    found = backtest(name, blank, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        expected = backtest(name, panel[~unknown], **options)
    assert found["cutoff"].iloc[0] == pd.Timestamp("2024-02-25")
    assert_frame_equal(found, expected)
    if name == "last_value":
        last = panel.loc[(panel["store"] == "s1") & (day == min(ahead)), "sales"].index - 1
        of = found["store"] == "s1"
        assert (found.loc[of, "mean"] == panel["sales"][last].item()).all()


@pytest.mark.parametrize("taken", ["mean", "q0.9"])
def test_a_baseline_refuses_columns_named_like_its_own(taken):
    frame = pd.DataFrame({taken: "a", "date": pd.date_range("2024", periods=30), "y": range(30)})
    model = Baseline("drift", 3, series=taken, time="date", target="y", quantiles=[0.9]).fit(frame)
    with pytest.raises(ValueError, match=f"the result has a column '{taken}' of its own"):
        model.forecast()


def test_future_has_known_columns_only(panel, notes):
    backtest(Noted(**{k: ROLES[k] for k in ("known", "observed", "static")}), panel, horizon=2,
             **COLUMNS)  # fmt: skip
    backtest(Noted(), panel, horizon=2, observed="weather", **COLUMNS)
    expected = {"store", "date", "price", "event", "region", "size"}
    assert [set(future.columns) for future, _ in notes.futures] == [expected] * 6


def test_y_apart_from_x(panel, notes):
    whole = backtest(Updated(), panel, horizon=2, refit=False, **COLUMNS)
    apart = backtest(
        Updated(), panel.drop(columns="sales"), panel["sales"], horizon=2, refit=False,
        time="date", series="store",
    )  # fmt: skip
    assert_frame_equal(whole, apart)
    assert all("sales" not in future for future, _ in notes.futures)


def test_context_and_update_are_one(panel, notes):
    by_context = backtest({"m": Noted()}, panel, horizon=3, n_windows=4, refit=2, **COLUMNS)
    assert [context is None for _, context in notes.futures] == [True, False, True, False]
    by_update = backtest({"m": Updated()}, panel, horizon=3, n_windows=4, refit=2, **COLUMNS)
    always = backtest({"m": Noted()}, panel, horizon=3, n_windows=4, **COLUMNS)
    assert_frame_equal(by_context, by_update)
    assert_frame_equal(by_context, always)


def test_network_without_refit_is_one_fit_and_updates(panel, network, eager):
    table = network.backtest(panel, n_windows=2, refit=False)
    cutoffs = table["cutoff"].unique()
    model = FusionForecaster(**network.get_params()).fit(panel[panel["date"] < cutoffs[0]])
    future = panel.drop(columns=["sales", "weather"])
    for cutoff in cutoffs:
        history = panel[panel["date"] < cutoff]
        window = future[(future["date"] >= cutoff)].groupby("store").head(3)
        part = table.loc[table["cutoff"] == cutoff].reset_index(drop=True)
        again = model.update(history).forecast(window)
        for column in ("mean", "q0.1", "q0.5", "q0.9"):
            np.testing.assert_allclose(part[column], again[column], rtol=1e-5)
    assert not hasattr(network, "model_")


@pytest.mark.parametrize("options", [{}, {"refit": False}, {"gap": 1, "window": "sliding"}])
def test_no_target_reaches_a_forecast_of_its_own_cutoff(panel, notes, options):
    models = {**{name: name for name in NAMES}, "noted": Noted(observed=["weather"])}
    table = backtest(models, panel, horizon=3, **COLUMNS, **options)
    rng = np.random.default_rng(0)
    for cutoff in table["cutoff"].unique():
        changed = panel.copy()
        late = changed["date"] >= cutoff - pd.Timedelta(days=options.get("gap", 0))
        for name in ("sales", "weather"):
            changed.loc[late, name] = rng.normal(size=late.sum()) * 1e3
        other = backtest(models, changed, horizon=3, **COLUMNS, **options)
        assert_frame_equal(
            table[table["cutoff"] == cutoff].drop(columns="y"),
            other[other["cutoff"] == cutoff].drop(columns="y"),
        )


def test_no_target_reaches_a_forecast_of_the_network(panel, network, eager):
    early = network.backtest(panel, n_windows=1)
    changed = panel.copy()
    late = changed["date"] >= early["cutoff"].iloc[0]
    changed.loc[late, ["sales", "weather"]] = 1e3
    assert_frame_equal(
        early.drop(columns="y"), network.backtest(changed, n_windows=1).drop(columns="y")
    )


def test_gaps_and_absent_series(panel, notes):
    early = (panel["store"] == "s0") & (panel["date"] == "2024-02-24")
    ended = (panel["store"] == "s1") & (panel["date"] > "2024-02-20")
    begins = (panel["store"] == "s2") & (panel["date"] < "2024-02-26")
    holey = panel[~(early | ended | begins)]
    with pytest.warns(DataWarning) as caught:
        table = backtest({"m": Noted(known=["price"])}, holey, horizon=3, n_windows=2, **COLUMNS)
    texts = [str(warning.message) for warning in caught]
    assert any("1 of 3 series have no rows in a test window" in text for text in texts)
    assert any("1 of 3 series have no known target before" in text for text in texts)
    assert any("1 rows are missing between" in text for text in texts)
    sizes = table.groupby(["cutoff", "store"]).size()
    # From the 24th: s0 without that day; s2 has no past yet. From the 27th: s0 and s2.
    assert sizes.tolist() == [2, 3, 3]
    assert table.loc[table["cutoff"] == "2024-02-24", "step"].tolist() == [2, 3]
    future = notes.futures[0][0]
    assert future["date"].dt.day.tolist() == [24, 25, 26]
    before = holey.loc[(holey["store"] == "s0") & (holey["date"] == "2024-02-23"), "price"]
    assert future["price"].iloc[0] == before.item()


def test_unknown_targets(panel, notes):
    # The last two days are the future; two days before the cutoff are unknown too.
    days = panel["date"].dt.strftime("%m-%d")
    holey = panel.assign(sales=panel["sales"].mask(days.isin(["02-28", "02-29", "02-22", "02-23"])))
    table = backtest({"m": Noted()}, holey, horizon=4, n_windows=1, **COLUMNS)
    assert table["cutoff"].iloc[0] == pd.Timestamp("2024-02-24")
    assert notes.futures[0][0]["date"].min() == pd.Timestamp("2024-02-22")
    assert table["date"].min() == pd.Timestamp("2024-02-24")
    with pytest.raises(ValueError, match="unknown in every row"):
        backtest("drift", panel.assign(sales=np.nan), horizon=2, **COLUMNS)


def test_time_in_the_index_and_no_time_at_all(panel):
    expected = backtest("seasonal_naive", panel, horizon=2, **COLUMNS)
    indexed = panel.set_index(["store", "date"])
    found = backtest("seasonal_naive", indexed, horizon=2, target="sales")
    assert_frame_equal(found, expected)
    one = panel.loc[panel["store"] == "s0", ["sales"]].reset_index(drop=True)
    table = backtest("last_value", one, horizon=2, n_windows=2, target="sales")
    assert table["time"].tolist() == [56, 57, 58, 59]
    assert table["mean"].tolist() == one["sales"][[55, 55, 57, 57]].tolist()


def test_index_with_gaps(panel, notes):
    holey = panel.drop(panel.index[57]).set_index(["store", "date"])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DataWarning)
        table = backtest("drift", holey, horizon=3, n_windows=1, target="sales")
    assert table["step"].tolist() == [2, 3, 1, 2, 3, 1, 2, 3]


def test_business_rows(panel):
    days = panel[panel["date"].dt.day_of_week < 5]
    table = backtest("last_value", days, horizon=3, freq="rows", **COLUMNS)
    cutoffs = PanelSplit(3, horizon=3, time="date", series="store", freq="rows").cutoffs(days)
    assert list(table["cutoff"].unique()) == list(cutoffs)
    assert table["step"].tolist() == [1, 2, 3] * 9


def test_a_second_call_runs_nothing(panel, notes, tmp_path):
    options = {"horizon": 3, **COLUMNS, "out": tmp_path / "run"}
    first = backtest({"m": Noted(), "b": "drift"}, panel, **options)
    assert len(notes.fits) == 3
    second = backtest({"m": Noted(), "b": "drift"}, panel, **options)
    assert len(notes.fits) == 3
    assert_frame_equal(first, second)
    # A file that is lost or damaged is made again, and a model that is added is run.
    files = sorted((tmp_path / "run").glob("m-*.npz"))
    assert len(files) == 3
    files[0].unlink()
    files[1].write_bytes(files[1].read_bytes()[:100])
    third = backtest({"m": Noted(), "b": "drift", "c": "last_value"}, panel, **options)
    assert len(notes.fits) == 5
    assert_frame_equal(third[third["model"] != "c"], first)


def test_resumes_in_the_middle_of_a_fit(panel, notes, tmp_path):
    options = {"horizon": 3, "refit": False, **COLUMNS, "out": tmp_path}
    first = backtest({"m": Updated()}, panel, **options)
    for path in sorted(tmp_path.glob("*.npz"))[1:]:
        path.unlink()
    notes.fits.clear()
    assert_frame_equal(backtest({"m": Updated()}, panel, **options), first)
    assert len(notes.fits) == 3


def test_a_folder_of_other_data_is_refused(panel, tmp_path):
    options = {"horizon": 3, **COLUMNS, "out": tmp_path}
    backtest({"m": Noted()}, panel, **options)
    changed = panel.copy()
    changed.loc[5, "sales"] += 1
    with pytest.raises(ValueError, match="other data: choose another folder"):
        backtest({"m": Noted()}, changed, **options)
    with pytest.raises(ValueError, match="other horizon"):
        backtest({"m": Noted()}, panel, **{**options, "horizon": 2})
    with pytest.raises(ValueError, match="'m' with other parameters"):
        backtest({"m": Noted(known=["price"])}, panel, **options)
    (tmp_path / "backtest.json").write_text("{")
    with pytest.raises(ValueError, match="damaged"):
        backtest({"m": Noted()}, panel, **options)
    (tmp_path / "backtest.json").unlink()
    with pytest.raises(ValueError, match=r"no backtest\.json"):
        backtest({"m": Noted()}, panel, **options)


class Tiny(FusionForecaster):
    """With a network of one layer, in the processes that joblib starts too."""

    def fit(self, X, y=None):
        with pytest.MonkeyPatch.context() as patch, eagerly(True):
            patch.setitem(NETWORKS, "fusion", Wide)
            return super().fit(X, y)


@pytest.mark.slow
def test_processes_change_nothing(panel, network):
    models = {"net": Tiny(**network.get_params()), "linear": "linear", "drift": "drift"}
    options = {"horizon": 3, "n_windows": 2, **COLUMNS}
    alone = backtest(models, panel, **options)
    together = backtest(models, panel, n_jobs=2, **options)
    # Workers compile the forecast; here it runs step by step where another test asked for it.
    assert_frame_equal(alone, together, rtol=1e-4)


def test_errors(panel):
    with pytest.raises(ValueError, match="baseline: expected the name of one of"):
        backtest("arima", panel, horizon=2, **COLUMNS)
    with pytest.raises(TypeError, match="expected an object with fit and forecast"):
        backtest({"m": 3}, panel, horizon=2, **COLUMNS)
    with pytest.raises(ValueError, match="not told apart"):
        backtest([Noted(), Noted()], panel, horizon=2, **COLUMNS)
    with pytest.raises(ValueError, match="At most n_windows=5 fits"):
        backtest("drift", panel, horizon=10, n_windows=6, **COLUMNS)
    with pytest.raises(ValueError, match="refit"):
        backtest("drift", panel, horizon=2, refit=0, **COLUMNS)
    with pytest.raises(ValueError, match="'mean' of its own"):
        backtest("drift", panel.rename(columns={"store": "mean"}), horizon=2, time="date",
                 series="mean", target="sales")  # fmt: skip
    with pytest.raises(ValueError, match="'q0.9' of its own"):
        backtest("drift", panel.rename(columns={"store": "q0.9"}), horizon=2, time="date",
                 series="q0.9", target="sales")  # fmt: skip

    class Short(Noted):
        def forecast(self, future):
            return super().forecast(future).iloc[:-1]

    with pytest.raises(ValueError, match="1 of 6 rows .* have no forecast"):
        backtest(Short(), panel, horizon=2, **COLUMNS)
    with pytest.raises(TypeError, match="neither by forecast"):
        backtest(Short(), panel, horizon=2, refit=False, **COLUMNS)


def test_statsforecast_is_asked_for(panel, monkeypatch):
    monkeypatch.setitem(sys.modules, "statsforecast", None)
    with pytest.raises(ImportError, match=r"tsfusion\[statistical\]"):
        backtest("auto_ets", panel, horizon=2, **COLUMNS)


def test_statsforecast_tables(panel, monkeypatch):
    """What we hand to statsforecast and read from it, with a stand-in of the same interface."""
    asked = {}

    class StatsForecast:
        def __init__(self, models, freq, n_jobs):
            assert freq == 1
            asked["models"] = models

        def forecast(self, df, h, level):
            assert df["y"].notna().all()
            asked["level"] = level
            last = df.groupby("unique_id").last()
            made = last.loc[last.index.repeat(h)].reset_index()
            made["ds"] += np.tile(np.arange(1, h + 1), len(last))
            made = made.rename(columns={"y": "mean"})
            for width in level:
                made[f"mean-lo-{width}"] = made["mean"] - width
                made[f"mean-hi-{width}"] = made["mean"] + width
            return made

    module = types.ModuleType("statsforecast")
    module.StatsForecast = StatsForecast
    module.models = types.ModuleType("statsforecast.models")
    module.models.AutoETS = lambda season_length, alias: (season_length, alias)
    monkeypatch.setitem(sys.modules, "statsforecast", module)
    monkeypatch.setitem(sys.modules, "statsforecast.models", module.models)
    table = backtest(["auto_ets", "last_value"], panel, horizon=2, **COLUMNS)
    assert asked == {"models": [(7, "mean")], "level": [80.0]}
    ets, naive = (table[table["model"] == name] for name in ("auto_ets", "last_value"))
    np.testing.assert_allclose(ets["mean"], naive["mean"])
    np.testing.assert_allclose(ets["q0.1"], ets["mean"] - 80)
    np.testing.assert_allclose(ets["q0.5"], ets["mean"])
    np.testing.assert_allclose(ets["q0.9"], ets["mean"] + 80)


def test_linear_learns_a_linear_rule():
    # A damped wave follows from two values before; a naive forecast cannot.
    steps = np.arange(200)
    wave = pd.DataFrame({"t": steps, "y": 100 + np.sin(0.7 * steps)})
    table = backtest(["linear", "last_value"], wave, horizon=5, time="t", target="y", n_windows=2)
    error = (table["y"] - table["mean"]).abs().groupby(table["model"]).max()
    assert error["linear"] < 0.02 < 0.5 < error["last_value"]


def test_a_gap_raises_the_horizon(panel, eager):
    class Asked(FusionForecaster):
        def fit(self, X, y=None):
            assert (self.horizon, self.verbose) == (5, 0)
            raise KeyboardInterrupt

    model = Asked(horizon=3, **ROLES)
    with pytest.raises(KeyboardInterrupt):
        model.backtest(panel, gap=2)
    assert (model.horizon, model.verbose) == (3, 1)


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("verbose", "stream", "lines"), [(0, Terminal(), 0), (1, Terminal(), 1), (1, io.StringIO(), 0),
                                     (2, io.StringIO(), 2)],
)  # fmt: skip
def test_progress(verbose, stream, lines):
    with _Progress(2, verbose, stream) as progress:
        for cutoff in ("Monday", "Tuesday"):
            progress.show("m", cutoff)
    assert stream.getvalue().count("\n") == lines
    assert ("2/2  m from Tuesday" in stream.getvalue()) == (lines > 0)


def test_quiet_off_a_terminal(panel, capsys):
    backtest("drift", panel, horizon=2, **COLUMNS)
    assert capsys.readouterr() == ("", "")


def test_small_panel_of_one_series():
    one = small_panel(n_series=1).drop(columns="store")
    table = backtest(NAMES, one, horizon=3, time="date", target="sales", n_windows=2, season=7)
    assert table.columns[0] == "cutoff"
    assert len(table) == 5 * 6
