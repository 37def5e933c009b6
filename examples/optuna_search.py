"""A search by Optuna that stops bad trials early.

    pip install optuna
    python examples/optuna_search.py [--trials 12] [--epochs 6] [--journal FILE]

After each epoch a Keras callback reports the loss on the validation tail, and Optuna prunes a trial
that is worse than the median of the others at that epoch. `fit` passes the exception on and leaves
the estimator as it was. The best trial is fitted again and forecasts days that no trial has seen.

With a journal, as many processes as you start search together, each for so many trials, on one
machine or on several that share the file; a search that was stopped goes on when started again.
"""

from __future__ import annotations

import argparse
from typing import Any

import keras
import optuna
import pandas as pd

from tsfusion import FusionForecaster
from tsfusion.data import make_panel

HORIZON = 14
COLUMNS = {"time": "date", "series": "series", "target": "sales", "known": ["price", "promo"]}


class PruneByValidationLoss(keras.callbacks.Callback):
    """Tells a trial each epoch's ``val_loss``, and ends the fit where the trial is pruned."""

    def __init__(self, trial: optuna.Trial) -> None:
        super().__init__()
        self.trial = trial

    def on_epoch_end(self, epoch: int, logs: dict[str, Any] | None = None) -> None:
        loss = (logs or {}).get("val_loss")
        if loss is None:
            raise ValueError(
                "expected a validation loss, received none: pass validation_size > 0 and enough "
                "history for a validation tail."
            )
        self.trial.report(loss, epoch)
        if self.trial.should_prune():
            raise optuna.TrialPruned(f"val_loss {loss:.4f} after epoch {epoch + 1}")


def make(parameters: dict[str, Any], epochs: int, steps: int, **options: Any) -> FusionForecaster:
    return FusionForecaster(
        HORIZON, **COLUMNS, **parameters, max_epochs=epochs, steps_per_epoch=steps, verbose=0,
        random_state=0, **options,
    )  # fmt: skip


def search(
    history: pd.DataFrame, trials: int, epochs: int, steps: int, journal: str | None = None
) -> optuna.Study:
    """Return a study of the lowest validation loss of each trial."""

    def objective(trial: optuna.Trial) -> float:
        parameters = {
            "hidden_size": trial.suggest_categorical("hidden_size", [8, 16, 32]),
            "dropout": trial.suggest_float("dropout", 0.0, 0.4),
            "learning_rate": trial.suggest_float("learning_rate", 3e-4, 3e-2, log=True),
        }
        model = make(parameters, epochs, steps, callbacks=[PruneByValidationLoss(trial)])
        return min(model.fit(history).history_["val_loss"])

    storage = None
    if journal is not None:
        backend = optuna.storages.journal.JournalFileBackend(journal)
        storage = optuna.storages.JournalStorage(backend)
    study = optuna.create_study(
        storage=storage,
        study_name="tsfusion",
        load_if_exists=True,
        # Processes of one seed would try the same.
        sampler=optuna.samplers.TPESampler(seed=None if journal else 0),
        pruner=optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1),
    )
    study.optimize(objective, n_trials=trials)
    return study


def main(arguments: list[str] | None = None) -> optuna.Study:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=12)
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=30, help="batches of an epoch")
    parser.add_argument("--journal", help="a file that processes share")
    asked = parser.parse_args(arguments)
    sales = make_panel(n_series=5, n_steps=365)
    last = sales["date"] > sales["date"].max() - pd.Timedelta(days=HORIZON)
    history = sales.loc[~last, ["series", "date", "sales", "price", "promo"]]
    study = search(history, asked.trials, asked.epochs, asked.steps, asked.journal)
    pruned = [trial for trial in study.trials if trial.state == optuna.trial.TrialState.PRUNED]
    print(f"{len(study.trials)} trials, {len(pruned)} of them pruned")
    print(f"best: val_loss {study.best_value:.4f} with {study.best_params}")

    best = make(study.best_params, asked.epochs, asked.steps).fit(history)
    forecast = best.predict(sales[last].drop(columns="sales"))
    print(f"on the {HORIZON} days after: {abs(forecast - sales['sales'][last]).mean():.2f}")
    return study


if __name__ == "__main__":
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    main()
