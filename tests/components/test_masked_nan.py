"""What stands at a masked step, be it NaN, reaches neither the outputs nor the gradients."""

import keras
import numpy as np
import pytest
from keras import ops

from tests.conftest import JIT
from tsfusion.components import (
    CrossAttention,
    ExplainableAttention,
    HierarchicalAttention,
    InstanceScaling,
    InterpretableMultiHeadAttention,
    MemoryAugmentedAttention,
    MultiModalEmbedding,
    MultiResolutionAttentionFusion,
    PatchEmbedding,
    RecurrentEncoder,
    TemporalSelfAttention,
    VariableSelection,
)

pytestmark = pytest.mark.backends


def alive(output, mask):
    """Return the output without the rows that are masked, which pass on what they are given."""
    return ops.where(ops.cast(mask, "bool")[..., None], output, ops.cast(0, output.dtype))


# A layer, and what it makes of x and its mask, and of a query without one.
CASES = {
    "cross": (CrossAttention(4, 2), lambda of, x, m, q: of([q, x], mask=[None, m])),
    "hierarchical": (HierarchicalAttention(4, 2), lambda of, x, m, q: of([x, x], mask=[m, m])),
    "query": (HierarchicalAttention(4, 2), lambda of, x, m, q: of([x, x], query=q, mask=[m, m])),
    "fusion": (
        MultiResolutionAttentionFusion(4, 2), lambda of, x, m, q: of([q, x], mask=[None, m]),
    ),
    "one": (MultiResolutionAttentionFusion(4, 2), lambda of, x, m, q: of(x, mask=m)),
    "interpretable": (
        InterpretableMultiHeadAttention(4, 2), lambda of, x, m, q: of(q, x, x, key_mask=m),
    ),
    "values": (
        InterpretableMultiHeadAttention(4, 2), lambda of, x, m, q: of(q, value=x, value_mask=m),
    ),
    "temporal": (TemporalSelfAttention(4, 2), lambda of, x, m, q: of(q, x, key_mask=m)),
    "self": (TemporalSelfAttention(4, 2), lambda of, x, m, q: alive(of(x, mask=m), m)),
    "explainable": (ExplainableAttention(2, 4), lambda of, x, m, q: of(x, mask=m)),
    "modal": (MultiModalEmbedding(4), lambda of, x, m, q: of([x, x], mask=[m, m])),
    "lstm": (RecurrentEncoder(4), lambda of, x, m, q: of(x, mask=m)[1][0]),
    "gru": (RecurrentEncoder(4, kind="gru"), lambda of, x, m, q: of(x, mask=m)[1][0]),
    "memory": (MemoryAugmentedAttention(4, 3, 2), lambda of, x, m, q: alive(of(x, mask=m), m)),
    "patches": (PatchEmbedding(4, 2), lambda of, x, m, q: of(x, mask=m)),
    "selection": (VariableSelection(4, 4), lambda of, x, m, q: of(x[..., None], mask=m)),
    "scaling": (InstanceScaling(), lambda of, x, m, q: alive(of(x, mask=m)[0], m)),
}  # fmt: skip


@keras.saving.register_keras_serializable(package="tests")
class Around(keras.Model):
    """A layer in a model that is trained through it."""

    def __init__(self, layer, call, **kwargs):
        super().__init__(**kwargs)
        self.layer, self.through = layer, call

    def call(self, inputs):
        found = self.through(self.layer, inputs["x"], inputs["mask"], inputs["query"])
        return found[0] if isinstance(found, (tuple, list)) else found


@pytest.mark.parametrize("case", CASES)
def test_nothing_at_a_masked_step_counts(case):
    rng = np.random.default_rng(0)
    x, query = (rng.normal(size=(4, steps, 4)).astype("float32") for steps in (6, 3))
    mask = np.ones((4, 6), bool)
    mask[:, :2] = mask[1, 4] = False
    layer, call = CASES[case]
    model = Around(type(layer).from_config(layer.get_config()), call)
    inputs = {"x": x, "mask": mask, "query": query}
    outputs = []
    for value in (0.0, np.nan, np.inf):
        filled = {**inputs, "x": np.where(mask[..., None], x, np.float32(value))}
        outputs.append(ops.convert_to_numpy(model(filled)))
    assert np.isfinite(outputs[0]).all()
    for found in outputs[1:]:
        np.testing.assert_allclose(found, outputs[0], atol=1e-6)
    if not model.trainable_weights:
        return
    filled = {**inputs, "x": np.where(mask[..., None], x, np.float32(np.nan))}
    model.compile("sgd", lambda y, found: ops.mean(ops.square(found - 1.0)), jit_compile=JIT)
    model.fit(filled, np.zeros((4, 1), "float32"), epochs=1, verbose=0)
    for weight in model.trainable_weights:
        assert np.isfinite(ops.convert_to_numpy(weight)).all(), weight.path
