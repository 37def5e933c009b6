"""The learner methods: parameters, files, and what happens to damaged or foreign files."""

from __future__ import annotations

import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

from tests.components.cases import values
from tsfusion.components import (
    CrossAttention,
    ExplainableAttention,
    InterpretableMultiHeadAttention,
    MemoryAugmentedAttention,
)

pytestmark = pytest.mark.backends


def built(units: int = 4) -> MemoryAugmentedAttention:
    layer = MemoryAugmentedAttention(units, 3, 2)
    layer(values(2, 5, units))
    return layer


def snapshot(layer: keras.layers.Layer) -> list[np.ndarray]:
    return [ops.convert_to_numpy(weight).copy() for weight in layer.weights]


def same(first: list[np.ndarray], second: list[np.ndarray]) -> bool:
    return len(first) == len(second) and all(map(np.array_equal, first, second))


# Parameters


def test_get_params() -> None:
    layer = CrossAttention(units=4, num_heads=2, name="a", dtype="float32")
    assert layer.get_params() == {"units": 4, "num_heads": 2}
    assert layer.get_params(deep=False) == {"units": 4, "num_heads": 2}


def test_set_params_changes_the_layer_itself() -> None:
    layer = CrossAttention(units=4, num_heads=2, name="mine", dtype="mixed_bfloat16")
    assert layer.set_params(units=6, num_heads=3) is layer
    assert layer.get_params() == {"units": 6, "num_heads": 3}
    assert layer.name == "mine"
    assert layer.dtype_policy.name == "mixed_bfloat16"
    output, scores = layer([values(2, 3, 5), values(2, 4, 5)], return_attention_scores=True)
    assert tuple(output.shape) == (2, 3, 6)
    assert tuple(scores.shape) == (2, 3, 3, 4)
    assert layer.built
    assert len(layer.weights) == 12
    assert len(layer._layers) == 3


def test_set_params_of_a_keyword_left_at_its_default() -> None:
    layer = InterpretableMultiHeadAttention(4, 2)
    layer.set_params(dropout_rate=0.0)
    assert layer.mha.dropout == 0.0


def test_a_changed_layer_saves_and_loads_within_a_model(tmp_path: Path) -> None:
    layer = MemoryAugmentedAttention(8, 3, 2).set_params(units=4)
    model = keras.Sequential([keras.Input((5, 4)), layer])
    expected = model.predict(values(2, 5, 4), verbose=0)
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    np.testing.assert_allclose(again.predict(values(2, 5, 4), verbose=0), expected, rtol=1e-6)


def test_set_params_refuses() -> None:
    layer = CrossAttention(units=4, num_heads=2)
    with pytest.raises(ValueError, match=r"among \['num_heads', 'units'\], received \['unitz'\]"):
        layer.set_params(unitz=3)
    with pytest.raises(ValueError, match="expected `units` to be an integer"):
        layer.set_params(units=0)
    assert layer.get_params() == {"units": 4, "num_heads": 2}
    layer([values(2, 3, 5), values(2, 4, 5)])
    before = snapshot(layer)
    assert layer.set_params(units=4) is layer
    with pytest.raises(ValueError, match="expected no change of a built layer"):
        layer.set_params(units=8)
    assert same(snapshot(layer), before)


def test_texts(capsys: pytest.CaptureFixture[str]) -> None:
    layer = ExplainableAttention(2, 3)
    assert "not built" in layer.summary()
    layer(values(2, 4, 5))
    assert "query/kernel: (5, 2, 3)" in layer.summary()
    assert "3 weights" in layer.summary()
    layer.help()
    assert "Parameters" in capsys.readouterr().out
    text = io.StringIO()
    ExplainableAttention.help(file=text)
    assert text.getvalue().startswith("ExplainableAttention(num_heads, key_dim)")
    assert layer.my_params == "ExplainableAttention(num_heads=2, key_dim=3)"


# Files


def test_save_and_load(tmp_path: Path) -> None:
    layer = built()
    path = layer.save(tmp_path / "layer.zip")
    assert os.listdir(tmp_path) == ["layer.zip"]
    new = MemoryAugmentedAttention.load(path)
    assert new is not layer
    assert new.name == layer.name
    assert same(snapshot(new), snapshot(layer))
    other = built()
    assert not same(snapshot(other), snapshot(layer))
    assert other.load(path, format="tsfusion") is other
    assert same(snapshot(other), snapshot(layer))
    fresh = MemoryAugmentedAttention(4, 3, 2)
    fresh.load(str(path))
    assert fresh.built
    assert same(snapshot(fresh), snapshot(layer))


def test_an_unbuilt_layer(tmp_path: Path) -> None:
    path = MemoryAugmentedAttention(4, 3, 2).save(tmp_path / "layer.zip")
    new = MemoryAugmentedAttention.load(path)
    assert not new.built
    assert new.get_params() == {"units": 4, "memory_size": 3, "num_heads": 2}
    with pytest.raises(ValueError, match="saved before it had any"):
        built().load(path)


def test_bfloat16_weights(tmp_path: Path) -> None:
    layer = MemoryAugmentedAttention(4, 3, 2, dtype="bfloat16")
    layer(values(2, 5, 4))
    new = MemoryAugmentedAttention.load(layer.save(tmp_path / "layer.zip"))
    for one, other in zip(new.weights, layer.weights):
        assert one.dtype == "bfloat16"
        assert bool(ops.all(ops.equal(one, other)))


def test_objects_of_keras_in_the_parameters(tmp_path: Path) -> None:
    layer = InterpretableMultiHeadAttention(
        4, 2, kernel_initializer=keras.initializers.HeNormal(3), kernel_regularizer="l2"
    )
    layer(values(2, 5, 4))
    new = InterpretableMultiHeadAttention.load(layer.save(tmp_path / "layer.zip"))
    assert new.get_params() == layer.get_params()
    assert same(snapshot(new), snapshot(layer))


def test_a_layer_inside_a_model_has_the_same_file(tmp_path: Path) -> None:
    layer = MemoryAugmentedAttention(4, 3, 2)
    keras.Sequential([keras.Input((5, 4)), layer], name="outer")
    path = layer.save(tmp_path / "layer.zip")
    assert same(snapshot(built().load(path)), snapshot(layer))


def test_overwrite(tmp_path: Path) -> None:
    path = tmp_path / "layer.zip"
    path.write_text("mine")
    with pytest.raises(FileExistsError, match="overwrite=True"):
        built().save(path)
    assert path.read_text() == "mine"
    layer = built()
    layer.save(path, overwrite=True)
    assert same(snapshot(built().load(path)), snapshot(layer))
    assert os.listdir(tmp_path) == ["layer.zip"]


@pytest.mark.parametrize("name", ["pickle", "keras", "h5", "json"])
def test_other_formats_are_refused(tmp_path: Path, name: str) -> None:
    layer = built()
    with pytest.raises(ValueError, match=f"expected format='tsfusion', received '{name}'"):
        layer.save(tmp_path / "layer", format=name)
    assert os.listdir(tmp_path) == []
    path = layer.save(tmp_path / "layer")
    with pytest.raises(ValueError, match=f"received '{name}'"):
        layer.load(path, format=name)


def test_no_such_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        built().load(tmp_path / "none.zip")


def test_a_file_of_another_layer(tmp_path: Path) -> None:
    path = built().save(tmp_path / "layer.zip")
    with pytest.raises(ValueError, match="expected a CrossAttention, received a 'MemoryAug"):
        CrossAttention.load(path)
    with pytest.raises(ValueError, match="expected parameters"):
        built(6).load(path)
    first = ExplainableAttention(2, 3)
    first(values(2, 4, 5))
    path = first.save(tmp_path / "explain.zip")
    second = ExplainableAttention(2, 3)
    second(values(2, 4, 6))
    before = snapshot(second)
    with pytest.raises(ValueError, match="expected weights"):
        second.load(path)
    assert same(snapshot(second), before)


def rewrite(
    path: Path,
    change: Callable[[dict[str, bytes]], None],
    compression: int = zipfile.ZIP_STORED,
) -> None:
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    change(members)
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, content in members.items():
            file.writestr(name, content)


def edit(**fields: object) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        manifest = json.loads(members["layer.json"])
        members["layer.json"] = json.dumps({**manifest, **fields}).encode()

    return change


def npy(array: np.ndarray, **options: object) -> bytes:
    member = io.BytesIO()
    np.save(member, array, **options)
    return member.getvalue()


FIRST = "weights/00000.npy"


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch exploded",))


def put(name: str, content: Callable[[bytes], bytes]) -> Callable[[dict[str, bytes]], None]:
    def change(members: dict[str, bytes]) -> None:
        members[name] = content(members.get(name, b""))

    return change


HOSTILE = {
    "a member more": put("more.txt", lambda _: b"x"),
    "a path upwards": put("../up.txt", lambda _: b"x"),
    "a weight less": lambda members: members.pop(FIRST),
    "no description": lambda members: members.pop("layer.json"),
    "description is no JSON": put("layer.json", lambda _: b"{"),
    "description is a list": put("layer.json", lambda _: b"[]"),
    "deep JSON": put("layer.json", lambda _: b"[" * 100_000),
    "later version": edit(format_version=2),
    "another format": edit(format="joblib"),
    "a field more": edit(more=1),
    "build of another width": edit(build={"input_shape": [None, 5, 8]}),
    "huge build": edit(build={"input_shape": [None, 5, 10**12]}),
    "build is text": edit(build="x"),
    "no build": edit(build=None),
    "no weights": edit(weights=[]),
    "weights are text": edit(weights="abcdefghi"),
    "config is a list": edit(config=[]),
    "config lacks a parameter": edit(config={"units": 4}),
    "bad parameter": edit(config={"units": 4, "memory_size": -1, "num_heads": 2}),
    "huge parameter": edit(config={"units": 4, "memory_size": 10**12, "num_heads": 2}),
    "unknown parameter": edit(
        config={"units": 4, "memory_size": 3, "num_heads": 2, "command": "ls"}
    ),
    "foreign object": edit(
        config={
            "units": 4,
            "memory_size": 3,
            "num_heads": 2,
            "dtype": {"module": "os", "class_name": "system", "config": {"command": "ls"}},
        }
    ),
    "foreign layer": edit(
        config={
            "units": 4,
            "memory_size": 3,
            "num_heads": 2,
            "name": {"module": "keras.layers", "class_name": "Lambda", "config": {}},
        }
    ),
    "pickled array": put(FIRST, lambda _: npy(np.array([Bomb()], dtype=object), allow_pickle=True)),
    "plain pickle": put(FIRST, lambda _: pickle.dumps(Bomb())),
    "array of another shape": put(FIRST, lambda _: npy(np.zeros((3, 5), "float32"))),
    "array of another dtype": put(FIRST, lambda _: npy(np.zeros((3, 4), "float64"))),
    "array cut short": put(FIRST, lambda content: content[:-4]),
    "array too long": put(FIRST, lambda content: content + b"1234"),
    "array is empty": put(FIRST, lambda _: b""),
    "header lies": put(FIRST, lambda content: content.replace(b"(3, 4)", b"(3,99)")),
}
UNREAD = {"build of another width", "huge build", "build is text"}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.chdir(tmp_path)
    layer = built()
    path = layer.save(tmp_path / "layer.zip")
    rewrite(path, HOSTILE[name])
    target = built()
    before = snapshot(target)
    loads = [target.load, MemoryAugmentedAttention(4, 3, 2).load, MemoryAugmentedAttention.load]
    # A layer that is built knows its shapes, and never reads those of the file.
    for load in loads[1:] if name in UNREAD else loads:
        with pytest.raises(ValueError, match="MemoryAugmentedAttention.load: cannot load"):
            load(path)
    assert same(snapshot(target), before)
    assert os.listdir(tmp_path) == ["layer.zip"]


def test_packed_duplicated_and_cut_files(tmp_path: Path) -> None:
    layer = built()
    path = layer.save(tmp_path / "layer.zip")
    whole = path.read_bytes()
    rewrite(path, lambda members: None, zipfile.ZIP_DEFLATED)
    with pytest.raises(ValueError, match="expected stored members"):
        layer.load(path)
    path.write_bytes(whole)
    with pytest.warns(UserWarning, match="Duplicate"), zipfile.ZipFile(path, "a") as file:
        file.writestr(FIRST, b"x")
    with pytest.raises(ValueError, match="expected the members"):
        layer.load(path)
    for length in (0, 1, 30, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(ValueError, match="cannot load"):
            layer.load(path)
    damaged = bytearray(whole)
    damaged[whole.index(b"\x93NUMPY") + 130] ^= 0xFF
    path.write_bytes(bytes(damaged))
    with pytest.raises(ValueError, match="cannot load"):
        layer.load(path)
    path.write_bytes(pickle.dumps(Bomb()))
    with pytest.raises(ValueError, match="cannot load"):
        layer.load(path)


def test_keras_models_keep_their_own_methods() -> None:
    model = keras.Sequential([keras.Input((5, 4)), built()])
    assert "load" not in dir(keras.Model)
    assert model.save.__func__ is keras.Model.save


def test_set_params_takes_keywords_of_the_inner_attention() -> None:
    layer = InterpretableMultiHeadAttention(4, 2).set_params(use_bias=False, seed=np.int64(3))
    assert layer.get_params()["use_bias"] is False
    assert json.loads(json.dumps(layer.get_config()))["seed"] == 3
    layer(np.zeros((1, 2, 4), "float32"))
    assert not any("bias" in weight.path for weight in layer.weights)
    with pytest.raises(ValueError, match="expected `seed` to be an integer or None, received <"):
        InterpretableMultiHeadAttention(4, 2, seed=keras.random.SeedGenerator(0))
