"""The spectrogram that CLAP hears, of whole batches on their device: equal to what `ClapFeatureExtractor` makes."""

import torch
from torch import Tensor
from transformers import ClapFeatureExtractor

_FLOOR = 1e-10  # of the power, -100 dB


def build_extractor(rate: int, seconds: int, bands: int, hop: int, window: int) -> ClapFeatureExtractor:
    """For `seconds` of sound at `rate` samples a second: one frame of `bands` mel bands each `hop` samples, from
    windows of `window` samples.

    Shorter sounds are repeated until they fill it, longer ones cut: silence would be -100 dB, far below all else, and
    most of what the batch norm sees.
    """
    return ClapFeatureExtractor(
        feature_size=bands,
        sampling_rate=rate,
        hop_length=hop,
        max_length_s=seconds,
        fft_window_size=window,
        frequency_max=min(14_000, rate // 2),
        truncation="rand_trunc",
        padding="repeat",
    )


def spectrograms(audio: Tensor, lengths: Tensor, extractor: ClapFeatureExtractor) -> Tensor:
    """Log-mel spectrograms in decibels of `audio` (n, t), of which `lengths` (n,) samples are real: (n, 1, f, bands).

    t must be at most the extractor's length, so that nothing is left to its own random cut. Computed in fp64, as it
    does, whose quiet bands would otherwise be rounding.
    """
    total, window = extractor.nb_max_samples, extractor.fft_window_size
    if audio.shape[1] > total:
        raise ValueError(f"{audio.shape[1]} samples are longer than the {total} that the feature extractor takes.")
    samples = _fitted(audio.double(), lengths, total, extractor.padding)  # (n, total)
    hann = torch.hann_window(window, dtype=torch.float64, device=audio.device)
    spectrum = torch.stft(
        samples, window, extractor.hop_length, window=hann, center=True, pad_mode="reflect", return_complex=True
    )  # (n, window / 2 + 1, f)
    power = spectrum.real.square() + spectrum.imag.square()
    filters = torch.from_numpy(extractor.mel_filters_slaney).to(power)  # (window / 2 + 1, bands)
    mel = (power.transpose(1, 2) @ filters).clamp(min=_FLOOR)  # (n, f, bands)
    return (10 * mel.log10())[:, None].to(audio.dtype)


def _fitted(audio: Tensor, lengths: Tensor, total: int, padding: str) -> Tensor:
    """Each sound as often as it fits whole ("repeatpad"), as often as it takes ("repeat") or once ("pad"), and then
    silence: (n, total)."""
    place = torch.arange(total, device=audio.device)  # (total,)
    lengths = lengths[:, None]
    filled = {"repeatpad": total // lengths * lengths, "repeat": torch.full_like(lengths, total), "pad": lengths}
    return audio.gather(1, place % lengths).masked_fill(place >= filled[padding], 0.0)
