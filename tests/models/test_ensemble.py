"""An ensemble is the mean of its members, in its quantiles as in its attention."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.models.test_fusion_transformer import FULL, make, run, windows
from tsfusion.models.ensemble import Ensemble

pytestmark = pytest.mark.backends


@pytest.fixture
def members():
    return [make(FULL, seed=seed, name=f"member_{seed}") for seed in (1, 2, 3)]


@pytest.mark.heavy
def test_quantiles_and_weights_are_averaged(members):
    inputs = windows(FULL)
    model = Ensemble(members)
    found = run(model, inputs, return_attention=True)
    apart = [run(member, inputs, return_attention=True) for member in members]
    for name, value in found.items():
        mean = np.mean([one[name] for one in apart], axis=0)
        np.testing.assert_allclose(value, mean, atol=1e-5, err_msg=name)
    np.testing.assert_allclose(run(model, inputs), found["quantiles"], atol=1e-6)
    assert (np.diff(found["quantiles"], axis=-1) >= 0).all()
    short = found["short_attention"].sum(axis=-1)
    np.testing.assert_allclose(short, np.ones_like(short), atol=1e-5)
    np.testing.assert_array_equal(model.token_spans(), members[0].token_spans())


@pytest.mark.heavy
def test_a_saved_ensemble_comes_back(members, tmp_path):
    model = Ensemble(members)
    model.build()
    inputs = windows(FULL)
    expected = run(model, inputs)
    model.save(tmp_path / "ensemble.keras")
    found = keras.models.load_model(tmp_path / "ensemble.keras")
    np.testing.assert_allclose(run(found, inputs), expected, atol=1e-6)
    assert len(found.weights) == 3 * len(members[0].weights)
    total = sum(int(np.prod(ops.shape(weight))) for weight in found.weights)
    assert total == 3 * sum(int(np.prod(ops.shape(weight))) for weight in members[0].weights)


def test_without_members_there_is_no_ensemble():
    with pytest.raises(ValueError, match="expected at least one member"):
        Ensemble([])
