"""Several estimators in one process, threads and processes: none disturbs another, none stays."""

import gc
import random
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import keras
import numpy as np
import pytest
from joblib import Parallel, delayed
from sklearn.base import clone

from tests.conftest import ROLES, SMALL, eagerly, small_panel
from tests.tiny import Wide
from tsfusion import FusionForecaster
from tsfusion.models.factory import NETWORKS

pytestmark = pytest.mark.usefixtures("eager")
on_every_backend = pytest.mark.backends


def make(**changes):
    parameters = {"horizon": 3, "context_length": 14, **ROLES, **SMALL, "dropout": 0.3}
    return FusionForecaster(**{**parameters, **changes})


@pytest.fixture(scope="module")
def table():
    return small_panel(n_series=2, n_steps=40)


def states():
    return random.getstate(), [str(part) for part in np.random.get_state()]  # noqa: NPY002


def same_weights(a, b):
    for one, other in zip(a.model_.get_weights(), b.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def at_once(*functions):
    """Call functions in threads of their own, all from the same moment; return what they return."""
    gate = threading.Barrier(len(functions))

    def call(function):
        gate.wait()
        return function()

    with ThreadPoolExecutor(len(functions)) as pool:
        return list(pool.map(call, functions))


@on_every_backend
def test_two_fits_in_threads_give_what_they_give_alone(table, monkeypatch):
    # JAX would compile the fusion network four times.
    if keras.backend.backend() == "jax":
        monkeypatch.setitem(NETWORKS, "fusion", Wide)
    models = [make(random_state=seed) for seed in (1, 2)]
    alone = [clone(model).fit(table) for model in models]
    together = at_once(*[lambda model=model: clone(model).fit(table) for model in models])
    for one, other in zip(alone, together, strict=True):
        same_weights(one, other)
        assert one.histories_ == other.histories_
        np.testing.assert_array_equal(one.predict(table[-5:]), other.predict(table[-5:]))


@on_every_backend
def test_threads_may_predict_with_one_estimator(tiny, table):
    model = make().fit(table)
    parts = [table[table["store"] == "s0"], table[table["store"] == "s1"], table[-7:], table[:30]]
    right = [model.predict(part) for part in parts]
    # Anew, so that the threads meet where Keras makes its function for predictions.
    again = make().fit(table)
    calls = [lambda part=part: [again.predict(part) for _ in range(3)] for part in parts]
    for expected, found in zip(right, at_once(*calls), strict=True):
        for one in found:
            np.testing.assert_allclose(one, expected, rtol=1e-6)


@pytest.mark.parametrize("random_state", [None, 0])
def test_no_global_random_state_is_changed(tiny, table, random_state):
    before = states()
    model = make(random_state=random_state, steps_per_epoch=1).fit(table)
    model.predict(table[-5:])
    model.predict(table[-5:], quantiles=[0.2])
    assert states() == before


def test_without_a_seed_every_fit_has_its_own(tiny, table):
    a, b = (make(random_state=None, steps_per_epoch=1).fit(table) for _ in range(2))
    assert (a.predict(table[-5:]) != b.predict(table[-5:])).any()


def _in_a_process(model, table):
    with eagerly(True), pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "fusion", Wide)
        return model.fit(table).predict(table[-5:])


@pytest.mark.slow
def test_joblib_fits_clones_in_processes(tiny, table):
    models = [make(random_state=seed) for seed in (1, 2)]
    found = Parallel(n_jobs=2)(delayed(_in_a_process)(clone(m), table) for m in models)
    for model, values in zip(models, found, strict=True):
        np.testing.assert_allclose(values, clone(model).fit(table).predict(table[-5:]), rtol=1e-5)


@on_every_backend
def test_no_network_outlives_its_estimator(tiny, table):
    alive = []
    for seed in range(2):
        model = make(random_state=seed, steps_per_epoch=1).fit(table)
        model.predict(table[-5:])
        alive += [weakref.ref(model.model_), weakref.ref(model.model_.optimizer)]
        alive.append(weakref.ref(model._memory))
        del model
    gc.collect()
    assert [reference() for reference in alive] == [None] * len(alive)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="others hold no generator")
def test_no_batches_outlive_a_fit(compiled, tiny, table):
    def left():
        gc.collect()
        return sum(type(one).__name__ == "TrainingBatches" for one in gc.get_objects())

    before = left()
    for _ in range(2):
        make().fit(table)
    assert left() == before
