"""Run in a process of its own: load saved models and compare their predictions.

``python reload.py FOLDER TOLERANCE`` loads ``layer *.keras`` with no more of ours than
`tsfusion.components`, then ``model *.keras`` with `tsfusion.models`.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

import tsfusion.components  # noqa: F401  (registers the layers)


def main(folder: Path, tolerance: float) -> None:
    models, failures = {}, {}
    for kind in ("layer", "model"):
        if kind == "model":
            import tsfusion.models  # noqa: F401  (registers the networks)
        for path in sorted(folder.glob(f"{kind} *.keras")):
            try:
                models[path] = keras.saving.load_model(path, compile=False)
            except Exception as error:
                failures[path.stem] = f"{type(error).__name__}: {error}"[:2000]
    inputs, expected = {}, {}
    for path in models:
        with np.load(path.with_suffix(".npz")) as data:
            inputs[path] = {name: data[name] for name in data if not name.startswith("output ")}
            expected[path] = [data[name] for name in sorted(data) if name.startswith("output ")]
    for path, found in outputs(models, inputs).items():
        try:
            for one, other in zip(keras.tree.flatten(found), expected[path], strict=True):
                np.testing.assert_allclose(
                    keras.ops.convert_to_numpy(one), other, rtol=tolerance, atol=tolerance
                )
        except AssertionError as error:
            failures[path.stem] = str(error)[:2000]
    print(json.dumps({"backend": keras.backend.backend(), "failures": failures}))


def outputs(models: dict, inputs: dict) -> dict:
    def call() -> dict:
        return {path: answer(model, inputs[path]) for path, model in models.items()}

    if keras.backend.backend() != "jax":
        return call()
    import jax

    # One compilation for all of them: step by step, JAX compiles each operation by itself.
    return jax.jit(call)()


def answer(model: keras.Model, given: dict) -> object:
    # Layers were saved in functional models, whose inputs are known by their order.
    return model([given[name] for name in sorted(given)] if "input 00" in given else given)


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
