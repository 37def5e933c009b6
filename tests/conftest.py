"""Settings and small data that several tests share."""

import contextlib
import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
import numpy as np
import pandas as pd
import pytest

# JAX compiles every operation of an eager call; the tests need its results, not its speed.
ON_JAX = {
    "KERAS_BACKEND": "jax",
    "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false",
}
if os.environ.get("KERAS_BACKEND") == "jax":
    os.environ.update({**ON_JAX, **os.environ})
# TensorFlow and PyTorch are quickest step by step, JAX compiled.
JIT = None if os.environ.get("KERAS_BACKEND") == "jax" else False

SMALL = {
    "hidden_size": 8, "num_heads": 2, "max_epochs": 1, "steps_per_epoch": 2, "batch_size": 16,
    "jit_compile": JIT, "verbose": 0, "random_state": 0,
}  # fmt: skip


def grid(values):
    """Values of a parametrisation: all of them, but on JAX, which compiles each: the first."""
    return list(values)[: 1 if os.environ.get("KERAS_BACKEND") == "jax" else None]


def small_panel(n_series=3, n_steps=60, seed=0, freq="D"):
    """A panel with a column of each role; short, and with something to learn in it."""
    rng = np.random.default_rng(seed)
    frames = []
    for s in range(n_series):
        price = rng.choice([1.0, 2.0], n_steps)
        weather = rng.normal(size=n_steps).cumsum() / 3
        day = np.arange(n_steps)
        frames.append(
            pd.DataFrame(
                {
                    "store": f"s{s}",
                    "date": pd.date_range("2024-01-01", periods=n_steps, freq=freq),
                    "sales": 10 * (s + 1) + np.sin(day * 2 * np.pi / 7) - price + weather
                    + rng.normal(scale=0.1, size=n_steps),
                    "price": price,
                    "event": rng.choice(["none", "fair"], n_steps),
                    "weather": weather,
                    "region": ["north", "south"][s % 2],
                    "size": float(s),
                }
            )
        )  # fmt: skip
    return pd.concat(frames, ignore_index=True)


ROLES = {
    "time": "date", "series": "store", "target": "sales", "known": ["price", "event"],
    "observed": ["weather"], "static": ["region", "size"],
}  # fmt: skip


@contextlib.contextmanager
def eagerly(on):
    """Run TensorFlow step by step, or compiled, and go back to how it ran before."""
    import keras

    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    before = tf.config.functions_run_eagerly()
    tf.config.run_functions_eagerly(on)
    yield
    tf.config.run_functions_eagerly(before)


@pytest.fixture(scope="module", autouse=True)
def _compiled_for_this_module():
    """Let go of what JAX compiled for the tests of a module: a whole run holds gigabytes of it."""
    yield
    if os.environ.get("KERAS_BACKEND") == "jax":
        import jax

        jax.clear_caches()


@pytest.fixture(scope="session")
def eager():
    """Do not trace: for a few steps of a network of this size, tracing takes longer."""
    with eagerly(True):
        yield


@pytest.fixture
def compiled(eager):
    """Compile after all, as users do."""
    with eagerly(False):
        yield


@pytest.fixture
def tiny(monkeypatch):
    """A network of one layer, for tests of what is around it: a fit takes a sixth of the time."""
    from tests.tiny import Wide
    from tsfusion.models.factory import NETWORKS

    monkeypatch.setitem(NETWORKS, "fusion", Wide)


@pytest.fixture(scope="module")
def tiniest():
    """`Tiny` for a whole module, for what its fixtures fit as well."""
    from tests.tiny import Tiny
    from tsfusion.models.factory import NETWORKS

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "fusion", Tiny)
        yield


@pytest.fixture(scope="session")
def panel():
    """Twelve weeks of three stores."""
    return small_panel()


@pytest.fixture(scope="session")
def fitted(panel, eager):
    """A forecaster fitted on all but the last seven days of `panel`; not to be changed."""
    from tsfusion import FusionForecaster

    history = panel[panel["date"] < panel["date"].max() - pd.Timedelta(days=6)]
    return FusionForecaster(horizon=7, context_length=21, **ROLES, **SMALL).fit(history)


@pytest.fixture(scope="session")
def history(panel):
    """The rows that `fitted` was fitted on."""
    return panel[panel["date"] < panel["date"].max() - pd.Timedelta(days=6)]


@pytest.fixture(scope="session")
def future(panel):
    """The seven days after `history`: time, series and known columns."""
    late = panel["date"] >= panel["date"].max() - pd.Timedelta(days=6)
    return panel.loc[late, ["store", "date", "price", "event"]]
