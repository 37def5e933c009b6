from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import ops

from tests.components.cases import values
from tests.components.formulas import attention, randomise, weights_of
from tsfusion.components import InterpretableMultiHeadAttention

pytestmark = pytest.mark.backends


@pytest.mark.parametrize("value_dim", [None, 3])
@pytest.mark.parametrize("masked", [False, True])
def test_formula(masked: bool, value_dim: int | None) -> None:
    layer = InterpretableMultiHeadAttention(d_model=4, n_head=2, value_dim=value_dim)
    query, key, value = values(2, 3, 5), values(2, 4, 6), values(2, 4, 2)
    layer(query, key, value)
    randomise(layer)
    allowed = np.arange(24).reshape(2, 3, 4) % 5 != 0
    allowed[1, 2] = False
    expected, expected_scores = attention(
        query, key, weights_of(layer), "mha", allowed if masked else None, value
    )
    output = layer(query, key, value, attention_mask=allowed if masked else None)
    np.testing.assert_allclose(ops.convert_to_numpy(output), expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        ops.convert_to_numpy(layer.attention_scores), expected_scores, rtol=1e-4, atol=1e-5
    )


def test_padding_masks() -> None:
    layer = InterpretableMultiHeadAttention(d_model=4, n_head=2)
    query, key = values(2, 3, 5), values(2, 4, 5)
    query_mask = np.array([[True, True, False], [True] * 3])
    key_mask = np.array([[True, False, True, True], [False] * 4])
    value_mask = np.array([[True, True, False, True], [True] * 4])
    layer(query, key, query_mask=query_mask, key_mask=key_mask, value_mask=value_mask)
    scores = ops.convert_to_numpy(layer.attention_scores)
    assert (scores[0, :, 2] == 0).all()
    assert (scores[0, :, :, 1:3] == 0).all()
    assert (scores[1] == 0).all()
    np.testing.assert_allclose(scores[0, :, :2].sum(axis=-1), 1, rtol=1e-5)
    layer(query, mask=query_mask)
    assert (ops.convert_to_numpy(layer.attention_scores)[0, :, :, 2] == 0).all()
    layer(query, use_causal_mask=True)
    assert (np.triu(ops.convert_to_numpy(layer.attention_scores)[0, 0], 1) == 0).all()


def test_call_order_is_query_key_value() -> None:
    layer = InterpretableMultiHeadAttention(d_model=4, n_head=2)
    query, key, value = values(2, 3, 5), values(2, 4, 6), values(2, 4, 2)
    assert tuple(layer(query, key, value).shape) == (2, 3, 5)
    assert layer.mha.key_dense.kernel.shape[0] == 6
    assert layer.mha.value_dense.kernel.shape[0] == 2


def test_scores_attribute_is_never_a_dead_tensor(compiled) -> None:
    layer = InterpretableMultiHeadAttention(d_model=4, n_head=2)
    assert layer.attention_scores is None
    x = values(4, 3, 5)
    inputs = keras.Input((3, 5))
    model = keras.Model(inputs, layer(inputs, inputs, inputs))
    assert layer.attention_scores is None
    model.compile("sgd", "mse")
    layer(x)
    assert tuple(layer.attention_scores.shape) == (4, 2, 3, 3)
    model.fit(x, x, epochs=1, verbose=0)
    assert layer.attention_scores is None
    layer(x, training=True)
    assert layer.attention_scores is None
    model.predict(x, verbose=0)
    if keras.backend.backend() != "torch":  # where `predict` is eager, it is an eager call
        assert layer.attention_scores is None
    layer(x)
    assert np.isfinite(ops.convert_to_numpy(layer.attention_scores)).all()


def test_keyword_arguments_reach_the_inner_attention() -> None:
    given = {
        "value_dim": 3,
        "use_bias": False,
        "output_shape": 7,
        "attention_axes": 1,
        "kernel_initializer": keras.initializers.HeNormal(seed=1),
        "bias_initializer": "ones",
        "kernel_regularizer": keras.regularizers.L2(0.1),
        "bias_regularizer": "l1",
        "activity_regularizer": "l2",
        "kernel_constraint": "non_neg",
        "bias_constraint": keras.constraints.MaxNorm(2.0),
        "seed": 11,
    }
    layer = InterpretableMultiHeadAttention(
        d_model=4, n_head=2, dropout_rate=0.2, name="mine", **given
    )
    inner = layer.mha.get_config()
    assert layer.name == "mine"
    assert inner["key_dim"] == 4
    assert inner["num_heads"] == 2
    assert inner["dropout"] == 0.2
    assert inner["value_dim"] == 3
    assert inner["use_bias"] is False
    assert inner["seed"] == 11
    assert inner["kernel_initializer"]["class_name"] == "HeNormal"
    assert inner["bias_constraint"]["config"]["max_value"] == 2.0
    for name in ("kernel_regularizer", "activity_regularizer", "kernel_constraint"):
        assert inner[name] is not None
    assert tuple(layer(values(2, 3, 5)).shape) == (2, 3, 7)
    again = InterpretableMultiHeadAttention.from_config(layer.get_config())
    theirs = again.mha.get_config()
    for one in (inner, theirs):
        one["attention_axes"] = None  # the built one counts them out
    assert theirs == inner
    assert again.get_config() == layer.get_config()


def test_unknown_keyword() -> None:
    with pytest.raises(ValueError, match="no_such"):
        InterpretableMultiHeadAttention(4, 2, no_such=1)


def test_rank_four_and_attention_axes() -> None:
    x = values(2, 3, 5, 4)
    for axes, shape in ((None, (2, 2, 3, 5, 3, 5)), ((2,), (2, 3, 2, 5, 5)), (-2, (2, 3, 2, 5, 5))):
        layer = InterpretableMultiHeadAttention(4, 2, attention_axes=axes)
        symbolic = layer(keras.Input(batch_shape=x.shape), return_attention_scores=True)
        output, scores = layer(x, return_attention_scores=True)
        assert tuple(output.shape) == symbolic[0].shape == x.shape
        assert tuple(scores.shape) == symbolic[1].shape == shape
    with pytest.raises(ValueError, match="expected no padding or causal mask"):
        layer(x, use_causal_mask=True)


@pytest.mark.parametrize(
    ("name", "value"),
    [("d_model", 0), ("n_head", 1.5), ("dropout_rate", 1.0), ("dropout_rate", -0.1)],
)
def test_bad_parameters(name: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"expected `{name}` to be .* received"):
        InterpretableMultiHeadAttention(**{"d_model": 4, "n_head": 2, name: value})


def test_bad_inputs() -> None:
    layer = InterpretableMultiHeadAttention(4, 2)
    with pytest.raises(ValueError, match=r"expected `query` of shape \(B, T, E\).* received"):
        layer(values(2, 3))
    with pytest.raises(ValueError, match="expected `key` and `value` of the same length, received"):
        layer(values(2, 3, 5), values(2, 4, 5), values(2, 3, 5))


def test_documented_call() -> None:
    batch_size, seq_len, d_model = 32, 10, 64
    query = keras.random.normal((batch_size, seq_len, d_model))
    layer = InterpretableMultiHeadAttention(
        d_model=d_model, n_head=4, kernel_initializer="he_normal", use_bias=False
    )
    assert tuple(layer(query, query, query).shape) == (32, 10, 64)
    assert tuple(layer.attention_scores.shape) == (32, 4, 10, 10)
    np.mean(ops.convert_to_numpy(layer.attention_scores), axis=(0, 2, 3))


def test_documented_sequential_model() -> None:
    model = keras.Sequential(
        [
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Reshape((1, 64)),
            InterpretableMultiHeadAttention(d_model=64, n_head=4),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer="adam", loss="binary_crossentropy")
    model.fit(values(8, 20), np.ones((8, 1)), verbose=0)
    assert model.predict(values(8, 20), verbose=0).shape == (8, 1)


def test_documented_functional_model() -> None:
    attention_layer = InterpretableMultiHeadAttention(
        d_model=128,
        n_head=16,
        dropout_rate=0.2,
        kernel_initializer="he_normal",
        use_bias=False,
        name="advanced_interpretable_attention",
    )
    inputs = keras.Input(shape=(50,))
    x = keras.layers.Dense(128, activation="relu")(inputs)
    x = keras.layers.Reshape((1, 128))(x)
    x = attention_layer(x, x, x)
    x = keras.layers.Flatten()(x)
    outputs = keras.layers.Dense(5, activation="softmax")(x)
    model = keras.Model(inputs, outputs)
    assert model.predict(values(4, 50), verbose=0).shape == (4, 5)
    # Documented example 2 reads the attribute while the model is made: no dead tensor there.
    attention_layer(keras.Input((1, 128)))
    assert attention_layer.attention_scores is None or hasattr(
        attention_layer.attention_scores, "shape"
    )


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("query_mask", (2, 4), r"a mask of shape \(2, 3\), .* received shape \(2, 4\)"),
        ("query_mask", (2, 1), r"a mask of shape \(2, 3\), .* received shape \(2, 1\)"),
        ("key_mask", (3, 3), r"a mask of shape \(2, 3\), .* received shape \(3, 3\)"),
        ("attention_mask", (3, 5), r"with Tq = 3 and Tk = 3, received shape \(3, 5\)"),
    ],
)
def test_masks_of_other_lengths_are_refused(name, shape, message):
    layer = InterpretableMultiHeadAttention(4, 2)
    with pytest.raises(ValueError, match=message):
        layer(np.ones((2, 3, 4), "float32"), **{name: np.ones(shape, bool)})


def test_a_key_mask_counts_in_self_attention():
    x = values(2, 4, 3)
    keys = np.array([[True, True, False, True], [False, True, True, True]])
    layer = InterpretableMultiHeadAttention(3, 2)
    found, scores = layer(x, key_mask=keys, return_attention_scores=True)
    expected = layer(x, x, key_mask=keys)
    np.testing.assert_allclose(*map(ops.convert_to_numpy, (found, expected)), atol=1e-6)
    assert not ops.convert_to_numpy(scores)[:, :, :, 2][0].any()
