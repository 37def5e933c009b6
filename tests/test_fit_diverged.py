"""A training that diverges, and row weights that would make it: said, never silent."""

import warnings

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from tests.conftest import ROLES, SMALL, small_panel
from tsfusion import FusionForecaster
from tsfusion.learning import _check_converged
from tsfusion.training.fit import Run

pytestmark = pytest.mark.usefixtures("eager")


def make(**changes):
    return FusionForecaster(**{"horizon": 3, "context_length": 9, **ROLES, **SMALL, **changes})


def test_a_fit_that_diverges_leaves_the_estimator_as_it_was():
    table = small_panel(n_steps=40)
    model = make().fit(table)
    before = [weight.copy() for weight in model.model_.get_weights()]
    with pytest.raises(ValueError, match="Training diverged: .* Take a smaller learning_rate="):
        model.set_params(learning_rate=1e30, max_epochs=2).fit(table)
    for now, then in zip(model.model_.get_weights(), before, strict=True):
        np.testing.assert_array_equal(now, then)


def test_good_weights_of_before_are_kept_with_a_warning():
    good = [np.ones(3, np.float32)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _check_converged([Run(good, {"loss": [2.0, 1.0]})])
    with pytest.warns(ConvergenceWarning, match="the loss of epoch 2 is nan"):
        _check_converged([Run(good, {"loss": [2.0, np.nan]})])
    with pytest.raises(ValueError, match="the loss of epoch 1 is inf"):
        _check_converged([Run(good, {"loss": [np.inf]})])
    with pytest.raises(ValueError, match="weights are not finite"):
        _check_converged([Run([good[0] * np.nan], {"loss": [1.0]})])


@pytest.mark.parametrize("weight", [1e31, 1e39, 1e-31, np.inf, -1.0])
def test_weights_that_float32_cannot_sum_are_refused(weight):
    table = small_panel(n_steps=40).assign(w=1.0)
    table.loc[5, "w"] = weight
    with pytest.raises(ValueError, match=r"row 5 holds .* from 1e-30 to 1e\+30\."):
        make(weight="w").fit(table)


def test_the_largest_weights_allowed_train():
    model = make(weight="w").fit(small_panel(n_steps=40).assign(w=1e30))
    assert np.isfinite(model.history_["loss"]).all()
