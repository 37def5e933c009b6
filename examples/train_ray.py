"""Training by several workers of Ray Train with JAX; after a worker dies, Ray starts all again.

    pip install "ray[train]"
    python examples/train_ray.py --workers 2 --folder sales_run

Every worker reads the same data and takes its part of each batch. After each epoch the first one's
checkpoint stands in FOLDER/rank0; workers that are started again all go on from that one, and end
with the weights of a run that was not disturbed. Of several hosts, FOLDER is one that all see.
"""

from __future__ import annotations

import argparse
import os
import shutil
import socket
from pathlib import Path
from typing import Any


def train(config: dict[str, Any]) -> None:
    """What each worker runs."""
    os.environ["KERAS_BACKEND"] = "jax"
    from ray.train import get_context
    from ray.train.collective import broadcast_from_rank_zero

    rank, ranks = get_context().get_world_rank(), get_context().get_world_size()
    with socket.socket() as free:
        free.bind(("", 0))
        place = f"{socket.gethostbyname(socket.gethostname())}:{free.getsockname()[1]}"
    import keras

    # Before anything touches a device.
    keras.distribution.initialize(broadcast_from_rank_zero(place), ranks, rank)
    import jax
    from jax.experimental.multihost_utils import sync_global_devices

    from tsfusion import FusionForecaster
    from tsfusion.data import make_panel

    first, own = (Path(config["folder"]) / f"rank{r}" for r in (0, rank))
    if rank:
        # Killed between two writes, one rank may be an epoch ahead of another.
        shutil.rmtree(own, ignore_errors=True)
        if first.exists():
            shutil.copytree(first, own)
    sync_global_devices("checkpoints")
    model = FusionForecaster(
        horizon=7, time="date", series="series", target="sales", known=["price", "promo"],
        hidden_size=16, max_epochs=config["epochs"], random_state=0,
        verbose=2 if rank == 0 else 0, checkpoint_dir=own,
        distribution=keras.distribution.DataParallel(auto_shard_dataset=False),
    )  # fmt: skip
    panel = make_panel(n_series=8, n_steps=400, random_state=0)
    model.fit(panel[["series", "date", "sales", "price", "promo"]])
    if rank == 0:
        model.save(Path(config["folder"]) / "model.tsfusion")
        print(f"skill {model.skill_:.0%}, trained by {ranks} workers", flush=True)
    jax.distributed.shutdown()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--folder", default="sales_run")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--failures", type=int, default=2, help="how often to start again")
    asked = parser.parse_args()
    from ray.train import FailureConfig, RunConfig, ScalingConfig
    from ray.train.v2.api.data_parallel_trainer import DataParallelTrainer

    folder = Path(asked.folder).resolve()
    folder.mkdir(exist_ok=True)
    DataParallelTrainer(
        train,
        train_loop_config={"folder": str(folder), "epochs": asked.epochs},
        scaling_config=ScalingConfig(num_workers=asked.workers),
        run_config=RunConfig(
            storage_path=str(folder), failure_config=FailureConfig(max_failures=asked.failures)
        ),
    ).fit()
    print(f"wrote {folder / 'model.tsfusion'}")


if __name__ == "__main__":
    main()
