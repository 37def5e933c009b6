"""What the networks share: their inputs, the selection among them, the shape of the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import ops

from tsfusion.components._base import register
from tsfusion.components._checks import check_count, check_positive_int, check_rate
from tsfusion.components._math import layer_normalize
from tsfusion.components.categorical_embedding import CategoricalEmbedding
from tsfusion.components.gated_linear_unit import GatedLinearUnit
from tsfusion.components.gated_residual_network import GatedResidualNetwork
from tsfusion.components.quantile_head import check_levels
from tsfusion.components.real_embedding import RealEmbedding
from tsfusion.components.variable_selection import VariableSelection

__all__ = ["DECILES", "ROLES", "GatedSkip", "WindowNetwork", "embed_codes"]

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
ROLES = ("past", "future", "static")


class WindowNetwork(keras.Model):
    """A network from the dict of a window to quantiles ``(B, H, Q)``; see its subclasses."""

    def __init__(
        self,
        horizon: int,
        *,
        quantiles: Sequence[float],
        hidden_size: int,
        num_heads: int,
        dropout: float,
        num_past_real: int,
        past_cardinalities: Sequence[int],
        num_future_real: int,
        future_cardinalities: Sequence[int],
        num_static_real: int,
        static_cardinalities: Sequence[int],
        selection: str,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        owner = type(self).__name__
        self.horizon = check_positive_int(owner, "horizon", horizon)
        self.quantiles = tuple(check_levels(owner, "quantiles", quantiles))
        self.hidden_size = check_positive_int(owner, "hidden_size", hidden_size)
        self.num_heads = check_positive_int(owner, "num_heads", num_heads)
        self.dropout = check_rate(owner, "dropout", dropout)
        self.num_past_real = check_positive_int(owner, "num_past_real", num_past_real)
        self.num_future_real = check_count(owner, "num_future_real", num_future_real)
        self.num_static_real = check_count(owner, "num_static_real", num_static_real)
        self.past_cardinalities = _check_sizes(owner, "past_cardinalities", past_cardinalities)
        self.future_cardinalities = _check_sizes(
            owner, "future_cardinalities", future_cardinalities
        )
        self.static_cardinalities = _check_sizes(
            owner, "static_cardinalities", static_cardinalities
        )
        self._create_inputs(selection)

    def _count(self, role: str) -> int:
        return getattr(self, f"num_{role}_real") + len(getattr(self, f"{role}_cardinalities"))

    @property
    def _chooses(self) -> bool:
        """Whether any selection over time has a choice that a context could steer."""
        return self._count("past") > 1 or self._count("future") > 1

    def _create_inputs(self, form: str) -> None:
        policy = self.dtype_policy
        for role in ROLES:
            count = getattr(self, f"num_{role}_real")
            sizes = getattr(self, f"{role}_cardinalities")
            real = categorical = selection = None
            if count:
                real = RealEmbedding(self.hidden_size, name=f"{role}_real_embedding", dtype=policy)
            if sizes:
                categorical = CategoricalEmbedding(
                    sizes, self.hidden_size, name=f"{role}_categorical_embedding", dtype=policy
                )
            if count or sizes:
                selection = VariableSelection(
                    self.hidden_size,
                    count + len(sizes),
                    self.dropout,
                    form,
                    name=f"{role}_selection",
                    dtype=policy,
                )
            setattr(self, f"{role}_real_embedding", real)
            setattr(self, f"{role}_categorical_embedding", categorical)
            setattr(self, f"{role}_selection", selection)

    def _network(self, name: str) -> GatedResidualNetwork:
        return GatedResidualNetwork(
            self.hidden_size, dropout_rate=self.dropout, name=name, dtype=self.dtype_policy
        )

    def _build_inputs(self) -> None:
        """Create the weights of embeddings and selections; only the choice knows a context."""
        static = self._count("static") > 0
        for role in ROLES:
            real = getattr(self, f"num_{role}_real")
            sizes = getattr(self, f"{role}_cardinalities")
            if real:
                getattr(self, f"{role}_real_embedding").build((None, None, real))
            if sizes:
                getattr(self, f"{role}_categorical_embedding").build((None, None, len(sizes)))
            if real or sizes:
                context = (None, self.hidden_size) if static and role != "static" else None
                getattr(self, f"{role}_selection").build(
                    (None, None, self._count(role), self.hidden_size), context
                )

    def _select(
        self,
        role: str,
        inputs: dict[str, Any],
        found: dict[str, Any],
        context: Any,
        steps: Any,
        training: bool | None,
    ) -> Any:
        """Return a role's selected features, (B, T, D), and note the weights in ``found``."""
        selection = getattr(self, f"{role}_selection")
        if selection is None:
            return None
        arguments: dict[str, Any] = {}
        masks = []
        if getattr(self, f"num_{role}_real"):
            embedding = getattr(self, f"{role}_real_embedding")
            reals = ops.cast(inputs[f"{role}_real"], self.compute_dtype)
            known = ops.logical_not(ops.isnan(reals))
            # The gradient of a product with NaN is NaN even where it is masked afterwards.
            reals = ops.where(known, reals, ops.cast(0, reals.dtype))
            masks.append(known)
            arguments |= {
                "reals": reals,
                "real_kernel": embedding.kernel,
                "real_bias": embedding.bias,
            }
        if getattr(self, f"{role}_cardinalities"):
            codes = inputs[f"{role}_categorical"]
            masks.append(ops.ones_like(codes, dtype="bool"))
            layer = getattr(self, f"{role}_categorical_embedding")
            arguments["embedded"] = embed_codes(layer, role, inputs)
        mask = masks[0] if len(masks) == 1 else ops.concatenate(masks, axis=-1)
        if steps is not None:
            mask = mask & steps[:, :, None]
        if selection.num_variables == 1:
            context = None
        features, weights = selection.select(
            context=context, mask=mask, training=training, **arguments
        )
        found[f"{role}_selection"] = weights
        return features

    def _select_static(
        self, inputs: dict[str, Any], found: dict[str, Any], training: bool | None
    ) -> Any:
        """Return what is static in one vector, (B, D), or None where nothing is."""
        static = {
            name: value[:, None] for name, value in inputs.items() if name.startswith("static_")
        }
        summary = self._select("static", static, found, None, None, training)
        if summary is None:
            return None
        found["static_selection"] = found["static_selection"][:, 0]
        return summary[:, 0]

    def _shapes_of(self, inputs: Any) -> dict[str, Any]:
        """Return the shapes of the inputs, or raise ``ValueError`` if they are not named ones."""
        if not isinstance(inputs, Mapping):
            raise ValueError(
                f"{type(self).__name__}: expected a dict of tensors by name ('past_real' and what "
                f"else there is), received {type(inputs).__name__}."
            )
        return {name: value.shape for name, value in inputs.items()}

    def _check_inputs(self, shapes: dict[str, Any]) -> None:
        owner = type(self).__name__
        for role, steps in zip(ROLES, ("T", self.horizon, None)):
            real = getattr(self, f"num_{role}_real")
            sizes = getattr(self, f"{role}_cardinalities")
            for name, width in ((f"{role}_real", real), (f"{role}_categorical", len(sizes))):
                shape = shapes.get(name)
                if shape is None:
                    if width:
                        raise ValueError(
                            f"{owner}: expected an input {name!r} with {width} variables, "
                            f"received inputs {sorted(shapes)}."
                        )
                    continue
                axes: tuple[Any, ...] = ("B", width) if steps is None else ("B", steps, width)
                wrong = len(shape) != len(axes) or any(
                    isinstance(axis, int) and size not in (axis, None)
                    for size, axis in zip(shape, axes)
                )
                if wrong:
                    expected = ", ".join(str(axis) for axis in axes)
                    raise ValueError(
                        f"{owner}: expected {name!r} of shape ({expected}), "
                        f"received shape {tuple(shape)}."
                    )
        self._check_past(shapes)

    def _check_past(self, shapes: dict[str, Any]) -> None:
        """Raise ``ValueError`` unless all inputs of the past have one number of steps, >= 1."""
        owner = type(self).__name__
        steps = shapes["past_real"][1]
        if steps == 0:
            raise ValueError(f"{owner}: expected 'past_real' of at least one step, received none.")
        for name, letters in (("past_categorical", "(B, T, V)"), ("past_mask", "(B, T)")):
            shape = shapes.get(name)
            if shape is None:
                continue
            wrong = len(shape) != letters.count(",") + 1
            if wrong or (None not in (steps, shape[1]) and shape[1] != steps):
                raise ValueError(
                    f"{owner}: expected {name!r} of shape {letters} with the T = {steps} steps of "
                    f"'past_real', received shape {tuple(shape)}."
                )

    def compute_output_shape(self, inputs_shape: dict[str, Any]) -> tuple[int | None, ...]:
        """Return the shape of the quantiles."""
        return (inputs_shape["past_real"][0], self.horizon, len(self.quantiles))

    def compute_output_spec(
        self,
        inputs: dict[str, Any],
        training: bool | None = None,
        return_attention: bool = False,
        without: Sequence[str] = (),
    ) -> Any:
        """Return the symbolic quantiles and, on request, weights."""
        shapes = self._shapes_of(inputs)
        self._check_inputs(shapes)
        self._check_paths(without)
        found = {"quantiles": self.compute_output_shape(shapes)}
        if return_attention:
            found |= self._found_shapes(*shapes["past_real"][:2])
        specs = {name: keras.KerasTensor(shape, "float32") for name, shape in found.items()}
        return specs if return_attention else specs["quantiles"]

    def _found_shapes(self, batch: int | None, past: int | None) -> dict[str, tuple[Any, ...]]:
        """Return the shapes of what a call gives beside the quantiles."""
        axes = {"past": (past,), "future": (self.horizon,), "static": ()}
        return {
            f"{role}_selection": (batch, *axes[role], self._count(role))
            for role in ROLES
            if self._count(role)
        }

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, fit for JSON."""
        return {
            "horizon": self.horizon,
            "quantiles": list(self.quantiles),
            "hidden_size": self.hidden_size,
            "num_heads": self.num_heads,
            "dropout": self.dropout,
            "num_past_real": self.num_past_real,
            "past_cardinalities": list(self.past_cardinalities),
            "num_future_real": self.num_future_real,
            "future_cardinalities": list(self.future_cardinalities),
            "num_static_real": self.num_static_real,
            "static_cardinalities": list(self.static_cardinalities),
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        """Return a model of the configuration, with new weights."""
        return cls(**config)

    def get_build_config(self) -> dict[str, Any] | None:
        """Say whether there are weights; their shapes follow from the configuration."""
        return {"input_shape": None} if self.built else None

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Create the weights."""
        if config and not self.built:
            self.build()


@register
class GatedSkip(keras.layers.Layer):
    """``LayerNorm(skip + GLU(x))``, the paper's way around each block (equations 17, 20, 22)."""

    def __init__(self, dropout_rate: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dropout_rate = dropout_rate

    def build(self, inputs_shape: Any) -> None:
        width = inputs_shape[-1]
        self.gate = GatedLinearUnit(width, self.dropout_rate, name="gate", dtype=self.dtype_policy)
        self.gate.build(inputs_shape)
        self.gamma = self.add_weight(shape=(width,), initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=(width,), initializer="zeros", name="beta")
        self.built = True

    def call(self, inputs: Any, skip: Any, training: bool | None = None) -> Any:
        gated = self.gate(inputs, training=training)
        return layer_normalize(skip + gated, self.gamma, self.beta)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "dropout_rate": self.dropout_rate}


def embed_codes(layer: Any, role: str, inputs: dict[str, Any]) -> Any:
    """Return the embedded categories of a role, (B, T, V, D).

    With the inputs ``{role}_reference`` (codes, as ``{role}_categorical``) and ``{role}_share``
    (B, T, V) in [0, 1], what stands on the line between the embeddings of two categories: 0 is the
    reference. So a forecast has a slope also along a category, which attribution needs.
    """
    embedded = layer(inputs[f"{role}_categorical"])
    share = inputs.get(f"{role}_share")
    if share is None:
        return embedded
    reference = layer(inputs[f"{role}_reference"])
    return reference + ops.cast(share, embedded.dtype)[..., None] * (embedded - reference)


def _check_sizes(owner: str, name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    if isinstance(sizes, (str, int)):
        raise ValueError(
            f"{owner}: expected `{name}` to be a sequence of integers >= 1, received {sizes!r}."
        )
    return tuple(check_positive_int(owner, name, size) for size in sizes)
