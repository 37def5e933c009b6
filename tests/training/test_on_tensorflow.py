"""Many fits in one process on TensorFlow: what it keeps of each, and what it says."""

import gc
import logging
import weakref

import keras
import numpy as np
import pytest

from tests.conftest import small_panel
from tests.tiny import Wide
from tests.training.test_optimizer import plan
from tsfusion import FusionForecaster
from tsfusion.components import RecurrentEncoder
from tsfusion.models.factory import NETWORKS
from tsfusion.training import on_tensorflow
from tsfusion.training.fit import _optimizer
from tsfusion.training.on_tensorflow import quiet_about_traces, tie_gradients_to_graphs

pytestmark = [
    pytest.mark.usefixtures("compiled"),
    pytest.mark.skipif(
        keras.backend.backend() != "tensorflow", reason="TensorFlow's register and messages"
    ),
]


def register():
    from tensorflow.python.framework import ops

    return ops.gradient_registry._registry


def ours():
    return {
        name for name, entry in register().items()
        if isinstance(entry["type"], on_tensorflow._Tied)
        or on_tensorflow._belongs_to(entry["type"])[1]
    }  # fmt: skip


def slope(x, layer):
    """Return a compiled function of the sum's slope, and the slope that it gives."""
    import tensorflow as tf

    @tf.function
    def compiled(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(layer(x)[0] ** 2)
        return tape.gradient(total, x)

    return compiled, compiled(tf.constant(x)).numpy()


def test_a_graph_goes_with_its_function_and_not_before():
    import tensorflow as tf

    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    layer = RecurrentEncoder(4)
    layer.build(x.shape)
    before = ours()
    function, expected = slope(x, layer)
    made = ours() - before
    assert made  # or the test is of nothing: the layer's gradient is a written one
    tie_gradients_to_graphs()
    gc.collect()
    assert made <= ours()

    # The graph may be differentiated still, and again: what it holds is asked for its gradient.
    graph = function.get_concrete_function(tf.TensorSpec(x.shape)).graph
    with tf.GradientTape() as tape:
        point = tf.constant(x)
        tape.watch(point)
        again = function(point)
    np.testing.assert_array_equal(again, expected)
    asked = [
        operation for operation in graph.get_operations()
        if operation.type == "IdentityN"
        and operation.get_attr("_gradient_op_type").decode() in made
    ]  # fmt: skip
    assert asked
    for operation in asked:
        name = operation.get_attr("_gradient_op_type").decode()
        with graph.as_default():
            gradients = register()[name]["type"](operation, *map(tf.ones_like, operation.outputs))
        assert any(gradient is not None for gradient in gradients)

    held = weakref.ref(graph)
    del function, graph, tape, again, asked, operation, gradients
    gc.collect()
    assert held() is None
    assert not made & ours()


def test_gradients_of_others_are_left_alone():
    import tensorflow as tf

    @tf.custom_gradient
    def doubled(x):
        return 2 * x, lambda upstream: 2 * upstream

    @tf.function
    def function(x):
        return doubled(x)

    before = set(register())
    function(tf.constant(1.0))
    (name,) = set(register()) - before
    entry = register()[name]["type"]
    tie_gradients_to_graphs()
    assert register()[name]["type"] is entry


@pytest.mark.parametrize("kept", [None, [], {"CustomGradient-1": 3, "CustomGradient-2": {}, 4: {}}])
def test_another_register_is_left_alone(monkeypatch, kept):
    from tensorflow.python.framework import ops

    monkeypatch.setattr(ops.gradient_registry, "_registry", kept)
    tie_gradients_to_graphs()
    assert ops.gradient_registry._registry is kept


class Recurrent(Wide):
    """The network of one layer behind a recurrence."""

    def build(self, input_shape=None):
        self.encoder = RecurrentEncoder(4, name="encoder")
        self.encoder.build((None, None, self.sizes["past_real"] // 8))
        self.size = 4
        super().build(input_shape)

    def read(self, inputs):
        return self.encoder(keras.ops.nan_to_num(inputs["past_real"]))[0][:, -1]


def test_of_many_fits_and_files_the_last_graphs_alone_are_left(monkeypatch, tmp_path):
    monkeypatch.setitem(NETWORKS, "fusion", Recurrent)
    frame = small_panel()

    def fitted():
        return FusionForecaster(
            2, series="store", time="date", target="sales", context_length=8, hidden_size=4,
            num_heads=1, max_epochs=1, steps_per_epoch=2, verbose=0, random_state=0,
            static=["size"], observed=["price", "event", "weather", "region"],
        ).fit(frame)  # fmt: skip

    def graphs():
        gc.collect()
        return sum(type(thing).__name__ == "FuncGraph" for thing in gc.get_objects())

    before = ours()
    seen = []
    for _ in range(3):
        fitted().forecast()
        seen.append(graphs())
    assert seen[0] == seen[2], seen
    assert ours() - before  # or nothing was to be let go of
    path = tmp_path / "one.tsf"
    fitted().save(path)
    seen = []
    for _ in range(3):
        FusionForecaster.load(path).forecast()
        seen.append(graphs())
    assert seen[0] == seen[2], seen


def test_the_variables_of_optimizers_have_the_names_of_the_last_fit():
    # TensorFlow keeps a kernel of 36 kB for each name of a variable that it ever saw.
    for optimizer in (None, "adamw", "SGD"):
        names = []
        for _ in range(2):
            made = _optimizer(plan(optimizer=optimizer), 10)
            made.build([keras.Variable(np.zeros(2), name="weights")])
            names.append([variable.path for variable in made.variables])
        assert names[0] == names[1]
        assert float(made.learning_rate) == pytest.approx(1e-2)


def test_traces_are_not_complained_of_and_all_else_is_heard():
    import tensorflow as tf

    def traced(body):  # TensorFlow warns of each body twice at most
        for _ in range(8):
            tf.function(body)(tf.constant(1.0))

    heard = []
    handler = logging.Handler()
    handler.emit = lambda record: heard.append(record.getMessage())
    logger = tf.get_logger()
    logger.addHandler(handler)
    try:
        before = list(logger.filters)
        with quiet_about_traces(), quiet_about_traces():
            traced(lambda x: x + 1)
            logging.getLogger("tensorflow").warning("Something %s.", "else")
        assert heard == ["Something else."]
        assert logger.filters == before
        traced(lambda x: x + 2)
        assert any("retracing" in message for message in heard)
    finally:
        logger.removeHandler(handler)
