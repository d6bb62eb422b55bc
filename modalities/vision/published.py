"""What leaves the project: the encoder as `AutoModel` builds it."""

import torch
from transformers import PreTrainedModel, ViTModel


def as_auto_model(encoder: PreTrainedModel) -> PreTrainedModel:
    """The encoder itself, or a ViT without pooler on the same weights with one.

    `AutoModel` gives every ViT a pooler, and draws its weights at random where a folder holds none. The one added here
    passes the class token on: pooler_output is its tanh. Features are means over patches and do not depend on it.
    """
    if not isinstance(encoder, ViTModel) or encoder.pooler is not None:
        return encoder
    with torch.device("meta"):
        whole = ViTModel(encoder.config)
    like = encoder.layernorm.weight
    assert whole.pooler is not None
    passing = torch.eye(*whole.pooler.dense.weight.shape, dtype=like.dtype, device=like.device)
    added = {"pooler.dense.weight": passing, "pooler.dense.bias": passing.new_zeros(len(passing))}
    whole.load_state_dict(encoder.state_dict() | added, assign=True)
    return whole.train(encoder.training)
