"""The variable selection of the Temporal Fusion Transformer; relies on Keras alone.

All variables are computed together, with the variables as the leading axis of the large arrays
(V, B, T, D): each variable's matrix product then reads memory in order.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from tsfusion.components._base import Layer, register
from tsfusion.components._checks import check_positive_int, check_rate
from tsfusion.components._math import (
    NORM_EPSILON,
    TimeSharedDropout,
    gate,
    glorot,
    layer_normalize,
    linear,
    masked_softmax,
)
from tsfusion.components._weighted_norm import weighted_gated_norm

__all__ = ["VariableSelection"]

Shape = tuple[Any, ...]

FORMS = ("published", "light")
# Basis functions of a variable in the light form: design.md, section 3.
BASIS = 8


@register
class VariableSelection(Layer):
    r"""``y = sum over v of w[v] * GRN_v(x[v])`` with ``w = softmax(GRN([x[1], ..., x[V]], c))``.

    ``x (B, T, V, D)`` embedded variables, or ``(B, V, D)`` for static ones; optional context
    ``c (B, Dc)``; optional mask ``(B, T, V)`` of what is known; ``w (B, T, V)``; result
    ``(B, T, hidden_size)``. A variable that is not known has weight exactly 0 and no influence at
    all; where nothing is known the result is 0.

    In training the dropout masks fall on ``eta2`` of each gated residual network, are shared over
    time, and so the two linear maps that follow it are one product with a merged matrix.
    At inference this is the paper's formula, exactly.

    ``form="light"`` replaces the networks by eight basis functions a variable:
    ``phi[v] = ELU(x[v] A[v] + a[v])``, ``w = softmax([phi[1], ..., phi[V]] U + u + c C)`` and
    ``y = sum over v of w[v] * (phi[v] R[v] + r[v])``, two products over all variables at once.

    Parameters
    ----------
    hidden_size : int
        Width of the result and of the hidden layers.
    num_variables : int
        Number of variables, V. A single one has weight 1, and no weights to choose it.
    dropout_rate : float, default=0.0
        Share of hidden features dropped in training.
    form : {"published", "light"}, default="published"
        Whether each variable has its own gated residual network.
    **kwargs
        Keywords of every Keras layer: ``name``, ``dtype``, ``trainable``.

    References
    ----------
    B. Lim et al., Temporal Fusion Transformers for interpretable multi-horizon time series
    forecasting, International Journal of Forecasting 37 (2021), equations 6-8.

    Examples
    --------
    >>> import numpy as np
    >>> from tsfusion.components import VariableSelection
    >>> layer = VariableSelection(hidden_size=8, num_variables=3)
    >>> y, weights = layer(np.ones((2, 5, 3, 4), "float32"), return_weights=True)
    >>> tuple(y.shape), tuple(weights.shape)
    ((2, 5, 8), (2, 5, 3))
    """

    def __init__(
        self,
        hidden_size: int,
        num_variables: int,
        dropout_rate: float = 0.0,
        form: str = "published",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.hidden_size = check_positive_int(owner, "hidden_size", hidden_size)
        self.num_variables = check_positive_int(owner, "num_variables", num_variables)
        self.dropout_rate = check_rate(owner, "dropout_rate", dropout_rate)
        if form not in FORMS:
            raise ValueError(f"{owner}: expected `form` to be one of {FORMS}, received {form!r}.")
        self.form = form
        self.dropout = TimeSharedDropout(self.dropout_rate, name="dropout", dtype=self.dtype_policy)
        self.supports_masking = True

    def build(self, inputs_shape: Shape, context_shape: Shape | None = None) -> None:
        """Create the weights, those of all variables stacked."""
        self._check_shapes(inputs_shape, context_shape)
        context = None if context_shape is None else context_shape[-1]
        if self.form == "published":
            self._build_published(inputs_shape[-1], context)
        else:
            self._build_light(inputs_shape[-1], context)
        self.dropout.build((None, None, self.hidden_size))
        self.built = True

    def _weight(self, name: str, shape: tuple[int, ...], start: Any = "zeros") -> Any:
        return self.add_weight(name=name, shape=shape, initializer=start)

    def _build_published(self, width: int, context: int | None) -> None:
        variables, hidden = self.num_variables, self.hidden_size
        self.hidden_kernel = self._weight(
            "hidden_kernel", (variables, width, hidden), glorot(width, hidden)
        )
        self.hidden_bias = self._weight("hidden_bias", (variables, hidden))
        self.linear_kernel = self._weight(
            "linear_kernel", (variables, hidden, hidden), glorot(hidden, hidden)
        )
        self.linear_bias = self._weight("linear_bias", (variables, hidden))
        self.gate_kernel = self._weight(
            "gate_kernel", (variables, hidden, 2 * hidden), glorot(hidden, hidden)
        )
        self.gate_bias = self._weight("gate_bias", (variables, 2 * hidden))
        self.skip_kernel = None
        if width != hidden:
            self.skip_kernel = self._weight(
                "skip_kernel", (variables, width, hidden), glorot(width, hidden)
            )
            self.skip_bias = self._weight("skip_bias", (variables, hidden))
        self.gamma = self._weight("gamma", (variables, hidden), "ones")
        self.beta = self._weight("beta", (variables, hidden))
        if variables > 1:
            self._build_choice(width, context)

    def _build_choice(self, width: int, context: int | None) -> None:
        variables, hidden = self.num_variables, self.hidden_size
        self.choice_hidden_kernel = self._weight(
            "choice_hidden_kernel", (variables, width, hidden), glorot(variables * width, hidden)
        )
        self.choice_hidden_bias = self._weight("choice_hidden_bias", (hidden,))
        self.choice_context_kernel = None
        if context is not None:
            self.choice_context_kernel = self._weight(
                "choice_context_kernel", (context, hidden), "glorot_uniform"
            )
        self.choice_linear_kernel = self._weight(
            "choice_linear_kernel", (hidden, hidden), "glorot_uniform"
        )
        self.choice_linear_bias = self._weight("choice_linear_bias", (hidden,))
        self.choice_gate_kernel = self._weight(
            "choice_gate_kernel", (hidden, 2 * variables), glorot(hidden, variables)
        )
        self.choice_gate_bias = self._weight("choice_gate_bias", (2 * variables,))
        self.choice_skip_kernel = self._weight(
            "choice_skip_kernel",
            (variables, width, variables),
            glorot(variables * width, variables),
        )
        self.choice_skip_bias = self._weight("choice_skip_bias", (variables,))
        self.choice_gamma = self._weight("choice_gamma", (variables,), "ones")
        self.choice_beta = self._weight("choice_beta", (variables,))

    def _build_light(self, width: int, context: int | None) -> None:
        variables, hidden = self.num_variables, self.hidden_size
        self.basis_kernel = self._weight(
            "basis_kernel", (variables, width, BASIS), glorot(width, BASIS)
        )
        # Bases that start with one kink each: equal biases would bend at the same point.
        self.basis_bias = self._weight(
            "basis_bias", (variables, BASIS), keras.initializers.RandomUniform(-1.0, 1.0)
        )
        self.value_kernel = self._weight(
            "value_kernel", (variables, BASIS, hidden), glorot(BASIS, hidden)
        )
        self.value_bias = self._weight("value_bias", (variables, hidden))
        if variables > 1:
            self.choice_kernel = self._weight(
                "choice_kernel",
                (variables, BASIS, variables),
                glorot(variables * BASIS, variables),
            )
            self.choice_bias = self._weight("choice_bias", (variables,))
            self.choice_context_kernel = None
            if context is not None:
                self.choice_context_kernel = self._weight(
                    "choice_context_kernel", (context, variables), "glorot_uniform"
                )

    def call(
        self,
        inputs: Any,
        context: Any | None = None,
        mask: Any | None = None,
        inputs_mask: Any | None = None,
        training: bool | None = None,
        return_weights: bool = False,
    ) -> Any:
        """Return the selected features and, on request, the weights of the variables.

        Parameters
        ----------
        inputs : tensor (B, T, V, D) or (B, V, D)
            The embedded variables.
        context : tensor (B, Dc), optional
            What the choice may depend on beside the variables.
        mask, inputs_mask : bool tensor (B, T, V) or (B, V), optional
            True for what is known; ``(B, T)`` masks whole steps.
        training : bool, optional
            Whether to drop features.
        return_weights : bool, default=False
            Whether to return the weights too.

        Returns
        -------
        tensor (B, T, hidden_size) or (B, hidden_size), or a tuple of it and the float32 weights,
        (B, T, V) or (B, V), which sum to 1 wherever anything is known
        """
        mask = inputs_mask if mask is None else mask
        static = len(inputs.shape) == 3
        if static:
            inputs = inputs[:, None]
            mask = None if mask is None else mask[:, None]
        elif mask is not None and len(mask.shape) == 2:
            mask = mask[:, :, None]
        if mask is not None:
            mask = ops.cast(mask, "bool") & ops.ones((1, 1, self.num_variables), dtype="bool")
        outputs, weights = self.select(
            embedded=inputs, context=context, mask=mask, training=training
        )
        if static:
            outputs, weights = outputs[:, 0], weights[:, 0]
        return (outputs, weights) if return_weights else outputs

    def select(
        self,
        *,
        reals: Any | None = None,
        real_kernel: Any | None = None,
        real_bias: Any | None = None,
        embedded: Any | None = None,
        context: Any | None = None,
        mask: Any | None = None,
        training: bool | None = None,
    ) -> tuple[Any, Any]:
        """Select among real variables not yet embedded, then embedded ones.

        A real variable ``x[v]`` whose embedding is ``x[v] * real_kernel[v] + real_bias[v]`` enters
        the first products as ``x[v] * (real_kernel[v] W) + real_bias[v] W``: the same numbers
        for a product that no longer has B x T rows.

        Parameters
        ----------
        reals : tensor (B, T, R), optional
            Real variables, the first R of the V; finite also where they are masked.
        real_kernel, real_bias : tensor (R, D), optional
            The weights of their embedding.
        embedded : tensor (B, T, V - R, D), optional
            The other variables.
        context : tensor (B, Dc), optional
            What the choice may depend on beside the variables.
        mask : bool tensor (B, T, V), optional
            True for what is known.
        training : bool, optional
            Whether to drop features.

        Returns
        -------
        tuple of tensors (B, T, hidden_size) and float32 (B, T, V)
        """
        reals_count = 0 if reals is None else reals.shape[-1]
        groups: list[_Variables] = []
        if reals is not None:
            known = None if mask is None else mask[..., :reals_count]
            groups.append(_Reals(reals, real_kernel, real_bias, known))
        if embedded is not None and embedded.shape[2] > 0:
            known = None if mask is None else mask[..., reals_count:]
            groups.append(_Embedded(embedded, known))
        if self.form == "light":
            return self._select_light(groups, context, mask, training)
        weights = self._choose(groups, context, mask, training)
        outputs: Any = 0.0
        start = 0
        stacked = ops.transpose(weights, (2, 0, 1))[..., None]
        for group in groups:
            part = slice(start, start + group.count)
            outputs = outputs + self._weighted(group, part, stacked[part], training)
            start += group.count
        return ops.cast(outputs, self.compute_dtype), weights

    def _weighted(self, group: _Variables, part: slice, weights: Any, training: bool | None) -> Any:
        """Return the weighted sum of the own networks' answers, (B, T, hidden_size)."""
        eta = group.stacked_product(self.hidden_kernel[part], self.hidden_bias[part])
        eta = self.dropout(ops.elu(eta), training=training)
        kernel, bias = _merge(
            self.linear_kernel[part],
            self.linear_bias[part],
            self.gate_kernel[part],
            self.gate_bias[part],
        )
        gates = _stacked_matmul(eta, kernel) + bias[:, None, None]
        if self.skip_kernel is None:
            skip = group.stacked()
        else:
            skip = group.stacked_product(self.skip_kernel[part], self.skip_bias[part])
        return weighted_gated_norm(
            ops.cast(gates, "float32"),
            ops.cast(skip, "float32"),
            weights,
            ops.cast(self.gamma[part], "float32"),
            ops.cast(self.beta[part], "float32"),
            NORM_EPSILON,
        )

    def _choose(
        self, groups: list[_Variables], context: Any, mask: Any, training: bool | None
    ) -> Any:
        """Return the weights of the variables, (B, T, V)."""
        if self.num_variables == 1:
            return self._only_weight(groups, mask)
        kernel = ops.concatenate([self.choice_hidden_kernel, self.choice_skip_kernel], axis=-1)
        both: Any = 0.0
        start = 0
        for group in groups:
            both = both + group.joint_product(kernel[start : start + group.count])
            start += group.count
        eta = both[..., : self.hidden_size] + self.choice_hidden_bias
        eta = self._add_context(eta, context, self.choice_context_kernel)
        eta = self.dropout(ops.elu(eta), training=training)
        kernel, bias = _merge(
            self.choice_linear_kernel,
            self.choice_linear_bias,
            self.choice_gate_kernel,
            self.choice_gate_bias,
        )
        gated = gate(linear(eta, kernel, bias))
        skip = both[..., self.hidden_size :] + self.choice_skip_bias
        logits = layer_normalize(skip + gated, self.choice_gamma, self.choice_beta)
        return masked_softmax(logits, mask)

    def _add_context(self, eta: Any, context: Any, kernel: Any | None) -> Any:
        if (context is None) != (kernel is None):
            raise ValueError(
                f"{type(self).__name__}: expected a call {'without' if kernel is None else 'with'}"
                f" `context`, as the layer was built, received one "
                f"{'without' if context is None else 'with'} it."
            )
        if context is None:
            return eta
        return eta + ops.matmul(context, kernel)[:, None]

    def _only_weight(self, groups: list[_Variables], mask: Any) -> Any:
        if mask is None:
            return ops.ones_like(groups[0].reference(), dtype="float32")
        return ops.cast(mask, "float32")

    def _select_light(
        self, groups: list[_Variables], context: Any, mask: Any, training: bool | None
    ) -> tuple[Any, Any]:
        bases, start = [], 0
        for group in groups:
            part = slice(start, start + group.count)
            bases.append(group.bases(self.basis_kernel[part], self.basis_bias[part]))
            start += group.count
        phi = bases[0] if len(bases) == 1 else ops.concatenate(bases, axis=2)
        phi = ops.elu(phi)
        if mask is not None:
            # What is masked is finite here: a product costs half of a choice.
            phi = phi * ops.cast(mask, phi.dtype)[..., None]
        joint = (-1, ops.shape(phi)[1], self.num_variables * BASIS)
        flat = self.dropout(ops.reshape(phi, joint), training=training)
        if self.num_variables == 1:
            weights = self._only_weight(groups, mask)
        else:
            logits = linear(flat, _flatten(self.choice_kernel), self.choice_bias)
            logits = self._add_context(logits, context, self.choice_context_kernel)
            weights = masked_softmax(logits, mask)
        cast = ops.cast(weights, flat.dtype)
        outputs = ops.matmul(
            flat * ops.repeat(cast, BASIS, axis=-1), _flatten(self.value_kernel)
        ) + ops.matmul(cast, self.value_bias)
        # Under PyTorch, Keras gives the product of two float64 matrices as float32.
        return ops.cast(outputs, self.compute_dtype), weights

    def compute_mask(self, inputs: Any, previous_mask: Any) -> Any:
        """Return the mask of the steps at which anything is known."""
        if previous_mask is None or len(inputs.shape) == 3:
            return None
        return previous_mask if len(previous_mask.shape) == 2 else ops.any(previous_mask, axis=-1)

    def compute_output_shape(
        self, inputs_shape: Shape, context_shape: Shape | None = None
    ) -> Shape:
        """Return the shape of the selected features."""
        self._check_shapes(inputs_shape, context_shape)
        return (*inputs_shape[:-2], self.hidden_size)

    def compute_output_spec(
        self,
        inputs: Any,
        context: Any | None = None,
        mask: Any | None = None,
        inputs_mask: Any | None = None,
        training: bool | None = None,
        return_weights: bool = False,
    ) -> Any:
        """Return the symbolic features and, on request, weights."""
        shape = self.compute_output_shape(inputs.shape, None if context is None else context.shape)
        outputs = keras.KerasTensor(shape, dtype=self.compute_dtype)
        if not return_weights:
            return outputs
        return outputs, keras.KerasTensor(inputs.shape[:-1], dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "hidden_size": self.hidden_size,
            "num_variables": self.num_variables,
            "dropout_rate": self.dropout_rate,
            "form": self.form,
        }

    def _check_shapes(self, inputs_shape: Shape, context_shape: Shape | None) -> None:
        owner, variables = type(self).__name__, self.num_variables
        rank = len(inputs_shape)
        if rank not in (3, 4) or inputs_shape[-1] is None or inputs_shape[-2] != variables:
            raise ValueError(
                f"{owner}: expected `inputs` of shape (B, T, {variables}, D) or "
                f"(B, {variables}, D) with a known last axis, received shape {tuple(inputs_shape)}."
            )
        if context_shape is not None and (len(context_shape) != 2 or context_shape[-1] is None):
            raise ValueError(
                f"{owner}: expected `context` of shape (B, D) with a known last axis, "
                f"received shape {tuple(context_shape)}."
            )


class _Variables:
    """Some of the variables, and the products that a selection takes with them."""

    count: int

    def reference(self) -> Any:
        """Return any tensor of shape (B, T, V)."""
        raise NotImplementedError

    def stacked(self) -> Any:
        """Return the embedded variables, (V, B, T, D)."""
        raise NotImplementedError

    def stacked_product(self, kernel: Any, bias: Any) -> Any:
        """Return each variable times its own matrix, (V, B, T, E), for ``kernel (V, D, E)``."""
        raise NotImplementedError

    def joint_product(self, kernel: Any) -> Any:
        """Return the sum of the known variables' products, (B, T, E), for ``kernel (V, D, E)``."""
        raise NotImplementedError

    def bases(self, kernel: Any, bias: Any) -> Any:
        """Return each variable times its own matrix, (B, T, V, E), for ``kernel (V, D, E)``."""
        raise NotImplementedError


class _Embedded(_Variables):
    def __init__(self, inputs: Any, mask: Any | None) -> None:
        if mask is not None:
            inputs = ops.where(mask[..., None], inputs, ops.cast(0, inputs.dtype))
        self.inputs = inputs
        self.count = inputs.shape[2]

    def reference(self) -> Any:
        return self.inputs[..., 0]

    def stacked(self) -> Any:
        return ops.transpose(self.inputs, (2, 0, 1, 3))

    def stacked_product(self, kernel: Any, bias: Any) -> Any:
        return _stacked_matmul(self.stacked(), kernel) + bias[:, None, None]

    def joint_product(self, kernel: Any) -> Any:
        rows = (-1, ops.shape(self.inputs)[1], kernel.shape[0] * kernel.shape[1])
        return ops.matmul(ops.reshape(self.inputs, rows), _flatten(kernel))

    def bases(self, kernel: Any, bias: Any) -> Any:
        return ops.transpose(self.stacked_product(kernel, bias), (1, 2, 0, 3))


class _Reals(_Variables):
    def __init__(self, inputs: Any, kernel: Any, bias: Any, mask: Any | None) -> None:
        known = ops.ones_like(inputs) if mask is None else ops.cast(mask, inputs.dtype)
        self.inputs = inputs if mask is None else ops.where(mask, inputs, ops.cast(0, inputs.dtype))
        self.known = known
        self.kernel = kernel
        self.bias = bias
        self.columns = ops.transpose(self.inputs, (2, 0, 1))[..., None]
        self.count = inputs.shape[2]

    def reference(self) -> Any:
        return self.inputs

    def stacked(self) -> Any:
        return self.columns * self.kernel[:, None, None] + self.bias[:, None, None]

    def stacked_product(self, kernel: Any, bias: Any) -> Any:
        slope, shift = self._fold(kernel)
        return self.columns * slope[:, None, None] + (shift + bias)[:, None, None]

    def joint_product(self, kernel: Any) -> Any:
        slope, shift = self._fold(kernel)
        # The constant part counts only for what is known, so it is a product with the mask.
        return ops.matmul(
            ops.concatenate([self.inputs, self.known], axis=-1),
            ops.concatenate([slope, shift], axis=0),
        )

    def bases(self, kernel: Any, bias: Any) -> Any:
        slope, shift = self._fold(kernel)
        return self.inputs[..., None] * slope + (shift + bias)

    def _fold(self, kernel: Any) -> tuple[Any, Any]:
        both = ops.matmul(ops.stack([self.kernel, self.bias], axis=1), kernel)
        return both[:, 0], both[:, 1]


def _flatten(kernel: Any) -> Any:
    return ops.reshape(kernel, (kernel.shape[0] * kernel.shape[1], kernel.shape[2]))


def _stacked_matmul(x: Any, kernel: Any) -> Any:
    """Return ``x[v] @ kernel[v]`` for ``x (V, B, T, D)`` and ``kernel (V, D, E)``."""
    rows = ops.reshape(x, (kernel.shape[0], -1, kernel.shape[1]))
    product = ops.matmul(rows, kernel)
    return ops.reshape(product, (*ops.shape(x)[:-1], kernel.shape[2]))


def _merge(first: Any, first_bias: Any, second: Any, second_bias: Any) -> tuple[Any, Any]:
    """Return the one linear map that two in a row amount to."""
    bias = ops.matmul(first_bias[..., None, :], second)[..., 0, :] + second_bias
    return ops.matmul(first, second), bias
