"""What `FusionForecaster.fit` does between its checks and its new state, step by step.

From a table to encoded rows and windows, from these to trained networks; Keras is imported when it
is first needed.
"""

from __future__ import annotations

import contextlib
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from tsfusion.data.calendar import default_context_length
from tsfusion.data.encoder import PanelEncoder, Rows
from tsfusion.data.outliers import warn_of_far_values
from tsfusion.data.panel import CalendarCodes, Panel, Units
from tsfusion.data.scaling import TargetScaler
from tsfusion.data.time_features import holiday_calendar
from tsfusion.data.windows import boundary_rows, training_windows, validation_windows
from tsfusion.exceptions import DataWarning
from tsfusion.prediction import UNBOUNDED, Fitted

if TYPE_CHECKING:
    from tsfusion.forecaster import FusionForecaster

__all__ = [
    "Learned",
    "bounds_of",
    "calibrating",
    "check_parts_of_keras",
    "check_same_network",
    "check_same_shape",
    "check_windows",
    "check_within",
    "checkpoint_of",
    "context_of",
    "encode",
    "learn",
    "train_members",
    "validation_losses",
]  # fmt: skip


@dataclass(frozen=True)
class Learned:
    """What a fit learned from its rows before it trains, and the windows to train on."""

    fitted: Fitted
    rows: Rows
    panel: Panel
    training: Any
    validation: Any
    # Where a fit on files reads its training windows; the panel then holds some of them.
    source: Any = None

    @classmethod
    def of(cls, fitted: Fitted, rows: Rows, panel: Panel) -> Learned:
        """Find the windows."""
        shape = {"context_length": fitted.context_length, "horizon": fitted.horizon}
        boundary = fitted.encoder.boundary
        training = training_windows(panel, boundary, **shape)
        return cls(fitted, rows, panel, training, validation_windows(panel, boundary, **shape))


def learn(
    forecaster: FusionForecaster,
    frame: pd.DataFrame,
    y: Any,
    roles: Any,
    levels: tuple,
    again: bool,
) -> Learned:
    """Encode the data; without enough rows for a validation tail, do without one."""

    def encoded(validation_size: float) -> Learned:
        if again:
            return _encode_again(forecaster, frame, y, validation_size)
        return encode(forecaster, frame, y, roles, levels, validation_size)

    learned = encoded(float(forecaster.validation_size))
    encoder, rows, too_few = learned.fitted.encoder, learned.rows, len(learned.training) == 0
    train = encoder.in_training(rows.ordinal)
    if weightless(rows, train):
        raise no_weight(encoder.roles.weight)
    if encoder.boundary is not None and (too_few or weightless(rows, ~train)):
        if not too_few:
            warn_of_weightless_tail(encoder.roles.weight)
        learned = encoded(0.0)
    if len(learned.training) == 0:
        known = int(np.isfinite(learned.rows.target).sum())
        few = f" Found array with {len(frame)} sample(s), a minimum of 2 is required."
        raise ValueError(
            f"No window to train on: of {len(frame)} rows {known} have a known target. "
            f"Expected at least one series with two of them.{few if len(frame) < 2 else ''}"
        )
    _warn_of_unknown_series(learned.rows)
    return learned


def weightless(rows: Rows, chosen: np.ndarray) -> bool:
    """Return whether some rows have known targets, all of weight zero."""
    known = rows.weight[chosen][np.isfinite(rows.target[chosen])]
    return len(known) > 0 and not known.any()


def warn_of_weightless_tail(name: Any) -> None:
    """Say that there is no validation tail, for its rows have no weight."""
    warnings.warn(
        f"Weight column {name!r}: all rows of the validation tail have the weight 0, so that they "
        "cannot judge a fit. All rows are trained on, for all epochs, as with validation_size=0.",
        DataWarning,
        stacklevel=4,
    )


def no_weight(name: Any) -> ValueError:
    """Return the error of rows that weigh nothing."""
    return ValueError(
        f"Weight column {name!r}: expected a number above 0 in some training row with a known "
        "target, received 0 in all: nothing would be learned."
    )


def _warn_of_unknown_series(rows: Rows) -> None:
    """Warn of series that teach nothing: a mistake of a join, more often than not."""
    known = np.bincount(rows.series, np.isfinite(rows.target), len(rows.labels))
    unknown = np.flatnonzero(known == 0)
    if len(unknown):
        warnings.warn(
            f"{len(unknown)} of {len(known)} series have no known target, the first is "
            f"{rows.labels[unknown[0]]!r}: nothing is learned of them, and forecast() has nothing "
            "to go on from. Leave them out, or see how their target came to be missing.",
            DataWarning,
            stacklevel=3,
        )


def encode(
    forecaster: FusionForecaster,
    frame: pd.DataFrame,
    y: Any,
    roles: Any,
    levels: tuple,
    validation_size: float,
) -> Learned:
    """Learn encoders, units and windows from a table."""
    encoder = PanelEncoder(
        roles, forecaster.freq, scaler=forecaster.scaler, max_categories=forecaster.max_categories
    )
    rows = encoder.fit(frame, y, validation_size=validation_size, horizon=forecaster.horizon)
    train = slice(None) if encoder.boundary is None else rows.ordinal < encoder.boundary
    of_target = np.isfinite(rows.target[train])
    warn_of_far_values(
        encoder.roles.target,
        rows.target[train][of_target],
        rows.series[train][of_target],
        rows.labels,
    )
    bounds = bounds_of(forecaster)
    check_within(rows, bounds)
    transform = forecaster.target_transform
    fitted = Fitted(
        encoder=encoder,
        calendar=CalendarCodes.learn(
            encoder.timeline,
            rows.ordinal[train],
            rows,
            rows.series[train],
            functions=forecaster.time_features,
            holidays=holiday_calendar(forecaster.holidays, encoder),
        ),
        units=Units.learn(
            rows,
            encoder.boundary,
            TargetScaler(transform) if isinstance(transform, str) else transform,
        ),
        context_length=0,
        horizon=int(forecaster.horizon),
        levels=levels,
        bounds=bounds,
    )
    panel = fitted.panel(rows)
    fitted = replace(fitted, context_length=context_of(forecaster, encoder, panel.lengths))
    return Learned.of(fitted, rows, panel)


def _encode_again(
    forecaster: FusionForecaster, frame: pd.DataFrame, y: Any, validation_size: float
) -> Learned:
    """Read more data as the present encoder does: the network knows its codes and units."""
    encoder, rows = forecaster._fitted.encoder.read_training(
        frame,
        y,
        validation_size=validation_size,
        horizon=forecaster._fitted.horizon,
        memory=forecaster._memory,
    )
    fitted = replace(forecaster._fitted, encoder=encoder, bounds=bounds_of(forecaster))
    check_within(rows, fitted.bounds)
    fitted.check_history(rows)
    return Learned.of(fitted, rows, fitted.panel(rows))


def check_same_shape(forecaster: FusionForecaster, roles: Any, levels: tuple) -> None:
    """Raise if a warm start could not go on with the present network."""
    before = forecaster._fitted
    for name, was, now in (
        ("quantiles", before.levels, levels),
        ("horizon", before.horizon, int(forecaster.horizon)),
        *((f"the {role} columns", getattr(before.encoder.roles, role), getattr(roles, role))
          for role in ("known", "observed", "static")),
    ):  # fmt: skip
        if was != now:
            raise ValueError(
                f"warm_start: {name} changed from {was} to {now} since the last fit, and the "
                "network cannot go on. Set warm_start=False to begin anew."
            )


def bounds_of(forecaster: FusionForecaster) -> tuple[float, float]:
    """Return the least and the greatest value of the target; infinite where there is none."""
    given = forecaster.target_bounds
    if given is None:
        return UNBOUNDED
    pair = tuple(given) if isinstance(given, (tuple, list)) else ()
    numbers = all(
        one is None or (isinstance(one, Real) and not isinstance(one, bool)) for one in pair
    )
    if len(pair) == 2 and numbers:
        least = -math.inf if pair[0] is None else float(pair[0])
        most = math.inf if pair[1] is None else float(pair[1])
        if least < most:
            return least, most
    raise ValueError(
        "target_bounds: expected a pair of the least and the greatest value, the first below the "
        f"second and None where there is none, such as (0, None), received {given!r}."
    )


def check_within(rows: Rows, bounds: tuple[float, float], first: int = 0) -> None:
    """Raise if a target lies outside the bounds; rows are numbered as in the table."""
    outside = np.flatnonzero((rows.target < bounds[0]) | (rows.target > bounds[1]))
    if len(outside):
        at = outside[rows.row[outside].argmin()]
        raise ValueError(
            f"target_bounds: expected targets from {bounds[0]:g} to {bounds[1]:g}, found "
            f"{rows.target[at]:.12g} in row {first + rows.row[at]}, series "
            f"{rows.labels[rows.series[at]]!r} ({len(outside)} such rows). Mend them, or widen the "
            "bounds."
        )


def check_windows(forecaster: FusionForecaster) -> None:
    """Raise unless the lengths asked for go together."""
    asked = (forecaster.context_length, forecaster.long_window)
    seen = {int(steps) for steps in asked if steps is not None}
    if len(seen) > 1:
        raise ValueError(
            "context_length and long_window are two names for one thing: expected one of them, "
            f"received {forecaster.context_length} and {forecaster.long_window}."
        )
    if seen and forecaster.short_window is not None and forecaster.short_window > min(seen):
        raise ValueError(
            f"short_window: expected at most the {min(seen)} steps seen in all, received "
            f"{forecaster.short_window}."
        )


def context_of(forecaster: FusionForecaster, encoder: PanelEncoder, lengths: np.ndarray) -> int:
    """Choose how much of the past to see: no more than the longest series can fill."""
    for asked in (forecaster.context_length, forecaster.long_window):
        if asked is not None:
            return int(asked)
    timeline = encoder.timeline
    freq = timeline.freq if timeline.is_datetime and timeline.kind != "rows" else None
    longest = int(lengths.max())
    return max(1, min(default_context_length(freq, forecaster.horizon), longest - 1))


def checkpoint_of(
    forecaster: FusionForecaster,
    learned: Learned,
    architecture: dict,
    weights: list[np.ndarray] | None,
) -> Any:
    """Return the checkpoint to go on from and to write, not yet open, or None."""
    if forecaster.checkpoint_dir is None:
        return contextlib.nullcontext()
    import keras

    from tsfusion.training.checkpoint import Checkpoint, describe, digest

    plan, random = _plan(forecaster, learned.fitted), forecaster.random_state
    if isinstance(random, np.random.RandomState):
        random = digest([np.asarray(part) for part in tuple(random.get_state())[1:]])
    # What trains the network, and not how the user said it: any other way to the same is fine.
    names = set(forecaster._get_param_names()) & set(architecture["network"])
    fit = {
        "backend": keras.backend.backend(),
        "n_estimators": architecture["members"],
        **{name: architecture["network"][name] for name in sorted(names)},
        **{
            field.name: describe(getattr(plan, field.name))
            for field in fields(plan)
            if field.name not in ("callbacks", "levels", "verbose")
        },
        "random_state": random if random is None else str(random),
        "data": digest(
            learned.panel,
            learned.training,
            learned.validation,
            boundary_rows(learned.panel, learned.fitted.encoder.boundary),
            architecture,
            *([] if learned.source is None else learned.source.content()),
        ),
        "weights": None if weights is None else digest(weights),
    }
    return Checkpoint(forecaster.checkpoint_dir, fit)


def train_members(
    forecaster: FusionForecaster, learned: Learned, architecture: dict,
    weights: list[np.ndarray] | None, checkpoint: Any = None,
) -> tuple[Any, list[dict]]:  # fmt: skip
    """Train each member of the ensemble, from ``weights`` if given; return them as a model."""
    with _seeds(forecaster.random_state, int(forecaster.n_estimators)) as seeds:
        if checkpoint is not None:
            checkpoint.seeds = seeds = checkpoint.seeds or seeds
        return _train_from(forecaster, seeds, learned, architecture, weights, checkpoint)


def _train_from(
    forecaster: FusionForecaster, seeds: list[int], learned: Learned, architecture: dict,
    weights: list[np.ndarray] | None, checkpoint: Any,
) -> tuple[Any, list[dict]]:  # fmt: skip
    from tsfusion.models.factory import make_model
    from tsfusion.training.devices import distributed
    from tsfusion.training.fit import Start, seeded, train

    starts: list[Start] = []
    with distributed(forecaster.distribution, forecaster.random_state) as share:
        for seed in seeds:
            with seeded(seed):
                model = make_model({**architecture, "members": 1})
            if weights is not None:
                size = len(weights) // len(seeds)
                model.set_weights(weights[len(starts) * size : (len(starts) + 1) * size])
            starts.append(Start.of(model, seed))
        runs = train(
            model,
            learned.panel,
            learned.training,
            learned.validation,
            _plan(forecaster, learned.fitted),
            starts,
            stop=boundary_rows(learned.panel, learned.fitted.encoder.boundary),
            checkpoint=checkpoint,
            source=learned.source,
            share=share,
        )
    _check_converged(runs)
    # What was trained on several devices forecasts on one.
    if len(runs) > 1 or forecaster.distribution is not None:
        model = make_model(architecture)
        model.set_weights([weight for run in runs for weight in run.weights])
    return model, [run.history for run in runs]


def _check_converged(runs: list[Any]) -> None:
    """Raise if a network came to no weights that can forecast; warn if it lost good ones."""
    for run in runs:
        losses = np.asarray(run.history.get("loss", []), np.float64)
        lost = np.flatnonzero(~np.isfinite(losses))
        whole = all(np.isfinite(np.asarray(one, np.float32)).all() for one in run.weights)
        if whole and not len(lost):
            continue
        found = "weights are not finite"
        if len(lost):
            found = f"the loss of epoch {lost[0] + 1} is {losses[lost[0]]}"
        text = (
            f"Training diverged: {found}. Take a smaller learning_rate=, or see that loss=, "
            "optimizer= and callbacks= keep numbers finite."
        )
        if not whole or len(lost) == len(losses):
            raise ValueError(text)
        warnings.warn(
            f"{text} The weights that are kept are finite.",
            ConvergenceWarning,
            stacklevel=5,
        )


def validation_losses(
    forecaster: FusionForecaster, learned: Learned, histories: list[dict]
) -> dict[str, float]:
    """Return the best validation loss, beside that of naive forecasts on the same windows."""
    from tsfusion.training.fit import evenly
    from tsfusion.training.naive import naive_losses

    best = [min(history.get("val_loss", [np.nan])) for history in histories]
    if forecaster.loss is not None or not np.isfinite(best).all():
        return {}
    fitted = learned.fitted
    naive = naive_losses(
        learned.panel,
        learned.training,
        evenly(learned.validation)[0],
        levels=fitted.levels,
        season=fitted.encoder.timeline.season,
        context_length=fitted.context_length,
        horizon=fitted.horizon,
        stop=boundary_rows(learned.panel, fitted.encoder.boundary),
    )
    return {"network": float(np.mean(best)), **naive} if naive else {}


def calibrating(forecaster: FusionForecaster) -> dict[str, Any] | None:
    """Return the arguments of `calibrate` at the end of fit, or None."""
    if forecaster.calibration is None:
        return None
    from tsfusion.uncertainty.calibration import OPTIONS, check_options

    given = forecaster.calibration
    options = dict(given) if isinstance(given, dict) else {"method": given}
    unknown = [name for name in options if name not in OPTIONS]
    if unknown:
        raise ValueError(
            f"calibration: expected a dict of {', '.join(OPTIONS)}, received {unknown[0]!r}."
        )
    check_options(**options)
    return options


def check_parts_of_keras(forecaster: FusionForecaster) -> None:
    """Raise unless optimizer, loss and callbacks are what Keras takes for such."""
    given = forecaster.optimizer, forecaster.loss, forecaster.callbacks
    if given != (None, None, None):
        from tsfusion.training.fit import check_keras_objects

        check_keras_objects(*given)


def _plan(forecaster: FusionForecaster, fitted: Fitted) -> Any:
    from tsfusion.training.fit import TrainingPlan

    return TrainingPlan(
        architecture=forecaster.architecture,
        hidden_size=int(forecaster.hidden_size),
        context_length=fitted.context_length,
        horizon=fitted.horizon,
        levels=fitted.levels,
        max_epochs=int(forecaster.max_epochs),
        steps_per_epoch=forecaster.steps_per_epoch,
        batch_size=int(forecaster.batch_size),
        learning_rate=float(forecaster.learning_rate),
        patience=int(forecaster.patience),
        optimizer=forecaster.optimizer,
        loss=forecaster.loss,
        callbacks=forecaster.callbacks,
        jit_compile=forecaster.jit_compile,
        averaging=float(forecaster.averaging),
        verbose=int(forecaster.verbose),
    )


@contextlib.contextmanager
def _seeds(random_state: Any, count: int) -> Iterator[list[int]]:
    """Draw seeds; a generator of the user's is put back if what they are for fails."""
    # The global state that None stands for elsewhere is one for all threads, and equal in forks.
    fresh = np.random.RandomState() if random_state is None else random_state
    random = check_random_state(fresh)
    before = random.get_state()
    try:
        yield [int(seed) for seed in random.randint(2**31 - 1, size=count)]
    except BaseException:
        random.set_state(before)
        raise


def check_same_network(now: dict[str, Any], before: dict[str, Any]) -> None:
    """Raise if a warm start asks for another network than the present one."""
    flat = [{**given, **given["network"]} for given in (before, now)]
    # Dropout has no weights: it may change.
    changed = [
        name for name in flat[1] if name not in ("network", "dropout")
        and flat[0].get(name) != flat[1][name]
    ]  # fmt: skip
    if changed:
        name = changed[0]
        raise ValueError(
            f"warm_start: {name} changed from {flat[0].get(name)} to {flat[1][name]} since the "
            "last fit, and the network cannot go on. Set warm_start=False to begin anew."
        )
