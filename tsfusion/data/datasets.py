"""Data that comes with the package: one classic series, and panels whose truth is known.

Relies on NumPy and pandas, and on `tsfusion.data.calendar` for what a frequency means.
"""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, overload

import numpy as np
import numpy.typing as npt
import pandas as pd

from tsfusion.data.calendar import parse_frequency

__all__ = ["PanelTruth", "load_air_passengers", "make_panel"]

_Floats = npt.NDArray[np.float64]

# Monthly totals of international airline passengers in thousands, one row a year, 1949 to 1960:
# Box, Jenkins, "Time Series Analysis: Forecasting and Control" (1970), series G.
# fmt: off
_AIR_PASSENGERS = (
    112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118,
    115, 126, 141, 135, 125, 149, 170, 170, 158, 133, 114, 140,
    145, 150, 178, 163, 172, 178, 199, 199, 184, 162, 146, 166,
    171, 180, 193, 181, 183, 218, 230, 242, 209, 191, 172, 194,
    196, 196, 236, 235, 229, 243, 264, 272, 237, 211, 180, 201,
    204, 188, 235, 227, 234, 264, 302, 293, 259, 229, 203, 229,
    242, 233, 267, 269, 270, 315, 364, 347, 312, 274, 237, 278,
    284, 277, 317, 313, 318, 374, 413, 405, 355, 306, 271, 306,
    315, 301, 356, 348, 355, 422, 465, 467, 404, 347, 305, 336,
    340, 318, 362, 348, 363, 435, 491, 505, 404, 359, 310, 337,
    360, 342, 406, 396, 420, 472, 548, 559, 463, 407, 362, 405,
    417, 391, 419, 461, 472, 535, 622, 606, 508, 461, 390, 432,
)
# fmt: on

_REGIONS = ("east", "north", "south", "west")
_REGION_LEVELS = np.array([100.0, 80.0, 120.0, 160.0])
_SMALLEST_SIZE, _LARGEST_SIZE = 1.0, 4.0

_USUAL_PRICE = 10.0
_PRICE_SPREAD = 0.2
_PRICE_CHANGE_RATE = 1 / 14
_PROMO_START_RATE = 0.03
_PROMO_STEPS = 4

# Strong enough to look like weather, weak enough that neighbouring lags can be told apart.
_WEATHER_PERSISTENCE = 0.7
_HUMIDITY_CORRELATION = 0.7

# Units in each season of a frequency; nanoseconds below a day, as the frequency counts.
_NANOS_PER_DAY = 24 * 3600 * 10**9
_UNIT_SEASONS: dict[str, tuple[float, ...]] = {
    "sub-hourly": (_NANOS_PER_DAY, 7 * _NANOS_PER_DAY),
    "hourly": (_NANOS_PER_DAY, 7 * _NANOS_PER_DAY),
    "daily": (7, 365.25),
    "business": (5, 365.25 * 5 / 7),
    "weekly": (365.25 / 7,),
    "monthly": (12,),
    "quarterly": (4,),
    "yearly": (),
}
# Two steps to a season would leave its strength to the phase drawn.
_SHORTEST_SEASON = 3.0

_LARGEST_LATE_START, _LARGEST_EARLY_END = 0.3, 0.1


def load_air_passengers() -> pd.DataFrame:
    """Monthly international airline passengers, 1949 to 1960, in thousands.

    Returns
    -------
    DataFrame
        144 rows; ``month`` (the first day of each month) and ``passengers`` (float).

    References
    ----------
    Box, G. E. P. and Jenkins, G. M. (1970). *Time Series Analysis: Forecasting and Control*,
    series G.

    Examples
    --------
    >>> load_air_passengers().tail(2)
             month  passengers
    142 1960-11-01       390.0
    143 1960-12-01       432.0
    """
    months = pd.date_range("1949-01-01", periods=len(_AIR_PASSENGERS), freq="MS")
    return pd.DataFrame({"month": months, "passengers": np.array(_AIR_PASSENGERS, np.float64)})


@dataclass(frozen=True, eq=False)
class PanelTruth:
    """What made a panel of `make_panel`.

    Attributes
    ----------
    effects : DataFrame
        One row for each additive component and for the columns without an effect: ``variable``,
        ``role`` (known, observed, static, time, noise), ``lag`` (steps from cause to effect,
        missing where there is no such thing) and ``share``: covariance of the component with the
        target over the variance of the target, within each series, averaged over the series that
        vary. Shares sum to 1. Computed before rows are dropped.
    seasons : tuple of float
        Steps of each season.
    noise_std : Series
        Standard deviation of the noise, by series.
    components : DataFrame
        The additive components of each row of the panel, on its index. Their sum is the target,
        and where the target is missing, the value that it would have had.
    weather_std : Series
        Standard deviation of the weather component, by series.
    weather_persistence : float
        Correlation of the weather with itself one step before.
    weather_lag : int
        Steps from the weather to its effect.
    """

    effects: pd.DataFrame
    seasons: tuple[float, ...]
    noise_std: pd.Series
    components: pd.DataFrame
    weather_std: pd.Series
    weather_persistence: float
    weather_lag: int

    def __repr__(self) -> str:
        return (
            f"PanelTruth({len(self.noise_std)} series, {len(self.components)} rows, seasons of "
            f"{', '.join(f'{season:g}' for season in self.seasons)} steps, weather at lag "
            f"{self.weather_lag})"
        )

    def oracle_std(self, horizon: int) -> pd.DataFrame:
        """Standard deviation of the error of a forecaster that knows the truth.

        It knows everything but the noise and the weather after its cutoff, so at step h the
        error is normal with variance ``noise^2 + weather^2 (1 - r^(2 k))``, k the steps of
        weather still unseen, ``max(h - weather_lag, 0)``, and r the persistence.

        Parameters
        ----------
        horizon : int
            Steps, at least 1.

        Returns
        -------
        DataFrame of shape (S, horizon)
            By series, one column for each step from 1.

        Examples
        --------
        >>> _, truth = make_panel(1, 60, weather_lag=1, noise=0.05, return_truth=True)
        >>> (truth.oracle_std(2) / truth.noise_std.iloc[0]).round(2)
                     1     2
        store_00   1.0  1.98
        """
        steps = np.arange(1, _whole("horizon", horizon, minimum=1) + 1)
        unseen = np.maximum(steps - self.weather_lag, 0)
        innovation = 1 - self.weather_persistence ** (2.0 * unseen)
        variance = (
            self.noise_std.to_numpy()[:, None] ** 2
            + self.weather_std.to_numpy()[:, None] ** 2 * innovation
        )
        return pd.DataFrame(np.sqrt(variance), index=self.noise_std.index, columns=steps)


@overload
def make_panel(
    n_series: int = ...,
    n_steps: int = ...,
    *,
    freq: str = ...,
    start: str | pd.Timestamp = ...,
    seasons: Iterable[float] | None = ...,
    trend: float = ...,
    season_effect: float = ...,
    weather_lag: int = ...,
    weather_effect: float = ...,
    price_effect: float = ...,
    promo_effect: float = ...,
    noise: float = ...,
    missing: float = ...,
    ragged: bool = ...,
    random_state: int | np.random.Generator | None = ...,
    return_truth: Literal[False] = ...,
) -> pd.DataFrame: ...
@overload
def make_panel(
    n_series: int = ...,
    n_steps: int = ...,
    *,
    freq: str = ...,
    start: str | pd.Timestamp = ...,
    seasons: Iterable[float] | None = ...,
    trend: float = ...,
    season_effect: float = ...,
    weather_lag: int = ...,
    weather_effect: float = ...,
    price_effect: float = ...,
    promo_effect: float = ...,
    noise: float = ...,
    missing: float = ...,
    ragged: bool = ...,
    random_state: int | np.random.Generator | None = ...,
    return_truth: Literal[True],
) -> tuple[pd.DataFrame, PanelTruth]: ...
@overload
def make_panel(
    n_series: int = ...,
    n_steps: int = ...,
    *,
    freq: str = ...,
    start: str | pd.Timestamp = ...,
    seasons: Iterable[float] | None = ...,
    trend: float = ...,
    season_effect: float = ...,
    weather_lag: int = ...,
    weather_effect: float = ...,
    price_effect: float = ...,
    promo_effect: float = ...,
    noise: float = ...,
    missing: float = ...,
    ragged: bool = ...,
    random_state: int | np.random.Generator | None = ...,
    return_truth: bool,
) -> pd.DataFrame | tuple[pd.DataFrame, PanelTruth]: ...
def make_panel(
    n_series: int = 20,
    n_steps: int = 730,
    *,
    freq: str = "D",
    start: str | pd.Timestamp = "2022-01-01",
    seasons: Iterable[float] | None = None,
    trend: float = 0.2,
    season_effect: float = 0.12,
    weather_lag: int = 3,
    weather_effect: float = 0.12,
    price_effect: float = -1.0,
    promo_effect: float = 0.3,
    noise: float = 0.05,
    missing: float = 0.0,
    ragged: bool = False,
    random_state: int | np.random.Generator | None = 0,
    return_truth: bool = False,
) -> pd.DataFrame | tuple[pd.DataFrame, PanelTruth]:
    """Make a panel of store sales in which every cause is known.

    ``sales[s, t] = level[s] * (1 + trend + seasons + price + promo + weather[t - lag] + noise)``

    Every effect is a share of the level of its series, which region and size set. ``humidity``
    is a decoy: it goes with the weather and has no effect.

    Parameters
    ----------
    n_series, n_steps : int
        Series, and steps of each on a common grid; at least 1, and more than `weather_lag`.
    freq : str
        A pandas offset alias; see `tsfusion.data.calendar`.
    start : str or Timestamp
        First step; an anchored frequency moves it to the next step of its own.
    seasons : iterable of float, optional
        Steps of each season, at least 3. By default chosen by frequency: day and week up to
        hours, week and year for days, a year for what is longer, none for years.
    trend : float
        Largest change from the first step to the last, up or down, as a share of the level.
    season_effect : float
        Standard deviation of each season, as a share of the level.
    weather_lag : int
        Steps after which the weather shows in the sales, at least 1.
    weather_effect : float
        Standard deviation of the weather effect, as a share of the level.
    price_effect : float
        Relative change of sales for a relative change of the price in the same step.
    promo_effect : float
        Relative change of sales in a step with a promotion.
    noise : float
        Standard deviation of the noise, as a share of the level, at least 0.
    missing : float
        Share of rows left out, in [0, 1); of the rest, half this share has no target. The first
        and last row of each series stay as they are.
    ragged : bool
        Whether series start up to 30 % later and end up to 10 % earlier than the grid.
    random_state : int, Generator or None
        Seed. The same seed gives the same frame, and the same prices, promotions and weather
        whatever the effects.
    return_truth : bool
        Whether to return the `PanelTruth` beside the frame.

    Returns
    -------
    frame : DataFrame
        Long, sorted by series and date: ``series``, ``date``, ``region`` and ``size`` (static),
        ``price`` and ``promo`` (known ahead), ``weather`` and ``humidity`` (observed), ``sales``.
    truth : PanelTruth
        Only with ``return_truth=True``.

    Examples
    --------
    >>> frame, truth = make_panel(n_series=3, n_steps=100, return_truth=True)
    >>> list(frame.columns)
    ['series', 'date', 'region', 'size', 'price', 'promo', 'weather', 'humidity', 'sales']
    >>> bool(np.allclose(truth.components.sum(axis=1), frame["sales"]))
    True
    >>> truth.effects.loc[truth.effects["role"] == "observed", ["variable", "lag"]]
       variable   lag
    7   weather     3
    8  humidity  <NA>
    """
    n_series = _whole("n_series", n_series, minimum=1)
    weather_lag = _whole("weather_lag", weather_lag, minimum=1)
    n_steps = _whole("n_steps", n_steps, minimum=2)
    if n_steps <= weather_lag:
        raise ValueError(
            f"n_steps: expected more than weather_lag={weather_lag}, got {n_steps}: "
            "give more steps or a shorter lag."
        )
    sizes = {
        "trend": _number("trend", trend),
        "season_effect": _number("season_effect", season_effect, minimum=0.0),
        "price_effect": _number("price_effect", price_effect),
        "promo_effect": _number("promo_effect", promo_effect),
        "weather_effect": _number("weather_effect", weather_effect),
        "noise": _number("noise", noise, minimum=0.0),
    }
    missing = _number("missing", missing, minimum=0.0)
    if missing >= 1:
        raise ValueError(f"missing: expected a share in [0, 1), got {missing!r}.")
    usual_seasons = _default_seasons(freq)
    season_steps = usual_seasons if seasons is None else _checked_seasons(seasons)
    dates = _dates(start, n_steps, freq)

    # A stream for each part: changing one part must not redraw the others.
    streams = iter(_generator(random_state).spawn(5))
    static = _draw_static(next(streams), n_series)
    covariates = _draw_covariates(next(streams), n_series, n_steps, weather_lag)
    components = _components(
        level=static["level"],
        covariates=covariates,
        seasons=season_steps,
        sizes=sizes,
        rng=next(streams),
        noise_rng=next(streams),
    )
    target = np.sum(list(components.values()), axis=0)
    kept, blank = _draw_gaps(next(streams), n_series, n_steps, missing=missing, ragged=bool(ragged))

    series_row, step_row = np.nonzero(kept)
    width = max(2, len(str(n_series - 1)))
    names = pd.Index([f"store_{number:0{width}d}" for number in range(n_series)])
    frame = pd.DataFrame(
        {
            "series": names.take(series_row),
            "date": dates.take(step_row),
            "region": pd.Index(_REGIONS).take(static["region"][series_row]),
            "size": static["size"][series_row],
            "price": covariates["price"][kept],
            "promo": covariates["promo"][kept].astype(np.int64),
            "weather": covariates["weather"][:, weather_lag:][kept],
            "humidity": covariates["humidity"][:, weather_lag:][kept],
            "sales": np.where(blank, np.nan, target)[kept],
        }
    )
    if not return_truth:
        return frame
    return frame, PanelTruth(
        effects=_effects(components, target, weather_lag),
        seasons=season_steps,
        noise_std=pd.Series(sizes["noise"] * static["level"], index=names, name="noise_std"),
        components=pd.DataFrame({name: part[kept] for name, part in components.items()}),
        weather_std=pd.Series(
            abs(sizes["weather_effect"]) * static["level"], index=names, name="weather_std"
        ),
        weather_persistence=_WEATHER_PERSISTENCE,
        weather_lag=weather_lag,
    )


def _draw_static(rng: np.random.Generator, n_series: int) -> dict[str, npt.NDArray]:
    """Region codes, sizes and the level that both set, each (S,)."""
    # Every region before any region again, so that small panels have more than one.
    region = rng.permuted(np.arange(n_series) % len(_REGIONS))
    size = rng.uniform(_SMALLEST_SIZE, _LARGEST_SIZE, n_series).round(1)
    return {"region": region, "size": size, "level": _REGION_LEVELS[region] * size}


def _draw_covariates(
    rng: np.random.Generator, n_series: int, n_steps: int, weather_lag: int
) -> dict[str, npt.NDArray]:
    """Price and promo (S, T); weather and humidity (S, lag + T), begun a lag before the panel."""
    price_rng, promo_rng, weather_rng, humidity_rng = rng.spawn(4)
    shape = (n_series, n_steps)

    changes = price_rng.random(shape) < _PRICE_CHANGE_RATE
    offers = price_rng.uniform(1 - _PRICE_SPREAD, 1 + _PRICE_SPREAD, shape)
    price = np.take_along_axis(offers, np.cumsum(changes, axis=1) - changes[:, :1], axis=1)

    starts = promo_rng.random((n_series, n_steps + _PROMO_STEPS)) < _PROMO_START_RATE
    begun = np.cumsum(starts, axis=1)
    promo = begun[:, _PROMO_STEPS:] > begun[:, :-_PROMO_STEPS]

    long_shape = (n_series, n_steps + weather_lag)
    weather = _autoregression(weather_rng.standard_normal(long_shape))
    own = _autoregression(humidity_rng.standard_normal(long_shape))
    return {
        "price": (_USUAL_PRICE * price).round(2),
        "promo": promo,
        "weather": weather,
        "humidity": _HUMIDITY_CORRELATION * weather + math.sqrt(1 - _HUMIDITY_CORRELATION**2) * own,
    }


def _autoregression(shocks: _Floats) -> _Floats:
    """Stationary first-order autoregression of unit variance, along the last axis.

    ``x[t] = r x[t-1] + sqrt(1 - r^2) e[t]``, summed over windows that double, so that time needs
    a handful of array operations instead of one for each step.
    """
    process = math.sqrt(1 - _WEATHER_PERSISTENCE**2) * shocks
    process[..., 0] = shocks[..., 0]
    reach, weight = 1, _WEATHER_PERSISTENCE
    while reach < process.shape[-1] and weight > np.finfo(np.float64).tiny:
        process[..., reach:] += weight * process[..., :-reach].copy()
        reach, weight = 2 * reach, weight**2
    return process


def _components(
    *,
    level: _Floats,
    covariates: dict[str, npt.NDArray],
    seasons: tuple[float, ...],
    sizes: dict[str, float],
    rng: np.random.Generator,
    noise_rng: np.random.Generator,
) -> dict[str, _Floats]:
    """The additive parts of the target, each (S, T), in target units."""
    price, promo = covariates["price"], covariates["promo"]
    n_series, n_steps = price.shape
    slopes = sizes["trend"] * rng.uniform(-1, 1, (n_series, 1))
    shares = {"level": np.ones((n_series, n_steps)), "trend": slopes * np.linspace(0, 1, n_steps)}
    for season, season_rng in zip(seasons, rng.spawn(len(seasons))):
        pattern = _season(season_rng, n_series, n_steps, season)
        shares[_season_name(season)] = sizes["season_effect"] * pattern
    shares["price"] = sizes["price_effect"] * (price / _USUAL_PRICE - 1)
    shares["promo"] = sizes["promo_effect"] * promo
    shares["weather"] = sizes["weather_effect"] * covariates["weather"][:, :n_steps]
    shares["noise"] = sizes["noise"] * noise_rng.standard_normal((n_series, n_steps))
    return {name: level[:, None] * share for name, share in shares.items()}


def _season(rng: np.random.Generator, n_series: int, n_steps: int, season: float) -> _Floats:
    """A pattern (S, T) of two harmonics with variance near 1: one shape, a size for each series."""
    harmonics = np.arange(1, 3)[: max(1, math.ceil(season / 2) - 1)]
    weights = 0.5 ** (harmonics - 1)
    phases = rng.uniform(0, 2 * np.pi, len(harmonics))
    angles = 2 * np.pi * harmonics * np.arange(n_steps)[:, None] / season + phases
    shape = np.cos(angles) @ weights * math.sqrt(2 / np.sum(weights**2))
    return rng.uniform(0.8, 1.2, (n_series, 1)) * shape


def _draw_gaps(
    rng: np.random.Generator, n_series: int, n_steps: int, *, missing: float, ragged: bool
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which rows are kept and which of them have no target, both (S, T)."""
    edge_rng, row_rng, target_rng = rng.spawn(3)
    first = np.zeros((n_series, 1), np.int64)
    last = np.full((n_series, 1), n_steps - 1)
    if ragged:
        first += edge_rng.integers(0, int(_LARGEST_LATE_START * n_steps) + 1, (n_series, 1))
        last -= edge_rng.integers(0, int(_LARGEST_EARLY_END * n_steps) + 1, (n_series, 1))
    step = np.arange(n_steps)
    inside = (step >= first) & (step <= last)
    edge = (step == first) | (step == last)
    kept = inside & (edge | (row_rng.random(inside.shape) >= missing))
    blank = kept & ~edge & (target_rng.random(inside.shape) < missing / 2)
    return kept, blank


def _effects(components: dict[str, _Floats], target: _Floats, weather_lag: int) -> pd.DataFrame:
    """The table of causes, with the columns that cause nothing among them."""
    roles = {
        "price": ("known", 0),
        "promo": ("known", 0),
        "weather": ("observed", weather_lag),
        "noise": ("noise", None),
    }
    deviation = target - target.mean(axis=1, keepdims=True)
    variance = np.mean(deviation**2, axis=1)
    varies = variance > 0
    rows: list[tuple[str, str, int | None, float]] = [
        ("region", "static", None, 0.0),
        ("size", "static", None, 0.0),
    ]
    for name, part in components.items():
        if name == "level":
            continue
        role, lag = roles.get(name, ("time", None))
        covariance = np.mean(part * deviation, axis=1)
        share = float(np.mean(covariance[varies] / variance[varies])) if varies.any() else 0.0
        rows.append((name, role, lag, share))
        if name == "weather":
            rows.append(("humidity", "observed", None, 0.0))
    effects = pd.DataFrame(rows, columns=["variable", "role", "lag", "share"])
    return effects.astype({"lag": "Int64"})


def _default_seasons(freq: str) -> tuple[float, ...]:
    frequency = parse_frequency(freq)
    steps = [float(units / frequency.multiple) for units in _UNIT_SEASONS[frequency.unit]]
    return tuple(season for season in steps if season >= _SHORTEST_SEASON)


def _checked_seasons(seasons: Iterable[float]) -> tuple[float, ...]:
    if isinstance(seasons, str) or not isinstance(seasons, Iterable):
        raise TypeError(f"seasons: expected a list of numbers of steps, got {seasons!r}.")
    steps = tuple(_number("seasons", season, minimum=_SHORTEST_SEASON) for season in seasons)
    if len({_season_name(season) for season in steps}) < len(steps):
        raise ValueError(f"seasons: expected each season once, got {steps}.")
    return steps


def _season_name(season: float) -> str:
    return f"season_{season:g}"


def _dates(start: str | pd.Timestamp, n_steps: int, freq: str) -> pd.DatetimeIndex:
    try:
        return pd.date_range(start, periods=n_steps, freq=freq)
    except (ValueError, TypeError, OverflowError) as error:
        raise ValueError(
            f"start: cannot lay {n_steps} steps of freq={freq!r} from {start!r}: {error}"
        ) from None


def _generator(random_state: int | np.random.Generator | None) -> np.random.Generator:
    if isinstance(random_state, np.random.Generator):
        return random_state
    if random_state is None:
        return np.random.default_rng()
    return np.random.default_rng(_whole("random_state", random_state, minimum=0))


def _whole(name: str, value: object, *, minimum: int) -> int:
    if isinstance(value, bool) or not isinstance(value, numbers.Integral):
        raise TypeError(f"{name}: expected a whole number, got {value!r}.")
    if value < minimum:
        raise ValueError(f"{name}: expected at least {minimum}, got {value}.")
    return int(value)


def _number(name: str, value: object, *, minimum: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name}: expected a number, got {value!r}.")
    if not math.isfinite(value) or value < minimum:
        bound = "" if minimum == -math.inf else f" of at least {minimum:g}"
        raise ValueError(f"{name}: expected a finite number{bound}, got {value!r}.")
    return float(value)
