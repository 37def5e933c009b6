"""The gated residual network against equations 2-4 of the paper."""

from __future__ import annotations

import numpy as np
import pytest
from keras import ops

from tests.components.formulas_tft import elu, named, norm, normal, randomize, sigmoid
from tsfusion.components import GatedResidualNetwork

pytestmark = pytest.mark.backends


def formula(weights: dict, a: np.ndarray, c: np.ndarray | None) -> np.ndarray:
    eta2 = a @ weights["hidden_dense/kernel"] + weights["hidden_dense/bias"]
    if c is not None:
        shift = c @ weights["context_kernel"]
        eta2 = eta2 + (shift[:, None] if a.ndim == 3 else shift)
    eta1 = elu(eta2) @ weights["linear_dense/kernel"] + weights["linear_dense/bias"]
    gates = eta1 @ weights["gate/kernel"] + weights["gate/bias"]
    half = gates.shape[-1] // 2
    if "skip_kernel" in weights:
        a = a @ weights["skip_kernel"] + weights["skip_bias"]
    gated = sigmoid(gates[..., :half]) * gates[..., half:]
    return norm(a + gated, weights["gamma"], weights["beta"])


@pytest.mark.parametrize("output_size", [None, 5, 3])
@pytest.mark.parametrize("context", [False, True])
@pytest.mark.parametrize("shape", [(2, 5), (2, 4, 5)])
def test_formula(shape: tuple[int, ...], context: bool, output_size: int | None) -> None:
    a, c = normal(*shape), normal(2, 6) if context else None
    layer = GatedResidualNetwork(7, output_size=output_size)
    layer(a, context=c)
    randomize(layer)
    found = ops.convert_to_numpy(layer(a, context=c))
    np.testing.assert_allclose(found, formula(named(layer), a, c), atol=3e-6, rtol=1e-5)
    assert found.shape == (*shape[:-1], output_size or 7)


def test_a_network_built_without_context_refuses_one() -> None:
    layer = GatedResidualNetwork(4)
    layer(normal(2, 3, 4))
    with pytest.raises(ValueError, match="expected a call without `context`"):
        layer(normal(2, 3, 4), context=normal(2, 4))
    layer = GatedResidualNetwork(4)
    layer(normal(2, 3, 4), context=normal(2, 4))
    with pytest.raises(ValueError, match="expected a call with `context`"):
        layer(normal(2, 3, 4))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"hidden_size": 0}, "`hidden_size` to be an integer >= 1, received 0"),
        ({"hidden_size": 2, "output_size": 0}, "`output_size` to be an integer >= 1"),
        ({"hidden_size": 2, "dropout_rate": -0.1}, "`dropout_rate` to be a number in"),
    ],
)
def test_bad_parameters(kwargs: dict, message: str) -> None:
    with pytest.raises(ValueError, match="GatedResidualNetwork: expected") as error:
        GatedResidualNetwork(**kwargs)
    assert message in str(error.value)


def test_bad_shapes() -> None:
    with pytest.raises(ValueError, match=r"`inputs` of shape \(B, T, D\) or \(B, D\)"):
        GatedResidualNetwork(4).build((2, 3, 4, 5))
    with pytest.raises(ValueError, match=r"`context` of shape \(B, D\)"):
        GatedResidualNetwork(4).build((2, 3, 4), (2, 3, 4))
