"""The examples of other tools run, in tiny form."""

import pytest

from tests.tiny import Tiny
from tsfusion.models.factory import NETWORKS

pytestmark = [pytest.mark.backends, pytest.mark.heavy, pytest.mark.usefixtures("eager")]
SHORT = {"max_epochs": 1, "steps_per_epoch": 2, "context_length": 14, "jit_compile": False}


@pytest.fixture
def tiny(monkeypatch):
    monkeypatch.setitem(NETWORKS, "fusion", Tiny)


def test_optuna_prunes_trials(tiny):
    optuna = pytest.importorskip("optuna", reason="needs optuna")
    from examples.optuna_search import main

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = main(["--trials", "6", "--epochs", "3", "--steps", "3"])
    states = [trial.state for trial in study.trials]
    assert optuna.trial.TrialState.PRUNED in states
    assert optuna.trial.TrialState.FAIL not in states
    complete = study.get_trials(states=[optuna.trial.TrialState.COMPLETE])
    assert study.best_value == min(trial.value for trial in complete)
    assert all(len(trial.intermediate_values) == 3 for trial in complete)


def test_optuna_needs_a_validation_tail():
    optuna = pytest.importorskip("optuna", reason="needs optuna")
    from examples.optuna_search import PruneByValidationLoss

    trial = optuna.trial.FixedTrial({})
    with pytest.raises(ValueError, match="pass validation_size > 0"):
        PruneByValidationLoss(trial).on_epoch_end(0, {"loss": 1.0})


def test_a_nixtla_frame_needs_no_adapter(tiny):
    from examples.nixtla_frame import HORIZON, main

    table = main(**SHORT)
    assert list(table) == ["unique_id", "ds", "mean", "q0.1", "q0.5", "q0.9"]
    assert len(table) == 5 * HORIZON


def test_an_mlflow_model_says_what_the_forecaster_says(capsys):
    pytest.importorskip("mlflow.pyfunc", reason="needs mlflow")
    from examples.mlflow_model import main

    assert list(main(**SHORT, hidden_size=8)) == ["mean", "q0.1", "q0.5", "q0.9"]
    assert "the same as those of the forecaster itself: True" in capsys.readouterr().out
