"""Forecasts over HTTP from an ONNX file, in a process without Keras or TensorFlow.

    pip install 'tsfusion[export]' fastapi uvicorn
    python -c "... model.export('sales.onnx', format='onnx')"
    TSFUSION_MODEL=sales.onnx uvicorn examples.serve_fastapi:app

``POST /forecast`` takes ``{"history": [row, ...], "future": [row, ...]}``, rows as JSON objects
with the columns of the fit (of the future, the known ones are enough), and answers with a row for
each series and step. ``GET /model`` says what the file expects.
"""

from __future__ import annotations

import json
import os
from typing import Any

import numpy as np
import onnxruntime
import pandas as pd
from fastapi import FastAPI, HTTPException

from examples.serve_onnx import window_inputs


def make_app(path: str) -> FastAPI:
    """Return an application that holds one file; onnxruntime's sessions serve many threads."""
    session = onnxruntime.InferenceSession(path)
    metadata = json.loads(session.get_modelmeta().custom_metadata_map["tsfusion"])
    time, levels = metadata["time"]["column"], metadata["levels"]
    app = FastAPI(title="Forecasts by tsfusion")

    @app.get("/model")
    def model() -> dict[str, Any]:
        return metadata

    @app.post("/forecast")
    def forecast(asked: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
        tables = [_table(asked.get(kind, []), metadata, kind) for kind in ("history", "future")]
        labels, inputs = window_inputs(metadata, *tables)
        for name, values in inputs.items():
            if name.startswith("future") and not np.isfinite(values.astype(float)).all():
                raise HTTPException(422, "future: a known value of some step ahead is missing")
        (quantiles,) = session.run(["quantiles"], inputs)
        answers = []
        for label, values in zip(labels, quantiles):
            rows = tables[0]
            parts = label if isinstance(label, list) else [label]
            for name, part in zip(metadata["series"]["columns"], parts):
                rows = rows[rows[name] == part]
            last = rows.loc[rows[metadata["target"]].notna(), time].max()
            ahead = pd.date_range(last, periods=len(values) + 1, freq=metadata["time"]["freq"])[1:]
            answers += [
                {
                    "series": label,
                    time: step.isoformat(),
                    **{f"q{level:g}": float(value) for level, value in zip(levels, one)},
                }
                for step, one in zip(ahead, values)
            ]
        return answers

    return app


def _table(rows: list[dict[str, Any]], metadata: dict[str, Any], kind: str) -> pd.DataFrame:
    """Return rows as a table with times, or answer what is missing."""
    table = pd.DataFrame(rows)
    time = metadata["time"]["column"]
    wanted = [time, *metadata["series"]["columns"]]
    if kind == "history":
        wanted.append(metadata["target"])
    read = ("past", "static") if kind == "history" else ("future",)
    wanted += [
        column["name"]
        for name, expected in metadata["inputs"].items()
        if name.startswith(read)
        for column in expected.get("columns", [])
    ]
    wanted = list(dict.fromkeys(wanted))
    missing = [name for name in wanted if name not in table]
    if missing and (rows or kind == "history"):
        raise HTTPException(422, f"{kind}: expected the columns {wanted}, {missing} are missing")
    if not len(table):
        return pd.DataFrame(columns=wanted)
    try:
        return table.assign(**{time: _times(table[time], metadata["time"]["tz"])})
    except (ValueError, TypeError) as error:
        raise HTTPException(422, f"{kind}: {time} holds what is no time: {error}") from error


def _times(values: pd.Series, zone: str | None) -> pd.Series:
    """Return times; those with an offset on the clock of the model's zone."""
    if zone is None:
        return pd.to_datetime(values)
    try:
        times = pd.to_datetime(values)
    except ValueError:
        # Offsets that change with the clocks.
        times = pd.to_datetime(values, utc=True)
    return times if times.dt.tz is None else times.dt.tz_convert(zone)


if "TSFUSION_MODEL" in os.environ:
    app = make_app(os.environ["TSFUSION_MODEL"])
