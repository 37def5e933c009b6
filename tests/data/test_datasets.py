"""AirPassengers by its known totals; `make_panel` by its truth, which a regression must find."""

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal, assert_series_equal

from tsfusion.data.datasets import load_air_passengers, make_panel

COLUMNS = ["series", "date", "region", "size", "price", "promo", "weather", "humidity", "sales"]


@pytest.fixture(scope="module")
def panel():
    return make_panel(return_truth=True)


class TestAirPassengers:
    def test_months(self):
        frame = load_air_passengers()
        assert list(frame.columns) == ["month", "passengers"]
        assert frame["passengers"].dtype == np.float64
        assert frame["month"].iloc[0] == pd.Timestamp("1949-01-01")
        assert frame["month"].iloc[-1] == pd.Timestamp("1960-12-01")
        assert frame["month"].tolist() == list(pd.date_range("1949", periods=144, freq="MS"))

    def test_yearly_totals(self):
        frame = load_air_passengers()
        totals = frame.groupby(frame["month"].dt.year)["passengers"].sum()
        assert totals.tolist() == [
            1520, 1676, 2042, 2364, 2700, 2867, 3408, 3939, 4421, 4572, 5140, 5714,
        ]  # fmt: skip

    def test_monthly_totals(self):
        frame = load_air_passengers()
        totals = frame.groupby(frame["month"].dt.month)["passengers"].sum()
        assert totals.sum() == frame["passengers"].sum() == 40363
        assert totals.idxmax() == 7
        assert totals.idxmin() == 11

    def test_each_call_gives_its_own_frame(self):
        frame = load_air_passengers()
        frame.loc[0, "passengers"] = 0.0
        assert load_air_passengers().loc[0, "passengers"] == 112.0


class TestPanelFrame:
    def test_columns_and_types(self, panel):
        frame, _ = panel
        assert list(frame.columns) == COLUMNS
        assert len(frame) == 20 * 730
        assert pd.api.types.is_string_dtype(frame["series"])
        assert pd.api.types.is_string_dtype(frame["region"])
        assert pd.api.types.is_datetime64_any_dtype(frame["date"])
        numbers = frame[["size", "price", "promo", "weather", "humidity", "sales"]]
        assert np.isfinite(numbers.to_numpy()).all()
        assert set(frame["promo"]) == {0, 1}
        assert (frame["price"] > 0).all()

    def test_sorted_on_one_daily_grid(self, panel):
        frame, _ = panel
        assert_frame_equal(frame, frame.sort_values(["series", "date"], ignore_index=True))
        for _, rows in frame.groupby("series"):
            assert rows["date"].tolist() == list(pd.date_range("2022-01-01", periods=730))

    def test_static_columns_are_static(self, panel):
        frame, _ = panel
        assert (frame.groupby("series")[["region", "size"]].nunique() == 1).all(axis=None)
        assert frame["region"].nunique() == 4

    def test_weather_is_autocorrelated_and_humidity_goes_with_it(self, panel):
        frame, truth = panel
        before = frame.groupby("series")["weather"].shift(1)
        assert frame["weather"].corr(before) == pytest.approx(truth.weather_persistence, abs=0.03)
        assert frame["weather"].std() == pytest.approx(1.0, abs=0.05)
        assert frame["weather"].corr(frame["humidity"]) == pytest.approx(0.7, abs=0.05)

    def test_weather_has_unit_variance_from_the_first_step(self):
        first = make_panel(3000, 4, freq="YS").groupby("series")["weather"].first()
        assert first.std() == pytest.approx(1.0, abs=0.05)

    @pytest.mark.parametrize(
        ("freq", "seasons"),
        [
            ("h", (24, 168)),
            ("2h", (12, 84)),
            ("15min", (96, 672)),
            ("D", (7, 365.25)),
            ("W-SUN", (365.25 / 7,)),
            ("B", (5, 365.25 * 5 / 7)),
            ("MS", (12,)),
            ("QS-DEC", (4,)),
            ("YS", ()),
        ],
    )
    def test_seasons_by_frequency(self, freq, seasons):
        frame, truth = make_panel(2, 40, freq=freq, return_truth=True)
        assert truth.seasons == pytest.approx(seasons)
        dates = pd.date_range("2022-01-01", periods=40, freq=freq)
        assert frame.groupby("series")["date"].apply(list).tolist() == [list(dates)] * 2

    def test_seasons_given(self):
        _, truth = make_panel(2, 40, seasons=[10], return_truth=True)
        season = truth.components["season_10"].to_numpy().reshape(2, 40)
        np.testing.assert_allclose(season[:, :30], season[:, 10:], atol=1e-9)
        assert make_panel(2, 40, seasons=[], return_truth=True)[1].seasons == ()

    def test_every_series_has_its_name_once(self):
        names = make_panel(101, 4)["series"].unique()
        assert len(names) == 101
        assert names[0] == "store_000"
        assert names[-1] == "store_100"


class TestDeterminism:
    def test_same_seed_same_frame(self):
        first = make_panel(4, 50, missing=0.2, ragged=True, random_state=7)
        assert_frame_equal(
            first, make_panel(4, 50, missing=0.2, ragged=True, random_state=7), check_exact=True
        )
        generator = np.random.default_rng(7)
        assert_frame_equal(
            first, make_panel(4, 50, missing=0.2, ragged=True, random_state=generator)
        )
        assert not first.equals(make_panel(4, 50, missing=0.2, ragged=True, random_state=8))

    def test_no_seed_draws_anew(self):
        assert not make_panel(2, 20, random_state=None).equals(make_panel(2, 20, random_state=None))

    def test_effects_leave_the_covariates_alone(self):
        plain = make_panel(4, 50)
        other = make_panel(4, 50, noise=1.0, price_effect=3.0, seasons=[5], trend=0.0)
        assert_frame_equal(plain.drop(columns="sales"), other.drop(columns="sales"))

    def test_gaps_leave_the_values_alone(self):
        full = make_panel(4, 50).set_index(["series", "date"])
        gaps = make_panel(4, 50, missing=0.3, ragged=True).set_index(["series", "date"])
        known = gaps[gaps["sales"].notna()]
        assert_frame_equal(known, full.loc[known.index])

    def test_global_random_state_is_not_touched(self):
        before = np.random.get_state()[1].copy()  # noqa: NPY002
        make_panel(2, 20)
        assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


class TestTruth:
    @pytest.mark.parametrize("gaps", [{}, {"missing": 0.2, "ragged": True}])
    def test_components_sum_to_the_target(self, gaps):
        frame, truth = make_panel(5, 100, return_truth=True, **gaps)
        assert truth.components.index.equals(frame.index)
        total = truth.components.sum(axis=1)
        known = frame["sales"].notna()
        assert truth.components.notna().all(axis=None)
        np.testing.assert_allclose(total[known], frame["sales"][known], rtol=1e-12)

    def test_components_follow_from_the_columns(self, panel):
        frame, truth = panel
        parts, level = truth.components, truth.components["level"]
        assert (level.groupby(frame["series"]).nunique() == 1).all()
        assert (level / frame["size"]).groupby(frame["region"]).std().max() < 1e-9
        np.testing.assert_allclose(parts["promo"] / level, 0.3 * frame["promo"], atol=1e-12)
        np.testing.assert_allclose(parts["price"] / level, 1 - frame["price"] / 10, atol=1e-12)
        before = frame.groupby("series")["weather"].shift(3)
        seen = before.notna()
        np.testing.assert_allclose(
            (parts["weather"] / level)[seen], 0.12 * before[seen], atol=1e-12
        )
        assert parts["weather"].notna().all()

    def test_noise_and_weather_std(self, panel):
        frame, truth = panel
        for name, expected in [("noise", truth.noise_std), ("weather", truth.weather_std)]:
            found = truth.components[name].groupby(frame["series"]).std()
            np.testing.assert_allclose(found / expected, 1.0, atol=0.2)
            assert (found / expected).mean() == pytest.approx(1.0, abs=0.04)
            assert found.index.equals(expected.index)

    def test_effects_table(self, panel):
        frame, truth = panel
        effects = truth.effects.set_index("variable")
        assert set(frame.columns) - {"series", "date", "sales"} <= set(effects.index)
        assert effects["share"].sum() == pytest.approx(1.0, abs=1e-9)
        assert effects.loc[["region", "size", "humidity"], "share"].eq(0).all()
        assert effects.loc[["price", "promo", "weather"], "lag"].tolist() == [0, 0, 3]
        assert effects["lag"].isna().sum() == 7
        roles = effects["role"]
        assert roles[["price", "weather", "region"]].tolist() == ["known", "observed", "static"]
        assert effects.loc["weather", "share"] > 4 * effects.loc["noise", "share"]
        assert effects.loc[["price", "promo"], "share"].min() > 2 * effects.loc["noise", "share"]

    def test_share_is_a_covariance_with_the_target(self, panel):
        frame, truth = panel
        shares = [
            np.cov(truth.components["weather"][rows], frame["sales"][rows])[0, 1]
            / np.var(frame["sales"][rows], ddof=1)
            for rows in frame.groupby("series").groups.values()
        ]
        effects = truth.effects.set_index("variable")
        assert effects.loc["weather", "share"] == pytest.approx(np.mean(shares))

    def test_every_effect_can_be_found_by_regression(self, panel):
        frame, truth = panel
        by_series = frame.groupby("series")
        relative = frame["sales"] / truth.components["level"] - 1
        step = by_series.cumcount()
        columns = {"price": frame["price"] / 10 - 1, "promo": frame["promo"]}
        columns |= {f"weather_{lag}": by_series["weather"].shift(lag) for lag in range(8)}
        columns |= {f"humidity_{lag}": by_series["humidity"].shift(lag) for lag in range(8)}
        for season in truth.seasons:
            for harmonic in (1, 2):
                angle = 2 * np.pi * harmonic * step / season
                columns |= {f"sin_{season}_{harmonic}": np.sin(angle)}
                columns |= {f"cos_{season}_{harmonic}": np.cos(angle)}
        design = pd.DataFrame(columns).assign(one=1.0)
        seen = design.notna().all(axis=1)
        found = pd.Series(
            np.linalg.lstsq(design[seen].to_numpy(), relative[seen].to_numpy(), rcond=None)[0],
            index=design.columns,
        )
        assert found["price"] == pytest.approx(-1.0, abs=0.03)
        assert found["promo"] == pytest.approx(0.3, abs=0.01)
        assert found["weather_3"] == pytest.approx(0.12, abs=0.005)
        others = [name for name in found.index if name.startswith(("weather", "humidity"))]
        assert found[others].drop("weather_3").abs().max() < 0.01

    def test_oracle_std_is_the_error_of_the_best_forecast(self):
        frame, truth = make_panel(200, 400, weather_lag=2, return_truth=True)
        by_series = frame.groupby("series")
        oracle = truth.oracle_std(4)
        assert oracle.shape == (200, 4)
        for step in (1, 2, 3, 4):
            unseen = max(step - 2, 0)
            known_weather = by_series["weather"].shift(2 + unseen) * 0.7**unseen
            weather = 0.12 * truth.components["level"] * known_weather
            known = truth.components.drop(columns=["weather", "noise"]).sum(axis=1) + weather
            error = (frame["sales"] - known).groupby(frame["series"]).std()
            assert (error / oracle[step]).mean() == pytest.approx(1.0, abs=0.02)

    def test_panel_without_variance(self):
        frame, truth = make_panel(
            2, 5, trend=0, season_effect=0, weather_effect=0, price_effect=0, promo_effect=0,
            noise=0, return_truth=True,
        )  # fmt: skip
        assert (frame.groupby("series")["sales"].nunique() == 1).all()
        assert truth.effects["share"].eq(0).all()


class TestGaps:
    def test_missing(self):
        frame = make_panel(20, 500, missing=0.2)
        assert len(frame) == pytest.approx(0.8 * 20 * 500, rel=0.02)
        assert frame["sales"].isna().mean() == pytest.approx(0.1, abs=0.01)
        assert frame.drop(columns="sales").notna().all(axis=None)

    def test_edges_stay(self):
        frame = make_panel(20, 50, missing=0.9)
        edges = frame.groupby("series")["date"].agg(["min", "max"])
        assert (edges["min"] == "2022-01-01").all()
        assert (edges["max"] == "2022-02-19").all()
        last = frame["date"] == pd.Timestamp("2022-02-19")
        assert frame.loc[last, "sales"].notna().all()

    def test_ragged(self):
        frame = make_panel(50, 200, ragged=True)
        edges = frame.groupby("series")["date"].agg(["min", "max", "size"])
        assert edges["min"].nunique() > 10
        assert edges["max"].nunique() > 5
        assert edges["size"].min() >= 0.6 * 200 - 1
        assert (edges["size"] == (edges["max"] - edges["min"]).dt.days + 1).all()

    def test_smallest_panel(self):
        frame = make_panel(1, 2, weather_lag=1, missing=0.5, ragged=True, return_truth=False)
        assert 1 <= len(frame) <= 2


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"n_series": 0}, ValueError, "n_series: expected at least 1, got 0"),
        ({"n_series": 2.5}, TypeError, "n_series: expected a whole number, got 2.5"),
        ({"n_steps": True}, TypeError, "n_steps: expected a whole number"),
        ({"n_steps": 3}, ValueError, "n_steps: expected more than weather_lag=3"),
        ({"weather_lag": 0}, ValueError, "weather_lag: expected at least 1"),
        ({"freq": "M"}, ValueError, "freq: 'M' is not a frequency"),
        ({"freq": None}, TypeError, "freq: expected a pandas offset alias"),
        ({"start": "some day"}, ValueError, "start: cannot lay 730 steps"),
        ({"seasons": [1]}, ValueError, "seasons: expected a finite number of at least 3"),
        ({"seasons": 7}, TypeError, "seasons: expected a list"),
        ({"seasons": [7, 7.0]}, ValueError, "seasons: expected each season once"),
        ({"noise": -0.1}, ValueError, "noise: expected a finite number of at least 0"),
        ({"price_effect": float("nan")}, ValueError, "price_effect: expected a finite number"),
        ({"promo_effect": "big"}, TypeError, "promo_effect: expected a number"),
        ({"missing": 1.0}, ValueError, r"missing: expected a share in \[0, 1\)"),
        ({"random_state": -1}, ValueError, "random_state: expected at least 0"),
        ({"random_state": "x"}, TypeError, "random_state: expected a whole number"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        make_panel(**arguments)


def test_oracle_needs_a_horizon():
    _, truth = make_panel(1, 10, return_truth=True)
    with pytest.raises(ValueError, match="horizon: expected at least 1"):
        truth.oracle_std(0)
    assert_series_equal(truth.oracle_std(1)[1], truth.noise_std, check_names=False)
