"""Regimes and memory: distances and thresholds by hand, what is unusual, what is near."""

import numpy as np
import pandas as pd
import pytest

from tests.conftest import ROLES, SMALL
from tsfusion import FusionForecaster
from tsfusion.explain.regimes import block_quantile, pattern_distance

pytestmark = pytest.mark.usefixtures("eager")


@pytest.fixture(scope="module")
def remembering(history):
    model = FusionForecaster(horizon=3, context_length=10, memory_size=4, **ROLES, **SMALL)
    return model.fit(history)


@pytest.fixture(scope="module")
def explanation(remembering):
    return remembering.explain(max_windows=9, methods=["regimes", "memory"])


def test_the_distance_is_that_of_the_paper():
    rng = np.random.default_rng(0)
    patterns = rng.dirichlet(np.ones(5), size=(3, 2))
    mean = rng.dirichlet(np.ones(5), size=2)
    counts = np.array([[True, True], [True, False], [True, True]])
    found = pattern_distance(patterns, mean, counts)
    for w in range(3):
        parts = []
        for h in range(2):
            if counts[w, h]:
                overlap = sum(np.sqrt(patterns[w, h, k] * mean[h, k]) for k in range(5))
                parts.append(np.sqrt(1 - overlap))
        assert found[w] == pytest.approx(np.mean(parts))
    assert pattern_distance(mean[None], mean, counts[:1]) == pytest.approx(0, abs=1e-7)


def test_the_threshold_lies_above_the_quantile_and_grows_with_dependence():
    rng = np.random.default_rng(0)
    alone = rng.normal(size=400)
    quantile, high = block_quantile(alone, 0.99, 1, np.random.default_rng(1))
    assert quantile == pytest.approx(np.quantile(alone, 0.99))
    assert quantile <= high <= alone.max()
    together = np.repeat(rng.normal(size=40), 10)
    narrow = block_quantile(together, 0.9, 1, np.random.default_rng(1))[1]
    wide = block_quantile(together, 0.9, 20, np.random.default_rng(1))[1]
    assert wide >= narrow


def test_windows_of_training_are_usual(explanation):
    table = explanation.regimes()
    assert table.columns.tolist() == ["store", "cutoff", "distance", "threshold", "unusual"]
    assert len(table) == 9
    assert table["distance"].between(0, 1).all()
    assert (table["unusual"] == (table["distance"] > table["threshold"])).all()
    assert table["unusual"].sum() <= 1
    assert "the attention is unusual" in explanation.summary()


def test_memory_and_prototypes(explanation):
    memory = explanation.memory
    assert memory.columns.tolist() == ["store", "cutoff", "slot", "weight", "usual"]
    sums = memory.groupby(["store", "cutoff"])[["weight", "usual"]].sum()
    np.testing.assert_allclose(sums, 1, atol=1e-5)
    near = explanation.prototypes
    assert near.columns.tolist() == [
        "store", "cutoff", "rank", "prototype_series", "prototype_cutoff", "similarity",
    ]  # fmt: skip
    first = near[near["rank"] == 1]
    assert near.groupby(["store", "cutoff"])["similarity"].is_monotonic_decreasing.all()
    # Windows before the validation tail are themselves among those compared with.
    itself = (first["store"] == first["prototype_series"]) & (
        first["cutoff"] == first["prototype_cutoff"]
    )
    assert itself.sum() >= 5
    assert (near["prototype_cutoff"] < pd.Timestamp("2024-02-24")).all()


def test_without_a_memory_there_is_nothing_to_recall(fitted):
    with pytest.raises(ValueError, match="'memory' needs a network with a memory"):
        fitted.explain(max_windows=2, methods="memory")
