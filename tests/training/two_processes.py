"""One of two processes that train together on JAX, or one that trains alone; table, then files."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd


def main():
    folder, *ranks = Path(sys.argv[1]), *sys.argv[2:]
    import keras

    distribution = None
    if ranks != ["alone"]:
        keras.distribution.initialize(ranks[0], 2, int(ranks[1]))
        distribution = keras.distribution.DataParallel(auto_shard_dataset=False)
    from tests.conftest import ROLES, SMALL
    from tests.tiny import Wide
    from tsfusion import FusionForecaster
    from tsfusion.data import ParquetPanel
    from tsfusion.learning_from_files import FileSource
    from tsfusion.models.factory import NETWORKS

    NETWORKS["fusion"] = Wide
    options = {**SMALL, "max_epochs": 2, "steps_per_epoch": 3, "dropout": 0.0,
               "validation_size": 0.3, "learning_rate": 0.02}  # fmt: skip
    path = folder / "sales.parquet"
    panel = ParquetPanel(path, **ROLES, horizon=3, validation_size=0.3, max_memory="150kB")
    assert panel.n_chunks > 1
    if distribution is None:
        # What two ranks draw, by one.
        reader = FileSource.reader
        FileSource.reader = lambda self, **ask: reader(self, **{**ask, "shards": 2})
    name = "alone" if distribution is None else "ranks"
    for source, X in (("table", pd.read_parquet(path)), ("files", panel)):
        model = FusionForecaster(
            horizon=3, context_length=14, **ROLES, **options, distribution=distribution
        )
        model.fit(X)
        if distribution is None or ranks[1] == "0":
            np.savez(
                folder / f"{name} {source}", *model.model_.get_weights(),
                loss=model.history_["loss"], val_loss=model.history_["val_loss"],
            )  # fmt: skip
            model.save(folder / f"{name} {source}")
    if distribution is not None:
        import jax

        jax.distributed.shutdown()


if __name__ == "__main__":
    main()
