"""Every public layer, found by name, passes the shared check."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

import tsfusion.components
from tests.components import layer_check
from tests.components.cases import CASES
from tests.conftest import ON_JAX
from tests.models import test_fusion_transformer as fusion
from tests.models import test_temporal_fusion_transformer as temporal_fusion

pytestmark = pytest.mark.backends

every_case = pytest.mark.parametrize("case", CASES, ids=[case.id for case in CASES])
ROOT = Path(__file__).parents[2]


def test_every_public_layer_has_a_case() -> None:
    assert sorted(tsfusion.components.__all__) == sorted({case.layer for case in CASES})
    assert len({case.id for case in CASES}) == len(CASES)


@pytest.mark.parametrize("name", tsfusion.components.__all__)
def test_every_public_name_is_a_registered_layer(name: str) -> None:
    layer = getattr(tsfusion.components, name)
    assert issubclass(layer, keras.layers.Layer)
    assert keras.saving.get_registered_name(layer) == f"tsfusion>{name}"
    assert ">>>" in layer.__doc__


@every_case
def test_config(case: layer_check.Case) -> None:
    layer_check.check_config(case)


@every_case
def test_counts_and_shapes(case: layer_check.Case) -> None:
    layer_check.check_counts_and_shapes(case)


@every_case
def test_symbolic_equals_eager(case: layer_check.Case) -> None:
    layer_check.check_symbolic(case)


@every_case
def test_compiled_equals_eager(case: layer_check.Case) -> None:
    layer_check.check_compiled(case)


@every_case
def test_masks(case: layer_check.Case) -> None:
    layer_check.check_masks(case)


@every_case
def test_precision(case: layer_check.Case) -> None:
    layer_check.check_precision(case)


@every_case
def test_gradients(case: layer_check.Case) -> None:
    layer_check.check_gradients(case)


@every_case
def test_scores(case: layer_check.Case) -> None:
    layer_check.check_scores(case)


@pytest.mark.heavy
@every_case
def test_clone_and_pickle(case: layer_check.Case) -> None:
    layer_check.check_clone_and_pickle(case)


@every_case
def test_learner(case: layer_check.Case, tmp_path: Path) -> None:
    layer_check.check_learner(case, tmp_path)


@pytest.fixture(scope="module")
def saved_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    for case in CASES:
        model = layer_check.as_model(case, layer_check.make(case))
        given = layer_check.arrays(case)
        outputs = layer_check.numbers(model(given))
        model.save(folder / f"layer {case.id}.keras")
        np.savez(
            folder / f"layer {case.id}.npz",
            **{f"input {index:02d}": array for index, array in enumerate(given)},
            **{f"output {index:02d}": array for index, array in enumerate(outputs)},
        )
    for name, network in (("tft", temporal_fusion), ("fusion", fusion)):
        model = network.make(network.FULL)
        given = network.windows(network.FULL, unknown=True, masked=True)
        model.save(folder / f"model {name}.keras")
        np.savez(folder / f"model {name}.npz", **given, **{"output 00": network.run(model, given)})
    return folder


def reload_elsewhere(folder: Path, backend: str, tolerance: float) -> None:
    environment = {
        **os.environ,
        **(ON_JAX if backend == "jax" else {}),
        "KERAS_BACKEND": backend,
        "PYTHONPATH": str(ROOT),
    }
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/components/reload.py"), str(folder), str(tolerance)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["backend"] == backend
    assert answer["failures"] == {}


@pytest.mark.skipif(layer_check.BACKEND == "jax", reason="eager JAX would take a minute to save")
@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_models_load_in_a_fresh_process(saved_models: Path, backend: str) -> None:
    if layer_check.BACKEND != "tensorflow" and backend != "tensorflow":
        pytest.skip("the TensorFlow run loads on all three, the others load on TensorFlow")
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    reload_elsewhere(saved_models, backend, 1e-5)
