"""The Temporal Fusion Transformer as published; relies on the layers in ``components``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tsfusion.components._base import register
from tsfusion.components._checks import check_positive_int, check_rate
from tsfusion.components._math import layer_normalize
from tsfusion.components.categorical_embedding import CategoricalEmbedding
from tsfusion.components.gated_linear_unit import GatedLinearUnit
from tsfusion.components.gated_residual_network import GatedResidualNetwork
from tsfusion.components.quantile_head import QuantileHead, check_levels
from tsfusion.components.real_embedding import RealEmbedding
from tsfusion.components.recurrent_encoder import RecurrentEncoder
from tsfusion.components.temporal_self_attention import TemporalSelfAttention
from tsfusion.components.variable_selection import VariableSelection

__all__ = ["TemporalFusionTransformer"]

DECILES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
ROLES = ("past", "future", "static")


@register
class TemporalFusionTransformer(keras.Model):
    """Forecast quantiles over a horizon from the past, the known future and static facts.

    The parts and their order are those of the paper: variable selection in each role, a recurrent
    encoder over the past and decoder over the known future, static enrichment, attention whose
    heads share their values, and a gate with a skip around each. Queries of the attention are the
    horizon's steps alone, for nothing else reaches the output. Two things differ: dropout masks
    are shared over time, and the quantiles cannot cross unless ``monotone_quantiles=False``.

    Inputs are a dict. Entries of width zero may be absent:

    ================== ========= =============================================================
    past_real          (B, T, V) the target first, then observed and known reals; NaN = unknown
    past_categorical   (B, T, V) integer codes, 0 = unknown
    past_mask          (B, T)    False for steps of which nothing is known; may be absent
    future_real        (B, H, V) reals known in advance; NaN = unknown
    future_categorical (B, H, V) integer codes
    static_real        (B, V)    reals of the series; NaN = unknown
    static_categorical (B, V)    integer codes
    ================== ========= =============================================================

    The result is ``(B, H, Q)`` in float32. What is unknown has selection weight 0 and no influence
    on any output; a step that is masked leaves the recurrent state alone and is not attended to.

    Parameters
    ----------
    horizon : int
        Number of steps to forecast, H.
    quantiles : sequence of float, default=(0.1, 0.2, ..., 0.9)
        Increasing levels in (0, 1).
    hidden_size : int, default=32
        Width D of everything, a multiple of ``num_heads``.
    num_heads : int, default=4
        Attention heads.
    dropout : float, default=0.1
        Share of features dropped in training.
    num_past_real, num_future_real, num_static_real : int
        Number of real variables in each role; the past has at least one, the target.
    past_cardinalities, future_cardinalities, static_cardinalities : sequence of int
        For each categorical variable in the role, the number of its codes, code 0 included.
    monotone_quantiles : bool, default=True
        Whether the quantiles are built so that they cannot cross; otherwise the paper's
        linear map.
    **kwargs
        Keywords of every Keras model: ``name``, ``dtype``, ``trainable``.

    References
    ----------
    B. Lim et al., Temporal Fusion Transformers for interpretable multi-horizon time series
    forecasting, International Journal of Forecasting 37 (2021).

    Examples
    --------
    >>> import numpy as np
    >>> from tsfusion.models import TemporalFusionTransformer
    >>> model = TemporalFusionTransformer(
    ...     horizon=3, quantiles=(0.1, 0.5, 0.9), hidden_size=8, num_future_real=2
    ... )
    >>> windows = {"past_real": np.ones((4, 10, 1)), "future_real": np.ones((4, 3, 2))}
    >>> tuple(model(windows).shape)
    (4, 3, 3)
    >>> tuple(model(windows, return_attention=True)["attention"].shape)
    (4, 4, 3, 13)
    """

    def __init__(
        self,
        horizon: int,
        *,
        quantiles: Sequence[float] = DECILES,
        hidden_size: int = 32,
        num_heads: int = 4,
        dropout: float = 0.1,
        num_past_real: int = 1,
        past_cardinalities: Sequence[int] = (),
        num_future_real: int = 0,
        future_cardinalities: Sequence[int] = (),
        num_static_real: int = 0,
        static_cardinalities: Sequence[int] = (),
        monotone_quantiles: bool = True,
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
        self.num_future_real = _check_count(owner, "num_future_real", num_future_real)
        self.num_static_real = _check_count(owner, "num_static_real", num_static_real)
        self.past_cardinalities = _check_sizes(owner, "past_cardinalities", past_cardinalities)
        self.future_cardinalities = _check_sizes(
            owner, "future_cardinalities", future_cardinalities
        )
        self.static_cardinalities = _check_sizes(
            owner, "static_cardinalities", static_cardinalities
        )
        self.monotone_quantiles = bool(monotone_quantiles)
        self._create_inputs()
        self._create_static()
        self._create_temporal()

    def _count(self, role: str) -> int:
        return getattr(self, f"num_{role}_real") + len(getattr(self, f"{role}_cardinalities"))

    @property
    def _chooses(self) -> bool:
        """Whether any selection over time has a choice that a context could steer."""
        return self._count("past") > 1 or self._count("future") > 1

    def _create_inputs(self) -> None:
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

    def _create_static(self) -> None:
        static = self._count("static") > 0
        self.context_selection = (
            self._network("context_selection") if static and self._chooses else None
        )
        self.context_enrichment = self._network("context_enrichment") if static else None
        self.context_hidden = self._network("context_hidden") if static else None
        self.context_cell = self._network("context_cell") if static else None

    def _create_temporal(self) -> None:
        policy = self.dtype_policy
        self.encoder = RecurrentEncoder(self.hidden_size, name="encoder", dtype=policy)
        self.decoder = RecurrentEncoder(self.hidden_size, name="decoder", dtype=policy)
        self.recurrent_skip = _GatedSkip(self.dropout, name="recurrent_skip", dtype=policy)
        self.enrichment = self._network("enrichment")
        self.attention = TemporalSelfAttention(
            self.hidden_size, self.num_heads, self.dropout, name="attention", dtype=policy
        )
        self.attention_skip = _GatedSkip(self.dropout, name="attention_skip", dtype=policy)
        self.position_wise = self._network("position_wise")
        self.output_skip = _GatedSkip(self.dropout, name="output_skip", dtype=policy)
        self.head: keras.layers.Layer
        if self.monotone_quantiles:
            self.head = QuantileHead(self.quantiles, name="head", dtype=policy)
        else:
            self.head = keras.layers.Dense(len(self.quantiles), name="head", dtype=policy)

    def build(self, input_shape: Any = None) -> None:
        """Create every weight from the configuration alone; shapes are not needed."""
        width, steps = self.hidden_size, (None, None, self.hidden_size)
        static = self._count("static") > 0
        for role in ROLES:
            real = getattr(self, f"num_{role}_real")
            sizes = getattr(self, f"{role}_cardinalities")
            if real:
                getattr(self, f"{role}_real_embedding").build((None, None, real))
            if sizes:
                getattr(self, f"{role}_categorical_embedding").build((None, None, len(sizes)))
            if real or sizes:
                context = (None, width) if static and role != "static" else None
                getattr(self, f"{role}_selection").build(
                    (None, None, self._count(role), width), context
                )
        for name in ("selection", "enrichment", "hidden", "cell"):
            network = getattr(self, f"context_{name}")
            if network is not None:
                network.build((None, width))
        self.encoder.build(steps)
        self.decoder.build(steps)
        self.recurrent_skip.build(steps)
        self.enrichment.build(steps, (None, width) if static else None)
        self.attention.build(steps, steps)
        self.attention_skip.build(steps)
        self.position_wise.build(steps)
        self.output_skip.build(steps)
        self.head.build(steps)
        self.built = True

    def call(
        self,
        inputs: dict[str, Any],
        training: bool | None = None,
        return_attention: bool = False,
    ) -> Any:
        """Return the quantiles and, on request, attention and selection weights.

        Parameters
        ----------
        inputs : dict of tensors
            See the class.
        training : bool, optional
            Whether to drop features.
        return_attention : bool, default=False
            Whether to return a dict: ``quantiles (B, H, Q)``, ``attention (B, N, H, T + H)``, and
            for each role that has variables, reals first, ``past_selection (B, T, V)``,
            ``future_selection (B, H, V)`` and ``static_selection (B, V)``.

        Returns
        -------
        float32 tensor (B, H, Q), or a dict of float32 tensors
        """
        self._check_inputs({name: value.shape for name, value in inputs.items()})
        mask = inputs.get("past_mask")
        mask = None if mask is None else ops.cast(mask, "bool")
        found: dict[str, Any] = {}
        contexts = self._contexts(inputs, found, training)
        past = self._select("past", inputs, found, contexts["selection"], mask, training)
        future = self._select("future", inputs, found, contexts["selection"], None, training)
        if future is None:
            first = past[:, :1] * 0
            future = ops.repeat(first, self.horizon, axis=1)
        features = self._recur(past, future, contexts, mask, training)
        outputs, scores = self._attend(features, contexts["enrichment"], mask, training)
        quantiles = ops.cast(self.head(outputs), "float32")
        if not return_attention:
            return quantiles
        return {"quantiles": quantiles, "attention": scores, **found}

    def _contexts(
        self, inputs: dict[str, Any], found: dict[str, Any], training: bool | None
    ) -> dict[str, Any]:
        """Return the four static contexts, (B, D) each; None where there is nothing static."""
        names = ("selection", "enrichment", "hidden", "cell")
        static = {
            name: value[:, None] for name, value in inputs.items() if name.startswith("static_")
        }
        summary = self._select("static", static, found, None, None, training)
        if summary is None:
            return dict.fromkeys(names)
        summary = summary[:, 0]
        found["static_selection"] = found["static_selection"][:, 0]
        networks = {name: getattr(self, f"context_{name}") for name in names}
        return {
            name: None if network is None else network(summary, training=training)
            for name, network in networks.items()
        }

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
            arguments["embedded"] = getattr(self, f"{role}_categorical_embedding")(codes)
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

    def _recur(
        self,
        past: Any,
        future: Any,
        contexts: dict[str, Any],
        mask: Any,
        training: bool | None,
    ) -> Any:
        """Return the temporal features of all steps, (B, T + H, D)."""
        start = None
        if contexts["hidden"] is not None:
            start = [contexts["hidden"], contexts["cell"]]
        encoded, state = self.encoder(past, initial_state=start, mask=mask)
        decoded, _ = self.decoder(future, initial_state=state)
        return self.recurrent_skip(
            ops.concatenate([encoded, decoded], axis=1),
            ops.concatenate([past, future], axis=1),
            training=training,
        )

    def _attend(
        self, features: Any, context: Any, mask: Any, training: bool | None
    ) -> tuple[Any, Any]:
        """Return the horizon's outputs, (B, H, D), and the scores, (B, N, H, T + H)."""
        enriched = self.enrichment(features, context=context, training=training)
        last = -self.horizon
        queries = enriched[:, last:]
        keys = None
        if mask is not None:
            ahead = ops.ones_like(features[:, last:, 0], dtype="bool")
            keys = ops.concatenate([mask, ahead], axis=1)
        attended, scores = self.attention(
            queries,
            enriched,
            key_mask=keys,
            use_causal_mask=True,
            return_attention_scores=True,
            training=training,
        )
        attended = self.attention_skip(attended, queries, training=training)
        outputs = self.position_wise(attended, training=training)
        return self.output_skip(outputs, features[:, last:], training=training), scores

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

    def compute_output_shape(self, inputs_shape: dict[str, Any]) -> tuple[int | None, ...]:
        """Return the shape of the quantiles."""
        return (inputs_shape["past_real"][0], self.horizon, len(self.quantiles))

    def compute_output_spec(
        self,
        inputs: dict[str, Any],
        training: bool | None = None,
        return_attention: bool = False,
    ) -> Any:
        """Return the symbolic quantiles and, on request, weights."""
        shapes = {name: value.shape for name, value in inputs.items()}
        self._check_inputs(shapes)
        batch, past = shapes["past_real"][:2]
        steps = None if past is None else past + self.horizon
        found: dict[str, tuple[Any, ...]] = {
            "quantiles": (batch, self.horizon, len(self.quantiles))
        }
        if return_attention:
            found["attention"] = (batch, self.num_heads, self.horizon, steps)
            for role, axes in zip(ROLES, ((past,), (self.horizon,), ())):
                if self._count(role):
                    found[f"{role}_selection"] = (batch, *axes, self._count(role))
        specs = {name: keras.KerasTensor(shape, "float32") for name, shape in found.items()}
        return specs if return_attention else specs["quantiles"]

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
            "monotone_quantiles": self.monotone_quantiles,
            "name": self.name,
            "trainable": self.trainable,
            "dtype": keras.dtype_policies.serialize(self.dtype_policy),
        }

    @classmethod
    def from_config(
        cls, config: dict[str, Any], custom_objects: Any = None
    ) -> TemporalFusionTransformer:
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
class _GatedSkip(keras.layers.Layer):
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


def _check_count(owner: str, name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 0:
        raise ValueError(f"{owner}: expected `{name}` to be an integer >= 0, received {value!r}.")
    return int(value)


def _check_sizes(owner: str, name: str, sizes: Sequence[int]) -> tuple[int, ...]:
    if isinstance(sizes, (str, int)):
        raise ValueError(
            f"{owner}: expected `{name}` to be a sequence of integers >= 1, received {sizes!r}."
        )
    return tuple(check_positive_int(owner, name, size) for size in sizes)
