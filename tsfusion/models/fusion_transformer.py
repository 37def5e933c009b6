"""Our forecaster: two time scales, a memory and a linear skip; relies on the layers alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from tsfusion.components._base import register
from tsfusion.components._checks import check_count, check_positive_int
from tsfusion.components.categorical_embedding import CategoricalEmbedding
from tsfusion.components.hierarchical_attention import HierarchicalAttention
from tsfusion.components.memory_augmented_attention import MemoryAugmentedAttention
from tsfusion.components.patch_embedding import PatchEmbedding
from tsfusion.components.quantile_head import QuantileHead
from tsfusion.components.recurrent_encoder import RecurrentEncoder
from tsfusion.models._network import DECILES, GatedSkip, WindowNetwork, embed_codes

__all__ = ["PATHS", "FusionTransformer"]

PATHS = ("short", "long", "memory", "recurrent", "linear", "static")
_WITHOUT = (*PATHS, "attention")
# At most about this many tokens stand for the long window, however long it is.
_TOKENS = 32
# Width of a category's embedding within a patch, where it has a matrix product of its own.
_PATCH_CODE = 4


@register
class FusionTransformer(WindowNetwork):
    r"""Forecast quantiles over a horizon from a short and a long window of the past.

    The last ``short_window`` steps go at full resolution through variable selection and a
    recurrent encoder, the known future through a decoder that takes over its state. What of the
    ``long_window`` is older is cut into patches, one token each. Every step of the horizon then
    attends to both (`tsfusion.components.HierarchicalAttention`), and a linear map from the past
    target to the horizon is added to all quantiles alike:

    .. math::

        \hat y_{h,q} = \mathrm{head}_q(z_h) + \sum_t x_t L_{t,h}, \qquad
        z_h = \mathrm{GRN}(d_h + \mathrm{MHA}_s(d_h, E) + \mathrm{MHA}_l(d_h, P))

    with :math:`d_h` the decoder's features, :math:`E` those of the short window's steps,
    :math:`P` the long window's tokens, a gate at every sum. With ``memory_size`` slots the
    features of the short window also read a learned memory
    (`tsfusion.components.MemoryAugmentedAttention`).

    Inputs are those of `TemporalFusionTransformer`, with ``past_real`` of exactly ``long_window``
    steps. What is unknown has no influence on any output.

    Parameters
    ----------
    horizon : int
        Number of steps to forecast, H.
    long_window : int
        Number of past steps, T.
    short_window : int, default=None
        How many of them, counted from the end, are seen at full resolution, S; None for all, at
        most 48. Where they are all, the patches hold the same steps once more.
    patch_length : int, default=None
        Steps in a token of the long window; None for as many as give at most 32 tokens.
    memory_size : int, default=0
        Slots of the memory; 0 for none.
    quantiles : sequence of float, default=(0.1, 0.2, ..., 0.9)
        Increasing levels in (0, 1); they cannot cross.
    hidden_size : int, default=32
        Width D of everything.
    num_heads : int, default=4
        Attention heads, each of width D / num_heads.
    dropout : float, default=0.1
        Share of features dropped in training, at all steps at once.
    num_past_real, num_future_real, num_static_real : int
        Number of real variables in each role; the past has at least one, the target.
    past_cardinalities, future_cardinalities, static_cardinalities : sequence of int
        For each categorical variable in the role, the number of its codes, code 0 included.
    selection : {"light", "published"}, default="light"
        The form of `tsfusion.components.VariableSelection`.
    linear : bool, default=True
        Whether the linear map from the past target is there.
    **kwargs
        Keywords of every Keras model: ``name``, ``dtype``, ``trainable``.

    References
    ----------
    B. Lim et al., Temporal Fusion Transformers for interpretable multi-horizon time series
    forecasting, International Journal of Forecasting 37 (2021).
    Y. Nie et al., A time series is worth 64 words, ICLR 2023, for the patches.
    A. Zeng et al., Are transformers effective for time series forecasting?, AAAI 2023, for the
    linear map.

    Examples
    --------
    >>> import numpy as np
    >>> from tsfusion.models import FusionTransformer
    >>> model = FusionTransformer(
    ...     horizon=3, long_window=10, short_window=4, patch_length=5, hidden_size=8
    ... )
    >>> windows = {"past_real": np.ones((2, 10, 1), "float32")}
    >>> tuple(model(windows).shape)
    (2, 3, 9)
    >>> found = model(windows, return_attention=True)
    >>> tuple(found["short_attention"].shape), tuple(found["long_attention"].shape)
    ((2, 4, 3, 4), (2, 4, 3, 2))
    """

    def __init__(
        self,
        horizon: int,
        *,
        long_window: int,
        short_window: int | None = None,
        patch_length: int | None = None,
        memory_size: int = 0,
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
        selection: str = "light",
        linear: bool = True,
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
            selection=selection,
            **kwargs,
        )
        owner = type(self).__name__
        self.selection = selection
        self.linear = bool(linear)
        self.long_window = check_positive_int(owner, "long_window", long_window)
        if short_window is None:
            short_window = min(self.long_window, 48)
        self.short_window = check_positive_int(owner, "short_window", short_window)
        if self.short_window > self.long_window:
            raise ValueError(
                f"{owner}: expected `short_window` <= `long_window`, received "
                f"{self.short_window} and {self.long_window}."
            )
        if patch_length is None:
            patch_length = -(-self._older // _TOKENS)
        self.patch_length = check_positive_int(owner, "patch_length", patch_length)
        self.memory_size = check_count(owner, "memory_size", memory_size)
        self._create_parts()

    def _create_parts(self) -> None:
        policy, width = self.dtype_policy, self.hidden_size
        static = self._count("static") > 0
        # One map gives the contexts of the choice, the state, the cell and the enrichment.
        self.contexts = (
            keras.layers.Dense(4 * width, name="contexts", dtype=policy) if static else None
        )
        self.encoder = RecurrentEncoder(width, name="encoder", dtype=policy)
        self.decoder = RecurrentEncoder(width, name="decoder", dtype=policy)
        self.recurrent_skip = GatedSkip(self.dropout, name="recurrent_skip", dtype=policy)
        self.memory = None
        if self.memory_size:
            self.memory = MemoryAugmentedAttention(
                width, self.memory_size, self.num_heads, name="memory", dtype=policy
            )
        self.patches = PatchEmbedding(width, self.patch_length, name="patches", dtype=policy)
        self.patch_codes = None
        if self.past_cardinalities:
            self.patch_codes = CategoricalEmbedding(
                self.past_cardinalities, _PATCH_CODE, name="patch_codes", dtype=policy
            )
        self.enrichment = self._network("enrichment")
        self.attention = HierarchicalAttention(
            width,
            self.num_heads,
            key_dim=max(1, width // self.num_heads),
            name="attention",
            dtype=policy,
        )
        self.attention_skip = GatedSkip(self.dropout, name="attention_skip", dtype=policy)
        self.position_wise = self._network("position_wise")
        self.output_skip = GatedSkip(self.dropout, name="output_skip", dtype=policy)
        self.head = QuantileHead(self.quantiles, name="head", dtype=policy)

    def build(self, input_shape: Any = None) -> None:
        """Create every weight from the configuration alone; shapes are not needed."""
        width, steps = self.hidden_size, (None, None, self.hidden_size)
        self._build_inputs()
        if self.contexts is not None:
            self.contexts.build((None, width))
        self.encoder.build(steps)
        self.decoder.build(steps)
        self.recurrent_skip.build(steps)
        if self.memory is not None:
            self.memory.build(steps)
        codes = len(self.past_cardinalities)
        if self.patch_codes is not None:
            self.patch_codes.build((None, None, codes))
        self.patches.build((None, None, self.num_past_real + 1 + codes * _PATCH_CODE))
        self.enrichment.build(steps, None if self.contexts is None else (None, width))
        self.attention.build([steps, steps], steps)
        self.attention_skip.build(steps)
        self.position_wise.build(steps)
        self.output_skip.build(steps)
        self.head.build(steps)
        start = keras.initializers.RandomNormal(stddev=0.1)
        for name, size in (
            ("short", self.short_window),
            ("long", len(self.token_spans())),
            ("step", self.horizon),
        ):
            weight = self.add_weight(
                name=f"{name}_position", shape=(size, width), initializer=start
            )
            setattr(self, f"{name}_position", weight)
        self.linear_kernel = None
        if self.linear:
            self.linear_kernel = self.add_weight(
                name="linear_kernel", shape=(self.long_window, self.horizon), initializer="zeros"
            )
        self.built = True

    def token_spans(self) -> np.ndarray:
        """Return the first and one past the last step of each token of the long window, (P, 2)."""
        return self.patches.token_spans(self._older)

    @property
    def _older(self) -> int:
        """Steps that tokens cover: of the long window those before the short one, if any are."""
        return self.long_window - self.short_window or self.long_window

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
            Whether to return a dict: ``quantiles (B, H, Q)``, ``short_attention (B, N, H, S)``,
            ``long_attention (B, N, H, P)``, ``linear (B, H)`` (the share that the linear map adds
            to every quantile), with a memory ``memory_attention (B, N, S, M)``, and for each role
            that has variables, reals first, ``past_selection (B, S, V)``,
            ``future_selection (B, H, V)`` and ``static_selection (B, V)``.
        without : sequence of {"short", "long", "memory", "recurrent", "linear", "static", \
"attention"}
            Paths to knock out: what they carry is replaced by zeros. Without ``"attention"``, the
            horizon looks at all known steps of both windows alike.

        Returns
        -------
        float32 tensor (B, H, Q), or a dict of float32 tensors
        """
        self._check_inputs(self._shapes_of(inputs))
        self._check_paths(without)
        mask = inputs.get("past_mask")
        if mask is None:
            mask = ops.ones_like(inputs["past_real"][..., 0], dtype="bool")
        mask = ops.cast(mask, "bool")
        found: dict[str, Any] = {}
        choice, hidden, cell, enrichment = self._contexts(inputs, found, without, training)
        recent = {
            name: value[:, -self.short_window :]
            for name, value in inputs.items()
            if name.startswith("past_")
        }
        short_mask = mask[:, -self.short_window :]
        past = self._select("past", recent, found, choice, short_mask, training)
        future = self._select("future", inputs, found, choice, None, training)
        if future is None:
            future = ops.repeat(past[:, :1] * 0, self.horizon, axis=1)
        future = future + self.step_position
        start = None if hidden is None else [hidden, cell]
        steps = self._recur(past, future, start, short_mask, without, training)
        short, ahead = ops.split(steps, [self.short_window], axis=1)
        if self.memory is not None and "memory" not in without:
            short, found["memory_attention"] = self.memory(
                short, mask=short_mask, return_attention_scores=True
            )
        query = self.enrichment(ahead, context=enrichment, training=training)
        tokens, token_mask = self._tokens(inputs, mask)
        if "short" in without:
            short_mask = short_mask & False
        if "long" in without:
            token_mask = token_mask & False
        attended, (short_scores, long_scores) = self.attention(
            [short + self.short_position, tokens],
            query=query,
            mask=[short_mask, token_mask],
            return_attention_scores=True,
            uniform="attention" in without,
        )
        outputs = self.attention_skip(attended, query, training=training)
        outputs = self.position_wise(outputs, training=training)
        outputs = self.output_skip(outputs, ahead, training=training)
        quantiles = ops.cast(self.head(outputs), "float32")
        linear = self._linear_share(inputs, mask)
        if linear is not None and "linear" not in without:
            quantiles = quantiles + linear[:, :, None]
        if not return_attention:
            return quantiles
        if linear is not None:
            found["linear"] = linear
        return {
            "quantiles": quantiles,
            "short_attention": short_scores,
            "long_attention": long_scores,
            **found,
        }

    def _contexts(
        self, inputs: dict[str, Any], found: dict[str, Any], without: Sequence[str], training: Any
    ) -> Any:
        """Return the four static contexts, (B, D) each; None where there is nothing static."""
        summary = self._select_static(inputs, found, training)
        if summary is None:
            return None, None, None, None
        assert self.contexts is not None
        contexts = self.contexts(summary)
        if "static" in without:
            contexts = contexts * 0
        choice, *rest = ops.split(contexts, 4, axis=-1)
        return (choice, *rest)

    def _recur(
        self, past: Any, future: Any, start: Any, mask: Any, without: Sequence[str], training: Any
    ) -> Any:
        """Return the temporal features of the short window and the horizon, (B, S + H, D)."""
        encoded, state = self.encoder(past, initial_state=start, mask=mask)
        decoded, _ = self.decoder(future, initial_state=state)
        states = ops.concatenate([encoded, decoded], axis=1)
        if "recurrent" in without:
            states = states * 0
        return self.recurrent_skip(
            states, ops.concatenate([past, future], axis=1), training=training
        )

    def _tokens(self, inputs: dict[str, Any], mask: Any) -> tuple[Any, Any]:
        """Return the tokens of the long window, (B, P, D), and which of them hold anything."""
        steps = self._older
        mask = mask[:, :steps]
        reals = ops.cast(inputs["past_real"][:, :steps], self.compute_dtype)
        known = ops.logical_not(ops.isnan(reals))
        columns = [
            ops.where(known, reals, ops.cast(0, reals.dtype)),
            # An unknown target must not pass for one at the window's mean.
            ops.cast(known[..., :1], reals.dtype),
        ]
        if self.patch_codes is not None:
            older = {
                name: value[:, :steps]
                for name, value in inputs.items()
                if name.startswith("past_") and name != "past_mask"
            }
            codes = embed_codes(self.patch_codes, "past", older)
            width = len(self.past_cardinalities) * _PATCH_CODE
            columns.append(ops.reshape(codes, (-1, steps, width)))
        tokens = self.patches(ops.concatenate(columns, axis=-1), mask=mask)
        return tokens + self.long_position, self.patches.compute_mask(None, mask)

    def _linear_share(self, inputs: dict[str, Any], mask: Any) -> Any:
        """Return (B, H) what the linear map makes of the past target, float32."""
        if self.linear_kernel is None:
            return None
        target = ops.cast(inputs["past_real"][..., 0], "float32")
        known = ops.isfinite(target) & mask
        target = ops.where(known, target, ops.zeros_like(target))
        return ops.matmul(target, ops.cast(self.linear_kernel, "float32"))

    @property
    def knockouts(self) -> tuple[str, ...]:
        """The paths that there are to knock out, by the names that ``without`` takes."""
        absent = {"memory": self.memory_size == 0, "linear": not self.linear}
        absent["static"] = self._count("static") == 0
        return tuple(path for path in PATHS if not absent.get(path, False))

    def _check_paths(self, without: Sequence[str]) -> None:
        wrong = [path for path in without if path not in _WITHOUT]
        if isinstance(without, str) or wrong:
            raise ValueError(
                f"{type(self).__name__}: expected `without` to list some of {_WITHOUT}, received "
                f"{without!r}."
            )

    def _check_inputs(self, shapes: dict[str, Any]) -> None:
        super()._check_inputs(shapes)
        steps = shapes["past_real"][1]
        if steps not in (self.long_window, None):
            raise ValueError(
                f"{type(self).__name__}: expected 'past_real' of long_window={self.long_window} "
                f"steps, received {steps}."
            )

    def _found_shapes(self, batch: int | None, past: int | None) -> dict[str, tuple[Any, ...]]:
        heads, horizon = self.num_heads, self.horizon
        found = {
            "short_attention": (batch, heads, horizon, self.short_window),
            "long_attention": (batch, heads, horizon, len(self.token_spans())),
            **super()._found_shapes(batch, self.short_window),
        }
        if self.memory_size:
            found["memory_attention"] = (batch, heads, self.short_window, self.memory_size)
        if self.linear:
            found["linear"] = (batch, horizon)
        return found

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments, fit for JSON."""
        return {
            **super().get_config(),
            "long_window": self.long_window,
            "short_window": self.short_window,
            "patch_length": self.patch_length,
            "memory_size": self.memory_size,
            "selection": self.selection,
            "linear": self.linear,
        }
