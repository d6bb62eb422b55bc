"""Strided convolutions and a net that runs forwards in time: what contrastive predictive coding leaves behind.

This file travels with every checkpoint and is all that is needed to load it: `AutoModel.from_pretrained(folder,
trust_remote_code=True)`. It takes samples as the feature extractor beside it normalises them, and hears nothing ahead:
a frame depends on samples up to its own end alone, so that neither later ones nor padding can change it.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel
from transformers.modeling_outputs import Wav2Vec2BaseModelOutput

STRIDES = (5, 4, 2, 2, 2)
HOP = math.prod(STRIDES)  # samples of a frame: 160, 10 ms


class CPCModelConfig(PretrainedConfig):
    """Shape of the model."""

    model_type = "cpc"

    def __init__(
        self,
        first_width: int = 256,
        conv_width: int = 256,
        hidden_size: int = 256,
        context: str = "gru",
        num_hidden_layers: int = 1,
        num_attention_heads: int = 8,
        **kwargs: object,
    ) -> None:
        """first_width and conv_width: of the first convolution, the dearest by far, and of the others; hidden_size: of
        the context; context: "gru" or "transformer"."""
        self.first_width, self.conv_width, self.hidden_size = first_width, conv_width, hidden_size
        self.context, self.num_hidden_layers = context, num_hidden_layers
        self.num_attention_heads = num_attention_heads
        super().__init__(**kwargs)


class CPCModel(PreTrainedModel):
    """Samples to frames, and frames to what has been heard so far."""

    config_class = CPCModelConfig
    main_input_name = "input_values"

    def __init__(self, config: CPCModelConfig) -> None:
        super().__init__(config)
        widths = [1, config.first_width] + [config.conv_width] * (len(STRIDES) - 1)
        self.convolutions = nn.ModuleList(
            CausalConvolution(width, out, stride)
            for width, out, stride in zip(widths[:-1], widths[1:], STRIDES, strict=True)
        )
        self.context: nn.Module
        if config.context == "gru":
            layers = config.num_hidden_layers
            self.context = nn.GRU(config.conv_width, config.hidden_size, layers, batch_first=True)
        else:
            self.context = CausalTransformer(config)
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """As torch has it, but for the convolutions: where kernels sum to zero, the mean of what comes out of a ReLU,
        above zero and hardly changing, does not drown what changes; else training collapses at once. Some bias must be
        left to the first, or norms would blow up what is next to digital silence."""
        if isinstance(module, (nn.Conv1d, nn.LayerNorm, nn.Linear, nn.GRU)):
            module.reset_parameters()
        if isinstance(module, nn.Conv1d) and module.bias is not None:
            first = module.in_channels == 1
            nn.init.uniform_(module.bias, -0.03 * first, 0.03 * first)
            if not first:
                with torch.no_grad():
                    module.weight -= module.weight.mean(dim=(1, 2), keepdim=True)

    def forward(
        self,
        input_values: Tensor,
        attention_mask: Tensor | None = None,
        output_hidden_states: bool | None = None,
        **_: object,
    ) -> Wav2Vec2BaseModelOutput:
        """input_values (n, t): extract_features (n, f, conv_width), the frames, and last_hidden_state (n, f, d), the
        context, with f = t // 160, at least 1. attention_mask is not needed: padding comes after what is real."""
        t = input_values.shape[1]
        whole = t - t % HOP if t >= HOP else HOP
        x = F.pad(input_values, (0, whole - t))[:, :, None]  # (n, t, 1)
        for convolution in self.convolutions:
            x = convolution(x)
        if isinstance(self.context, nn.GRU):
            context, _state = self.context(x)
        else:
            context = self.context(x)
        states = (x, context) if output_hidden_states else None
        return Wav2Vec2BaseModelOutput(last_hidden_state=context, extract_features=x, hidden_states=states)


class CausalConvolution(nn.Module):
    """A convolution over two strides of time, norm over channels and ReLU: (n, t, d) -> (n, t / stride, out).

    Silence is put in front, so that the last frame ends where the input does. As the kernel is two strides long, each
    stretch of `stride` frames meets one half of it as the later part of its own frame and the other as the earlier part
    of the next: one product of matrices, without laying windows that overlap out in memory, and frames added in pairs.
    """

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.convolution = nn.Conv1d(width, out, 2 * stride, stride)
        self.norm = nn.LayerNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        """x (n, t, d), where stride divides t."""
        weight, bias, stride = self.convolution.weight, self.convolution.bias, self.convolution.stride[0]
        if x.shape[2] == 1:  # samples: so narrow that laying them out costs less than adding frames
            windows = F.pad(x[:, :, 0], (stride, 0)).unfold(1, 2 * stride, stride)  # (n, t / stride, 2 * stride)
            y = F.linear(windows, weight[:, 0], bias)
        else:
            n, t, d = x.shape
            halves = weight.unflatten(2, (2, stride)).permute(2, 0, 3, 1).flatten(2).flatten(0, 1)  # (2 out, stride d)
            earlier, later = F.linear(x.reshape(n, t // stride, stride * d), halves).chunk(2, dim=2)
            y = later + bias + F.pad(earlier[:, :-1], (0, 0, 1, 0))  # (n, t / stride, out)
        return F.relu(self.norm(y))


class CausalTransformer(nn.Module):
    """A Transformer in which frames attend to those before them: (n, f, conv_width) -> (n, f, d)."""

    def __init__(self, config: CPCModelConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.start = nn.Linear(config.conv_width, width)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                width, config.num_attention_heads, 4 * width, 0.0, F.gelu, batch_first=True, norm_first=True
            )
            for _ in range(config.num_hidden_layers)
        )
        self.end = nn.LayerNorm(width)

    def forward(self, frames: Tensor) -> Tensor:
        """frames (n, f, conv_width)."""
        f, device = frames.shape[1], frames.device
        x = self.start(frames)
        x = x + positions(f, x.shape[2], device).to(x)
        ahead = torch.ones(f, f, dtype=torch.bool, device=device).triu(1)
        for layer in self.layers:
            x = layer(x, src_mask=ahead, is_causal=True)
        end: Tensor = self.end(x)
        return end


def positions(count: int, width: int, device: torch.device) -> Tensor:
    """Sines and cosines of places (Vaswani 2017, arXiv 1706.03762): (count, width)."""
    rates = torch.exp(torch.arange(0, width, 2, device=device) * (-math.log(10_000.0) / width))  # (width / 2,)
    angles = torch.arange(count, device=device)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)


CPCModelConfig.register_for_auto_class()
CPCModel.register_for_auto_class("AutoModel")
