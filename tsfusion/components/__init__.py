"""Keras layers for time series: attention, embeddings and the parts of the TFT."""

from tsfusion.components.categorical_embedding import CategoricalEmbedding
from tsfusion.components.cross_attention import CrossAttention
from tsfusion.components.explainable_attention import ExplainableAttention
from tsfusion.components.gated_linear_unit import GatedLinearUnit
from tsfusion.components.gated_residual_network import GatedResidualNetwork
from tsfusion.components.hierarchical_attention import HierarchicalAttention
from tsfusion.components.instance_scaling import InstanceScaling
from tsfusion.components.interpretable_multi_head_attention import InterpretableMultiHeadAttention
from tsfusion.components.learned_normalization import LearnedNormalization
from tsfusion.components.memory_augmented_attention import MemoryAugmentedAttention
from tsfusion.components.multi_modal_embedding import MultiModalEmbedding
from tsfusion.components.multi_resolution_attention_fusion import MultiResolutionAttentionFusion
from tsfusion.components.patch_embedding import PatchEmbedding
from tsfusion.components.quantile_head import QuantileHead
from tsfusion.components.real_embedding import RealEmbedding
from tsfusion.components.recurrent_encoder import RecurrentEncoder
from tsfusion.components.temporal_self_attention import TemporalSelfAttention
from tsfusion.components.variable_selection import VariableSelection

__all__ = [
    "CategoricalEmbedding",
    "CrossAttention",
    "ExplainableAttention",
    "GatedLinearUnit",
    "GatedResidualNetwork",
    "HierarchicalAttention",
    "InstanceScaling",
    "InterpretableMultiHeadAttention",
    "LearnedNormalization",
    "MemoryAugmentedAttention",
    "MultiModalEmbedding",
    "MultiResolutionAttentionFusion",
    "PatchEmbedding",
    "QuantileHead",
    "RealEmbedding",
    "RecurrentEncoder",
    "TemporalSelfAttention",
    "VariableSelection",
]
