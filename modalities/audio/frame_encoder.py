"""The forward pass of stock wav2vec 2.0 and HuBERT models, over their own modules and weights, but faster.

What it returns is what the stock forward returns. It is faster for three reasons: activations of the convolutions lie
channels last, so that no norm has to turn them around; on the CPU the positional convolution, 128 frames long, is a
product in the frequency domain; and a mask of padding is made only where there is padding.
"""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modalities.audio.backbones import frames_of, masks_padding, samples_of
from objectives.precision import widen

_WIDE = 256  # channels, from which on a matrix product is faster than oneDNN's channels-last convolution


def normalised(audio: Tensor, lengths: Tensor) -> Tensor:
    """Each recording with zero mean and unit variance: (n, t), 0 at padding.

    `Wav2Vec2FeatureExtractor` makes the same of recordings by themselves, and of padded ones where it is to return an
    attention mask; without one, as models with a group norm have it, it takes padding for sound.
    """
    real = torch.arange(audio.shape[1], device=audio.device) < lengths[:, None]  # (n, t)
    count = lengths[:, None].to(audio)
    centred = (audio - (audio * real).sum(1, keepdim=True) / count) * real
    return centred / (centred.square().sum(1, keepdim=True) / count + 1e-7).sqrt()


def conv_features(model: Any, audio: Tensor) -> Tensor:
    """What the convolutions make of normalised audio (n, t): (n, f, c). model: Wav2Vec2Model or HubertModel.

    Audio shorter than one frame is filled up with zeros.
    """
    missing = samples_of(model.config, 1) - audio.shape[1]
    x = F.pad(audio, (0, max(0, missing)))[:, :, None]  # (n, t, 1)
    for layer in model.feature_extractor.conv_layers:
        x = _convolved(x, layer.conv)
        norm = getattr(layer, "layer_norm", None)
        if isinstance(norm, nn.GroupNorm):
            x = norm(_channels_first(x)).squeeze(2).transpose(1, 2)
        elif norm is not None:
            x = norm(x)
        x = layer.activation(x)
    return x


def real_frames(model: Any, lengths: Tensor, frames: int) -> Tensor | None:
    """Which of the `frames` are not padding, (n, f) bool; None where all are, and where the model was not made to be
    told (group norm)."""
    if not masks_padding(model.config):
        return None
    real = torch.arange(frames, device=lengths.device) < frames_of(model.config, lengths)[:, None]
    return None if bool(real.all()) else real


def contextual(model: Any, hidden: Tensor, real: Tensor | None = None) -> list[Tensor]:
    """The Transformer on projected frames (n, f, d): its input with positions, then every layer's output, each
    (n, f, d); the last one is the stock model's `last_hidden_state`.

    real: (n, f) bool, from `real_frames`; padding is hidden from the other frames.
    """
    encoder, drop = model.encoder, model.config.layerdrop if model.training else 0.0
    mask = None
    if real is not None:
        hidden = hidden * real[:, :, None]
        mask = real[:, None, None, :].expand(-1, 1, hidden.shape[1], -1)  # (n, 1, f, f)
        if model.config._attn_implementation == "eager":  # which adds its mask
            mask = torch.zeros_like(mask, dtype=hidden.dtype).masked_fill(~mask, torch.finfo(hidden.dtype).min)
    first_norm = not model.config.do_stable_layer_norm
    hidden = hidden + _positions(encoder.pos_conv_embed, hidden)
    hidden = encoder.dropout(encoder.layer_norm(hidden) if first_norm else hidden)
    states = [hidden]
    for layer in encoder.layers:
        if drop and float(torch.rand(())) < drop:
            # Left out, yet with a gradient (of zero) for each weight, which DistributedDataParallel waits for.
            hidden = hidden + 0.0 * torch.stack([weight.sum() for weight in layer.parameters()]).sum()
        else:
            found = layer(hidden, attention_mask=mask)
            hidden = found[0] if isinstance(found, tuple) else found
        states.append(hidden)
    if not first_norm:
        states[-1] = encoder.layer_norm(states[-1])
    return states


def project(model: Any, features: Tensor) -> tuple[Tensor, Tensor]:
    """Conv features (n, f, c) in the Transformer's width (n, f, d), and normalised, (n, f, c)."""
    found = model.feature_projection(features)
    return found if isinstance(found, tuple) else (found, features)


def frame_features(model: Any, audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
    """Features of every layer, from raw audio (n, t): "conv" (n, f, c), then "layer 1" ... (n, f, d).

    A model with a group norm takes means over all of `t` and is not told of padding, which changes its features: what
    shall be as published is not to be padded.
    """
    features = conv_features(model, normalised(audio, lengths))
    hidden, normed = project(model, features)
    states = contextual(model, hidden, real_frames(model, lengths, features.shape[1]))
    return {"conv": normed} | {f"layer {place}": state for place, state in enumerate(states) if place}


def _convolved(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """x (n, t, c) -> (n, f, o), without padding."""
    (kernel,), (stride,), outputs = conv.kernel_size, conv.stride, conv.out_channels
    n, t, inputs = x.shape
    if x.device.type == "cpu" and inputs >= _WIDE and kernel <= 2 * stride:
        frames = (t - kernel) // stride + 1
        taps = conv.weight.permute(2, 1, 0).reshape(kernel * inputs, outputs)
        # Windows of `stride` samples lie side by side: the first taps are one product over a view, the rest another.
        first = x[:, : frames * stride].reshape(n, frames, stride * inputs) @ taps[: stride * inputs]
        if kernel == stride:
            return first if conv.bias is None else first + conv.bias
        rest = x[:, stride:].unfold(1, kernel - stride, stride)[:, :frames]  # (n, f, c, kernel - stride)
        found = first + rest.transpose(2, 3).flatten(2) @ taps[stride * inputs :]
        return found if conv.bias is None else found + conv.bias
    weight = conv.weight.unsqueeze(2).contiguous(memory_format=torch.channels_last)  # (o, c, 1, k)
    return F.conv2d(_channels_first(x), weight, conv.bias, (1, stride)).squeeze(2).transpose(1, 2)


def _channels_first(x: Tensor) -> Tensor:
    """(n, t, c) as a picture one pixel high, (n, c, 1, t); nothing moves in memory."""
    return x.transpose(1, 2).unsqueeze(2)


def _positions(embedding: Any, hidden: Tensor) -> Tensor:
    """The positional convolution of hidden (n, f, d), and its activation."""
    if hidden.device.type != "cpu":
        found: Tensor = embedding(hidden)
        return found
    conv = embedding.conv
    with torch.autocast("cpu", enabled=False):
        wide, weight = widen(hidden), widen(conv.weight)  # (n, f, d), (d, d / groups, kernel)
        out = _correlated(wide, weight, conv.groups, conv.padding[0]) + conv.bias
    out = out.to(hidden.dtype)
    activated: Tensor = embedding.activation(out)
    return activated


def _correlated(x: Tensor, weight: Tensor, groups: int, padding: int) -> Tensor:
    """What a padded Conv1d with an even kernel and without its last frame gives: x (n, f, d) -> (n, f, o)."""
    n, frames = x.shape[:2]
    outputs, inside, kernel = weight.shape
    length = _fast_length(frames + kernel - 1)
    seen = torch.fft.rfft(x, length, dim=1).reshape(n, -1, groups, inside).permute(2, 1, 0, 3)  # (g, w, n, i)
    taps = torch.fft.rfft(weight.flip(2), length, dim=2).reshape(groups, outputs // groups, inside, -1)
    found = seen @ taps.permute(0, 3, 2, 1)  # (g, w, n, o / g)
    whole = torch.fft.irfft(found.permute(2, 1, 0, 3).reshape(n, -1, outputs), length, dim=1)
    start = kernel - 1 - padding
    return whole[:, start : start + frames]


def _fast_length(least: int) -> int:
    """The next length whose transform is fast: 2 or 3 times a power of two."""
    power = 1 << (least - 1).bit_length()
    return power * 3 // 4 if power * 3 // 4 >= least else power
