"""A fit that is stopped: by Ctrl-C, by an error, by a kill; and the checkpoint it goes on from."""

import json
import os
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from tests.conftest import ROLES, SMALL, small_panel
from tests.tiny import Tiny
from tsfusion import FusionForecaster
from tsfusion.exceptions import FileFormatError
from tsfusion.files.forecaster import _read_parameters
from tsfusion.models import FusionTransformer
from tsfusion.models.factory import NETWORKS
from tsfusion.training import checkpoint as module
from tsfusion.training.checkpoint import Checkpoint, describe

pytestmark = pytest.mark.usefixtures("eager", "tiniest")
on_every_backend = pytest.mark.backends

# Long enough for the best epoch to be one before the kill, and for each kind of state to matter.
LONG = {**SMALL, "max_epochs": 4, "steps_per_epoch": 1, "learning_rate": 0.02, "dropout": 0.3}


def make(**changes):
    return FusionForecaster(**{"horizon": 3, "context_length": 14, **ROLES, **LONG, **changes})


@pytest.fixture(scope="module")
def table():
    return small_panel(n_series=2, n_steps=40)


class At(keras.callbacks.Callback):
    """Does something at the first step of an epoch of the n-th network; both count from 0."""

    def __init__(self, action, epoch, network=0):
        super().__init__()
        self.action, self.epoch, self.network = action, epoch, network
        self.networks = -1

    def on_train_begin(self, logs=None):
        self.networks += 1

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.now, self.networks, batch) == (self.epoch, self.network, 0):
            self.action()


def interrupt():
    raise KeyboardInterrupt


def fail():
    raise RuntimeError("no.")


def kill():
    os.kill(os.getpid(), signal.SIGKILL)


def same_fit(a, b):
    assert a.histories_ == b.histories_
    for one, other in zip(a.model_.get_weights(), b.model_.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def interrupted(model, table, epoch, network=0):
    """Fit until it is interrupted; return the model without the callback."""
    with pytest.raises(KeyboardInterrupt):
        model.set_params(callbacks=At(interrupt, epoch, network)).fit(table)
    return model.set_params(callbacks=None)


# Ctrl-C and errors


@pytest.mark.parametrize(
    ("action", "error"), [(interrupt, KeyboardInterrupt), (fail, RuntimeError)]
)
def test_a_fresh_estimator_stays_fresh(table, action, error):
    model = make(callbacks=At(action, 1))
    before = dict(vars(model))
    with pytest.raises(error):
        model.fit(table)
    assert vars(model) == before
    with pytest.raises(NotFittedError):
        model.predict(table)
    same_fit(model.set_params(callbacks=None).fit(table), make().fit(table))


@on_every_backend
@pytest.mark.parametrize("warm_start", [False, True])
@pytest.mark.parametrize(
    ("action", "error"), [(interrupt, KeyboardInterrupt), (fail, RuntimeError)]
)
def test_a_fitted_estimator_stays_as_it_was(table, action, error, warm_start):
    model = make(max_epochs=1).fit(table)
    forecast, state = model.predict(table[-5:]), dict(vars(model))
    model.set_params(callbacks=At(action, 1), max_epochs=3, warm_start=warm_start)
    with pytest.raises(error):
        model.fit(table[table["store"] == "s0"])
    assert vars(model).keys() == state.keys()
    learned = [name for name in state if name[0] == "_" or name.endswith("_")]
    assert all(vars(model)[name] is state[name] for name in learned)
    np.testing.assert_array_equal(model.predict(table[-5:]), forecast)


def test_a_generator_of_seeds_is_put_back(table):
    random = np.random.RandomState(3)
    model = make(random_state=random, callbacks=At(fail, 0))
    before = random.get_state()[1].copy()
    with pytest.raises(RuntimeError):
        model.fit(table)
    np.testing.assert_array_equal(random.get_state()[1], before)


# Checkpoints


@on_every_backend
@pytest.mark.parametrize(
    "changes",
    [
        {"steps_per_epoch": 2},
        {"n_estimators": 2},
        {"validation_size": 0, "averaging": 0},
        {"optimizer": "rmsprop", "batch_size": 8},
        {"patience": 1, "learning_rate": 1.0},
    ],
    ids=["usual", "ensemble", "no validation", "optimizer", "early stopping"],
)
def test_goes_on_to_the_same_weights(table, tmp_path, changes):
    undisturbed = make(**changes).fit(table)
    network = changes.get("n_estimators", 1) - 1
    epoch = 1 if "patience" in changes else 2
    model = interrupted(make(**changes, checkpoint_dir=tmp_path), table, epoch, network)
    assert [path.name for path in tmp_path.iterdir()] == ["fit.checkpoint"]
    seen = []
    watch = keras.callbacks.LambdaCallback(on_epoch_begin=lambda epoch, logs: seen.append(epoch))
    same_fit(clone(model).set_params(callbacks=watch).fit(table), undisturbed)
    assert seen[0] == epoch
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_does_not_change_a_fit(table, tmp_path):
    same_fit(make(checkpoint_dir=str(tmp_path / "deep" / "in")).fit(table), make().fit(table))


def test_interrupted_again_and_again(table, tmp_path):
    model = make(checkpoint_dir=tmp_path)
    for epoch in (0, 1, 1):
        interrupted(model, table, epoch)
    same_fit(model.fit(table), make().fit(table))


def test_an_optimizer_and_a_loss_of_the_user(table, tmp_path):
    def parameters():
        schedule = keras.optimizers.schedules.ExponentialDecay(0.01, 2, 0.5)
        return {
            "optimizer": keras.optimizers.SGD(schedule, momentum=0.9, use_ema=True),
            "loss": lambda y, q: keras.ops.mean(keras.ops.abs(y - q), axis=-1),
        }

    model = interrupted(make(**parameters(), checkpoint_dir=tmp_path), table, 2)
    # The same code anew, as in another process.
    same_fit(model.set_params(**parameters()).fit(table), make(**parameters()).fit(table))


def test_a_warm_start(table, tmp_path):
    model = make(max_epochs=1, warm_start=True).fit(table)
    undisturbed = clone(model).fit(table).set_params(max_epochs=4).fit(table)
    model.set_params(max_epochs=4, checkpoint_dir=tmp_path)
    same_fit(interrupted(model, table, 2).fit(table), undisturbed)


@pytest.mark.parametrize("random_state", [None, np.random.RandomState(5)])
def test_drawn_seeds_are_those_of_the_checkpoint(table, tmp_path, random_state):
    model = make(checkpoint_dir=tmp_path, random_state=random_state)
    kept = []
    interrupted(model, table, 2)
    with Checkpoint(tmp_path, _fit_of(tmp_path)) as found:
        kept += found.seeds
        found.write()
        os.rename(found.path, tmp_path / "aside")
    os.rename(tmp_path / "aside", tmp_path / "fit.checkpoint")
    resumed = model.fit(table)
    seeds = iter(kept)

    class Given(np.random.RandomState):
        def randint(self, *args, size, **kwargs):
            return [next(seeds) for _ in range(size)]

    same_fit(resumed, make(random_state=Given()).fit(table))


def _fit_of(folder):
    with zipfile.ZipFile(folder / "fit.checkpoint") as archive:
        return json.loads(archive.read("manifest.json"))["fit"]


SCRIPT = """
import os, sys
import keras, numpy as np
from tests.test_fit_interrupted import NETWORKS, At, Tiny, kill, make, small_panel
from tests.conftest import eagerly

epoch, folder, result = int(sys.argv[1]), sys.argv[2], sys.argv[3]
table = small_panel(n_series=2, n_steps=40)
if keras.backend.backend() != "torch":
    NETWORKS["fusion"] = Tiny
with eagerly(True):
    model = make(checkpoint_dir=folder or None, callbacks=At(kill, epoch) if epoch else None)
    model.set_params(steps_per_epoch=2)
    model.fit(table)
np.savez(result, *model.model_.get_weights())
"""


def run(epoch, folder, result):
    environment = {**os.environ, "KERAS_BACKEND": keras.backend.backend()}
    command = [sys.executable, "-c", SCRIPT, str(epoch), str(folder), str(result)]
    root = Path(__file__).parents[1]
    return subprocess.run(command, env=environment, cwd=root, timeout=300, check=False).returncode


@on_every_backend
@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_new_process_goes_on_after_a_kill(table, tmp_path):
    folder = tmp_path / "checkpoints"
    assert run(2, folder, tmp_path / "never.npz") == -signal.SIGKILL
    assert [path.name for path in folder.iterdir()] == ["fit.checkpoint"]
    (folder / ".fit.checkpoint.0123456789abcdef.part").write_bytes(b"killed while writing")
    assert run(0, folder, tmp_path / "resumed.npz") == 0
    assert not list(folder.iterdir())
    # The fusion network where it is quickly fitted: on JAX it takes a minute and a half.
    network = FusionTransformer if keras.backend.backend() == "torch" else Tiny
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(NETWORKS, "fusion", network)
        undisturbed = make(steps_per_epoch=2).fit(table).model_.get_weights()
    with np.load(tmp_path / "resumed.npz", allow_pickle=False) as resumed:
        for name, weight in zip(resumed.files, undisturbed, strict=True):
            np.testing.assert_array_equal(resumed[name], weight)


# Checkpoints that are refused


@pytest.fixture(scope="module")
def left(table, eager, tmp_path_factory):
    """The checkpoint of a fit that was interrupted in its second epoch."""
    folder = tmp_path_factory.mktemp("left")
    interrupted(make(checkpoint_dir=folder), table, 1)
    return (folder / "fit.checkpoint").read_bytes()


@pytest.fixture
def folder(left, tmp_path):
    (tmp_path / "fit.checkpoint").write_bytes(left)
    return tmp_path


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"max_epochs": 5}, "max_epochs is 4 there, 5 here"),
        ({"dropout": 0.1}, "dropout is 0.3 there, 0.1 here"),
        ({"hidden_size": 4}, "hidden_size is 8 there, 4 here"),
        ({"n_estimators": 2}, "n_estimators is 1 there, 2 here"),
        ({"random_state": 1}, "random_state is '0' there, '1' here"),
        ({"random_state": None}, "random_state is '0' there, None here"),
        ({"optimizer": "sgd"}, "optimizer is None there, 'sgd' here"),
        ({"loss": lambda y, q: q[:, 0, 0]}, "loss is None there, 'tests.test_fit_interrupted.<la"),
        ({"scaler": "robust"}, "the data differ"),
        ({"validation_size": 0.3}, "the data differ"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_of_other_parameters(table, folder, left, changes, said):
    with pytest.raises(ValueError, match="To begin anew, delete the folder") as caught:
        make(**changes, checkpoint_dir=folder).fit(table)
    assert said in str(caught.value)
    assert str(folder) in str(caught.value)
    assert (folder / "fit.checkpoint").read_bytes() == left


def test_of_other_data(table, folder, left):
    renamed = table.assign(store=table["store"] + "x")
    for other in (table.assign(sales=table["sales"] * 2), table[:-1], renamed):
        with pytest.raises(ValueError, match=r"another: the data differ\. To begin anew, delete"):
            make(checkpoint_dir=folder).fit(other)
    assert (folder / "fit.checkpoint").read_bytes() == left


def test_what_does_not_train_may_change(table, folder):
    model = make(checkpoint_dir=folder, verbose=2, beyond="nan", quantiles=[0.2])
    same_fit(model.fit(table.sample(frac=1, random_state=0)), make().fit(table))


@pytest.mark.parametrize("damage", ["cut", "bit", "empty", "text"])
def test_damaged(table, folder, left, damage):
    middle = len(left) // 2
    data = {
        "cut": left[:middle],
        "bit": left[:middle] + bytes([left[middle] ^ 1]) + left[middle + 1 :],
        "empty": b"",
        "text": b"not a checkpoint " * 100,
    }[damage]
    (folder / "fit.checkpoint").write_bytes(data)
    model = make(checkpoint_dir=folder)
    with pytest.raises(FileFormatError, match=r"fit\.checkpoint: .*To begin anew, delete the fold"):
        model.fit(table)
    assert (folder / "fit.checkpoint").read_bytes() == data


def test_of_another_version(table, folder, monkeypatch):
    monkeypatch.setattr(module, "_VERSION", 2)
    with pytest.raises(FileFormatError, match=r"of version 2, received .* of version 1\. To begin"):
        make(checkpoint_dir=folder).fit(table)


def test_with_parts_of_another_shape(folder):
    with Checkpoint(folder, _fit_of(folder)) as found:
        like = [np.zeros(3, np.float32)]
        with pytest.raises(FileFormatError, match="expected 12 bytes of weights, received"):
            found.unpacked(found.position.model, like)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no locks on folders")
def test_one_fit_at_a_time(table, folder, left):
    with (
        pytest.raises(ValueError, match="in use by another fit"),
        Checkpoint(folder, _fit_of(folder)),
    ):
        make(checkpoint_dir=folder).fit(table)
    assert (folder / "fit.checkpoint").read_bytes() == left


def test_a_file_in_place_of_the_folder(table, tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError):
        make(checkpoint_dir=tmp_path / "file").fit(table)
    with pytest.raises(ValueError, match="checkpoint_dir"):
        make(checkpoint_dir=3).fit(table)


def test_save_leaves_the_folder_out(table, tmp_path):
    model = make(max_epochs=1, checkpoint_dir=tmp_path / "folder").fit(table)
    model.save(tmp_path / "model")
    with zipfile.ZipFile(tmp_path / "model") as archive:
        manifest = json.loads(archive.read("manifest.json"))
    assert "checkpoint_dir" not in manifest["parameters"]
    manifest["parameters"]["checkpoint_dir"] = "/etc"
    with pytest.raises(FileFormatError, match="received also .*checkpoint_dir"):
        _read_parameters(FusionForecaster, manifest, None)


def test_losses_and_optimizers_are_told_apart():
    def scaled(by):
        return lambda y, q: by * (y - q)

    class Mine(keras.losses.Loss):
        def call(self, y, q):
            return y - q

    assert describe(scaled(2)) == describe(scaled(2)) != describe(scaled(3))
    assert describe(Mine()) == describe(Mine()) != describe(Mine(reduction="sum"))
    assert describe(keras.optimizers.SGD(0.1)) == describe(keras.optimizers.SGD(0.1))
    assert describe(keras.optimizers.SGD(0.1)) != describe(keras.optimizers.SGD(0.2))
