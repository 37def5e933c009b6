"""Adam in few operations: on TensorFlow, one kernel for each variable in place of some twenty."""

from __future__ import annotations

from typing import Any

import keras

__all__ = ["FusedAdam", "adam"]


def adam(learning_rate: Any, **kwargs: Any) -> keras.optimizers.Adam:
    """Return Adam as the backend runs it best; the arguments are those of Keras."""
    on_tensorflow = keras.backend.backend() == "tensorflow"
    return (FusedAdam if on_tensorflow else keras.optimizers.Adam)(learning_rate, **kwargs)


@keras.saving.register_keras_serializable(package="tsfusion")
class FusedAdam(keras.optimizers.Adam):
    """Keras' Adam, its variables and its numbers, by TensorFlow's own kernels.

    A network of small layers has many variables of few numbers each, so that a step costs by the
    operation: to trace, to optimise and to run. Only on TensorFlow.

    Notes
    -----
    Kingma and Ba (2015), "Adam: a method for stochastic optimization", in the order of operations
    that ends its section 2. Where a method of Keras that is overridden here has gone, its own
    takes the place, which is slower and gives the same.
    """

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Take one step."""
        import tensorflow as tf

        if not self.built and trainable_variables is not None:
            self.build(trainable_variables)
        step = tf.cast(self.iterations.value + 1, tf.float32)
        # Once for all variables: each number of Python's is another operation of the graph.
        beta_1, beta_2 = (tf.constant(beta, tf.float32) for beta in (self.beta_1, self.beta_2))
        self._numbers = {
            "beta1": beta_1,
            "beta2": beta_2,
            "beta1_power": tf.pow(beta_1, step),
            "beta2_power": tf.pow(beta_2, step),
            "epsilon": tf.constant(self.epsilon, tf.float32),
        }
        super().apply(grads, trainable_variables)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Update a variable and its two moments."""
        import tensorflow as tf

        if self.amsgrad or variable.dtype != tf.float32:
            super().update_step(gradient, variable, learning_rate)
            return
        place = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            lr=tf.cast(learning_rate, tf.float32),
            **self._numbers,
            grad=tf.convert_to_tensor(gradient),
        )

    def _clip_gradients(self, grads: Any) -> Any:
        if not self.global_clipnorm or self.clipnorm:
            return super()._clip_gradients(grads)
        import tensorflow as tf

        return tf.clip_by_global_norm(grads, self.global_clipnorm)[0]

    def _update_model_variables_moving_average(self, trainable_variables: Any) -> None:
        import tensorflow as tf

        if not self.use_ema or tf.distribute.has_strategy():
            super()._update_model_variables_moving_average(trainable_variables)
            return
        # The first step starts the average anew.
        started = tf.cast(self.iterations.value > 0, tf.float32)
        share = 1 - self.ema_momentum * started
        for variable, average in zip(trainable_variables, self._model_variables_moving_average):
            tf.raw_ops.ResourceApplyGradientDescent(
                var=average.value.handle,
                alpha=share,
                delta=average.value - variable.value,
            )
