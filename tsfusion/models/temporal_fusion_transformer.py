"""The Temporal Fusion Transformer as published; relies on the layers in ``components``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from tsfusion.components._base import register
from tsfusion.components.quantile_head import QuantileHead
from tsfusion.components.recurrent_encoder import RecurrentEncoder
from tsfusion.components.temporal_self_attention import TemporalSelfAttention
from tsfusion.models._network import DECILES, GatedSkip, WindowNetwork

__all__ = ["TemporalFusionTransformer"]


@register
class TemporalFusionTransformer(WindowNetwork):
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
        super().__init__(
            horizon,
            quantiles=quantiles,
            hidden_size=hidden_size,
            num_heads=num_heads,
            dropout=dropout,
            num_past_real=num_past_real,
            past_cardinalities=past_cardinalities,
            num_future_real=num_future_real,
            future_cardinalities=future_cardinalities,
            num_static_real=num_static_real,
            static_cardinalities=static_cardinalities,
            selection="published",
            **kwargs,
        )
        self.monotone_quantiles = bool(monotone_quantiles)
        self._create_static()
        self._create_temporal()

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
        self.recurrent_skip = GatedSkip(self.dropout, name="recurrent_skip", dtype=policy)
        self.enrichment = self._network("enrichment")
        self.attention = TemporalSelfAttention(
            self.hidden_size, self.num_heads, self.dropout, name="attention", dtype=policy
        )
        self.attention_skip = GatedSkip(self.dropout, name="attention_skip", dtype=policy)
        self.position_wise = self._network("position_wise")
        self.output_skip = GatedSkip(self.dropout, name="output_skip", dtype=policy)
        self.head: keras.layers.Layer
        if self.monotone_quantiles:
            self.head = QuantileHead(self.quantiles, name="head", dtype=policy)
        else:
            self.head = keras.layers.Dense(len(self.quantiles), name="head", dtype=policy)

    def build(self, input_shape: Any = None) -> None:
        """Create every weight from the configuration alone; shapes are not needed."""
        width, steps = self.hidden_size, (None, None, self.hidden_size)
        static = self._count("static") > 0
        self._build_inputs()
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
        without: Sequence[str] = (),
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
        without : sequence of {"recurrent", "static", "attention"}
            Paths to knock out: what the recurrent encoder or the static contexts carry is replaced
            by zeros; without ``"attention"``, a step looks at all that it may see alike.

        Returns
        -------
        float32 tensor (B, H, Q), or a dict of float32 tensors
        """
        self._check_inputs(self._shapes_of(inputs))
        self._check_paths(without)
        mask = inputs.get("past_mask")
        mask = None if mask is None else ops.cast(mask, "bool")
        found: dict[str, Any] = {}
        contexts = self._contexts(inputs, found, training)
        if "static" in without:
            contexts = {name: None if c is None else c * 0 for name, c in contexts.items()}
        past = self._select("past", inputs, found, contexts["selection"], mask, training)
        future = self._select("future", inputs, found, contexts["selection"], None, training)
        if future is None:
            first = past[:, :1] * 0
            future = ops.repeat(first, self.horizon, axis=1)
        features = self._recur(past, future, contexts, mask, training, without)
        outputs, scores = self._attend(features, contexts["enrichment"], mask, training, without)
        quantiles = ops.cast(self.head(outputs), "float32")
        if not return_attention:
            return quantiles
        return {"quantiles": quantiles, "attention": scores, **found}

    def _contexts(
        self, inputs: dict[str, Any], found: dict[str, Any], training: bool | None
    ) -> dict[str, Any]:
        """Return the four static contexts, (B, D) each; None where there is nothing static."""
        names = ("selection", "enrichment", "hidden", "cell")
        summary = self._select_static(inputs, found, training)
        if summary is None:
            return dict.fromkeys(names)
        networks = {name: getattr(self, f"context_{name}") for name in names}
        return {
            name: None if network is None else network(summary, training=training)
            for name, network in networks.items()
        }

    def _recur(
        self,
        past: Any,
        future: Any,
        contexts: dict[str, Any],
        mask: Any,
        training: bool | None,
        without: Sequence[str] = (),
    ) -> Any:
        """Return the temporal features of all steps, (B, T + H, D)."""
        start = None
        if contexts["hidden"] is not None:
            start = [contexts["hidden"], contexts["cell"]]
        encoded, state = self.encoder(past, initial_state=start, mask=mask)
        decoded, _ = self.decoder(future, initial_state=state)
        states = ops.concatenate([encoded, decoded], axis=1)
        if "recurrent" in without:
            states = states * 0
        return self.recurrent_skip(
            states,
            ops.concatenate([past, future], axis=1),
            training=training,
        )

    def _attend(
        self, features: Any, context: Any, mask: Any, training: bool | None,
        without: Sequence[str] = (),
    ) -> tuple[Any, Any]:  # fmt: skip
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
            uniform="attention" in without,
        )
        attended = self.attention_skip(attended, queries, training=training)
        outputs = self.position_wise(attended, training=training)
        return self.output_skip(outputs, features[:, last:], training=training), scores

    @property
    def knockouts(self) -> tuple[str, ...]:
        """The paths that there are to knock out, by the names that ``without`` takes."""
        return ("recurrent", *(("static",) if self._count("static") else ()))

    def _check_paths(self, without: Sequence[str]) -> None:
        known = ("recurrent", "static", "attention")
        if isinstance(without, str) or any(path not in known for path in without):
            raise ValueError(
                f"{type(self).__name__}: expected `without` to list some of {known}, received "
                f"{without!r}."
            )

    def _found_shapes(self, batch: int | None, past: int | None) -> dict[str, tuple[Any, ...]]:
        steps = None if past is None else past + self.horizon
        attention = (batch, self.num_heads, self.horizon, steps)
        return {"attention": attention, **super()._found_shapes(batch, past)}

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, fit for JSON."""
        return {**super().get_config(), "monotone_quantiles": self.monotone_quantiles}
