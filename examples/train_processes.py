"""Training over several processes or hosts with JAX: each trains on its part of every batch.

On one machine, two processes that talk over loopback:

    python examples/train_processes.py --launch 2

On hosts, the same command on each, with the address of the first:

    python examples/train_processes.py --address host0:12345 --ranks 4 --rank 0

Under SLURM, `srun python examples/train_processes.py` with `--address` of the first host; rank and
number of ranks are taken from SLURM_PROCID and SLURM_NTASKS.

Every process reads the same data and starts from the same seed; without dropout the result is that
of one process with the same batch_size. Rank 0 writes the model, which loads on any backend. With
checkpoint_dir= (a folder for each rank) the same command goes on after a kill.
"""

from __future__ import annotations

import argparse
import os
import socket
import subprocess
import sys


def train(address: str, rank: int, ranks: int, source: str | None, output: str) -> None:
    os.environ["KERAS_BACKEND"] = "jax"
    import keras

    # Before anything touches a device.
    keras.distribution.initialize(address, ranks, rank)
    import jax

    from tsfusion import FusionForecaster
    from tsfusion.data import make_panel

    # Each rank takes its own part of a batch, so Keras must not split it again.
    everywhere = keras.distribution.DataParallel(auto_shard_dataset=False)
    model = FusionForecaster(
        horizon=7, time="date", series="series", target="sales", known=["price", "promo"],
        hidden_size=16, max_epochs=3, random_state=0, verbose=2 if rank == 0 else 0,
        distribution=everywhere,
    )  # fmt: skip
    panel = make_panel(n_series=8, n_steps=400, random_state=0)
    model.fit(source or panel[["series", "date", "sales", "price", "promo"]])
    if rank == 0:
        model.save(output)
        print(f"{output}: skill {model.skill_:.0%}, trained by {ranks} processes", flush=True)
    jax.distributed.shutdown()


def launch(ranks: int, arguments: list[str]) -> int:
    """Start the processes of one machine; if one dies, end the others."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    command = [sys.executable, __file__, "--address", address, "--ranks", str(ranks), *arguments]
    running = [subprocess.Popen([*command, "--rank", str(rank)]) for rank in range(ranks)]
    try:
        while any(process.poll() is None for process in running):
            failed = [rank for rank, process in enumerate(running) if process.poll()]
            if failed:
                print(f"rank {failed[0]} of {ranks} died: run again to go on", file=sys.stderr)
                return 1
            for process in running:
                try:
                    process.wait(0.2)
                except subprocess.TimeoutExpired:
                    break
    finally:
        for process in running:
            process.kill()
    return max(process.wait() for process in running)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--launch", type=int, help="start so many processes on this machine")
    parser.add_argument("--address", help="host:port of rank 0")
    parser.add_argument("--ranks", type=int, default=int(os.environ.get("SLURM_NTASKS", 1)))
    parser.add_argument("--rank", type=int, default=int(os.environ.get("SLURM_PROCID", 0)))
    parser.add_argument("--source", help="Parquet files, laid out by tsfusion relayout")
    parser.add_argument("--output", default="sales.tsfusion")
    asked = parser.parse_args()
    if asked.launch:
        further = ["--output", asked.output]
        return launch(asked.launch, further + (["--source", asked.source] if asked.source else []))
    train(asked.address, asked.rank, asked.ranks, asked.source, asked.output)
    return 0


if __name__ == "__main__":
    sys.exit(main())
