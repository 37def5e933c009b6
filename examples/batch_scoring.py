"""Forecasts of all series in a folder of Parquet files, bucket by bucket, in several processes.

    pip install 'tsfusion[dask]'
    python examples/batch_scoring.py sales/ model.tsfusion forecasts/ [--buckets 64] [--workers 4]

The files may be in any order, by day for instance: Dask brings the rows of a series together. They
hold the history and, where the model has known columns, the rows to forecast, with an unknown
target. Each bucket of series becomes one file of forecasts. A worker loads the model once.
"""

from __future__ import annotations

import argparse

from tsfusion.scale import on_dask, predict_panel


def score(source: str, model: str, target: str, buckets: int, workers: int) -> None:
    import dask
    import dask.dataframe as dd

    found = on_dask(predict_panel, dd.read_parquet(source), model, n_buckets=buckets)
    with dask.config.set(scheduler="processes", num_workers=workers):
        found.to_parquet(target, write_index=False)


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("source", help="a folder of Parquet files")
    parser.add_argument("model", help="a file that FusionForecaster.save wrote")
    parser.add_argument("target", help="the folder to write")
    parser.add_argument("--buckets", type=int, default=64)
    parser.add_argument("--workers", type=int, default=4)
    asked = parser.parse_args(arguments)
    score(asked.source, asked.model, asked.target, asked.buckets, asked.workers)


if __name__ == "__main__":
    main()
