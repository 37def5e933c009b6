"""A forecaster as an ONNX file, and a process that serves it without this package.

    python examples/serve_onnx.py

Needs the extra ``export`` (onnx, onnxruntime, tf2onnx) and Keras on TensorFlow. `window_inputs` is
all that a serving process needs beside onnxruntime: pandas, NumPy and the file's own metadata.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd


def window_inputs(
    metadata: dict[str, Any], history: pd.DataFrame, future: pd.DataFrame
) -> tuple[list[Any], dict[str, np.ndarray]]:
    """Return the series, in order, and the inputs of a graph that forecasts each.

    Both tables have the columns of the fit; of the future, the known ones are enough. The history
    of a series ends with its last known target; steps without a row are unknown.
    """
    time, target = metadata["time"]["column"], metadata["target"]
    of_series = metadata["series"]["columns"]
    past, steps = metadata["context_length"], metadata["horizon"]
    labels, found = [], []
    groups = history.groupby(of_series, sort=True) if of_series else [((None,), history)]
    for key, rows in groups:
        rows = rows.set_index(time)
        last = rows.index[rows[target].notna()].max()
        at = pd.date_range(end=last, periods=past, freq=metadata["time"]["freq"])
        ahead = pd.date_range(last, periods=steps + 1, freq=metadata["time"]["freq"])[1:]
        known = future if not of_series else future[(future[of_series] == list(key)).all(axis=1)]
        label = key[0] if len(key) == 1 else list(key)
        labels.append(label)
        tables = {
            "past": rows.reindex(at),
            "future": known.set_index(time).reindex(ahead),
            "static": rows[-1:],
        }
        found.append(_inputs_of_one(metadata, label, target, tables))
    return labels, {name: np.stack([one[name] for one in found]) for name in metadata["inputs"]}


def _inputs_of_one(
    metadata: dict[str, Any], label: Any, target: str, tables: dict[str, pd.DataFrame]
) -> dict[str, np.ndarray]:
    known = metadata["series"]["labels"]
    one: dict[str, Any] = {"series": 1 + known.index(label) if label in known else 0}
    for name, expected in metadata["inputs"].items():
        role, _, kind = name.partition("_")
        table = tables.get(role)
        if kind == "target":
            one[name] = table[target]
        elif kind == "time":
            # The clock on the wall: without its zone a time is not moved to that of Greenwich.
            one[name] = table.index.tz_localize(None).to_numpy().astype("datetime64[s]")
        elif kind == "real":
            one[name] = table[[column["name"] for column in expected["columns"]]]
        elif kind == "categorical":
            codes = [
                # The code of a category is 1 + its place; 0 is for all that has no place.
                pd.Index(column["categories"]).get_indexer(table[column["name"]]) + 1
                for column in expected["columns"]
            ]
            one[name] = np.stack(codes, axis=-1)
        if role == "static":
            one[name] = np.asarray(one[name])[0]
        one[name] = np.asarray(one[name]).astype(expected["dtype"])
    return one


def main() -> None:
    from tsfusion import FusionForecaster
    from tsfusion.data import make_panel

    sales = make_panel(n_series=5, n_steps=365)
    last = sales["date"] > sales["date"].max() - pd.Timedelta(days=14)
    history, future = sales[~last], sales[last].drop(columns="sales")
    model = FusionForecaster(
        14,
        time="date",
        series="series",
        target="sales",
        known=["price", "promo"],
        hidden_size=16,
        max_epochs=2,
        steps_per_epoch=30,
        random_state=0,
        verbose=0,
    ).fit(history[["series", "date", "sales", "price", "promo"]])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sales.onnx"
        model.export(path, format="onnx")

        import onnxruntime

        session = onnxruntime.InferenceSession(str(path))
        metadata = json.loads(session.get_modelmeta().custom_metadata_map["tsfusion"])
        labels, inputs = window_inputs(metadata, history, future)
        (quantiles,) = session.run(["quantiles"], inputs)
        print(f"a file of {path.stat().st_size / 1e3:.0f} kB forecasts {labels}:")
        print(f"quantiles {metadata['levels']}, shape {quantiles.shape}")

        table = model.forecast(future)
        expected = table[["q0.1", "q0.5", "q0.9"]].to_numpy().reshape(quantiles.shape)
        print(f"largest difference from forecast(): {abs(quantiles - expected).max():.1e}")


if __name__ == "__main__":
    main()
