"""Run in a process of its own: load saved models and compare their predictions.

``python reload.py FOLDER TOLERANCE`` imports `tsfusion.components` and nothing else of ours.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np

import tsfusion.components  # noqa: F401  (registers the layers)


def main(folder: Path, tolerance: float) -> None:
    failures = {}
    for path in sorted(folder.glob("*.keras")):
        data = np.load(path.with_suffix(".npz"))
        try:
            model = keras.saving.load_model(path, compile=False)
            given = [data[name] for name in sorted(data) if name.startswith("input")]
            expected = [data[name] for name in sorted(data) if name.startswith("output")]
            # Eager JAX compiles each operation by itself: minutes, over all layers.
            compiled = keras.backend.backend() == "jax"
            found = model.predict(given, verbose=0) if compiled else model(given)
            found = keras.tree.flatten(found)
            for one, other in zip(found, expected, strict=True):
                np.testing.assert_allclose(
                    keras.ops.convert_to_numpy(one), other, rtol=tolerance, atol=tolerance
                )
        except Exception as error:
            failures[path.stem] = f"{type(error).__name__}: {error}"[:2000]
    print(json.dumps({"backend": keras.backend.backend(), "failures": failures}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]))
