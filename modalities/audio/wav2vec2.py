"""wav2vec 2.0: Baevski et al. 2020, arXiv 2006.11477."""

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Wav2Vec2FeatureExtractor

from modalities.audio.backbones import ModelConfig, build_feature_extractor, build_model, frames_of, hop_of
from modalities.audio.codebook_watch import CodebookWatch
from modalities.audio.frame_encoder import (
    contextual,
    conv_features,
    frame_features,
    normalised,
    project,
    real_frames,
)
from modalities.audio.quantizer import gumbel, perplexity, quantise
from modalities.audio.span_masks import at, draw_negatives, hidden_first, span_mask
from modalities.audio.task import AudioTask, Panels
from modalities.audio.wav2vec2_config import Wav2Vec2Config
from modalities.task import Batch
from objectives.gather import gather, world_size
from objectives.masked_contrast import masked_contrast
from objectives.precision import full_precision

_SPANS, _NEGATIVES, _NOISE = 1, 2, 3  # streams of draws


class Wav2Vec2(AudioTask):
    """Find the code of each hidden frame among those of other hidden frames of the same recording.

    The loss is a mean over the hidden frames of all processes, so that a recording counts by them. The diversity of
    codes is that of the whole batch; the authors' code takes it of each process by itself, and depends on their number.
    """

    coupled = True  # through the codes that the batch uses

    updates: Tensor

    def __init__(self, model: ModelConfig, cfg: Wav2Vec2Config, rate: int = 16_000) -> None:
        """model: a checkpoint that it starts from brings its own codebook, temperature and number of negatives."""
        super().__init__()
        self.cfg, self.rate = cfg, rate
        self.encoder = build_model(
            model,
            "wav2vec2",
            num_codevector_groups=cfg.groups,
            num_codevectors_per_group=cfg.codes,
            codevector_dim=cfg.code_width,
            proj_codevector_dim=cfg.target_width,
            num_negatives=cfg.negatives,
            contrastive_logits_temperature=cfg.temperature,
            diversity_loss_weight=cfg.diversity,
        )
        self.hop = hop_of(self.encoder.config) / rate
        self.register_buffer("updates", torch.zeros((), dtype=torch.int64))
        self.watch = CodebookWatch(cfg.least_codes * self.encoder.quantizer.num_groups, cfg.patience)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, ...]:
        """What `loss_from` needs to know of each row; see `compare`."""
        seeds, lengths = batch["seeds"], batch["lengths"]
        config = self.encoder.config
        mask = self.hidden(batch)
        count = mask.sum(1)
        most = max(1, int(count.max()))
        noise = None
        if self.training:
            codes = config.num_codevector_groups * config.num_codevectors_per_group
            noise = gumbel(seeds, most * codes, _NOISE).view(len(seeds), most, codes)
        negatives = draw_negatives(seeds, count, most, config.num_negatives, _NEGATIVES)
        return self.compare(batch["audio"], lengths, mask, negatives, noise)

    def hidden(self, batch: Batch) -> Tensor:
        """Which frames are hidden, (n, f) bool."""
        cfg, length = self.cfg, int(frames_of(self.encoder.config, torch.tensor(batch["audio"].shape[1])))
        return span_mask(batch["seeds"], self.frames(batch["lengths"]), length, cfg.start, cfg.span, cfg.least, _SPANS)

    def illustrate(self, batch: Batch) -> Panels:
        """What is heard, and what of it is hidden."""
        return {"heard": (batch["audio"], None), "hidden": (batch["audio"], self.hidden(batch))}

    @torch.no_grad()
    def code_use(self, batch: Batch) -> dict[str, Tensor]:
        """Codes of the frames that are hidden, group by group."""
        _, _, count, _, _, _, used = self.embed(batch)  # (n, g, v)
        groups = (used * count[:, None, None]).sum(0)  # (g, v)
        return {f"codes of group {number}": counts for number, counts in enumerate(groups, start=1)}

    def compare(
        self, audio: Tensor, lengths: Tensor, mask: Tensor, negatives: Tensor, noise: Tensor | None
    ) -> tuple[Tensor, ...]:
        """Loss, statistics and counts of each row.

        Args:
            audio: (n, t), raw.
            lengths: (n,).
            mask: (n, f) bool, the hidden frames.
            negatives: (n, m, k) long: for the i-th hidden frame of a row, which others of its hidden frames.
            noise: (n, m, g * v), see `quantise`.

        Returns:
            (n, ...) each: the mean loss and the share of right answers of the hidden frames, and their number; the mean
            square of the conv features, and the number of frames; how likely and how often each code is, (n, g, v).
        """
        base = self.encoder.wav2vec2
        features = conv_features(base, normalised(audio.to(self.dtype), lengths))  # (n, f, c)
        if features.requires_grad:
            features.register_hook(lambda gradient: gradient * self.cfg.feature_gradient)
        hidden, normed = project(base, features)
        places, real = hidden_first(mask)  # (n, m)
        hidden = torch.where(mask[:, :, None], base.masked_spec_embed.to(hidden.dtype), hidden)
        context = contextual(base, hidden, real_frames(base, lengths, mask.shape[1]))[-1]
        predicted = self.encoder.project_hid(at(context, places))  # (n, m, p)
        linear = bool(self.updates < self.cfg.continuous)
        picked = self.encoder.dropout_features(at(normed, places))
        codes = quantise(self.encoder.quantizer, picked, self.tau, noise, linear)
        target = self.encoder.project_q(codes.vectors)  # (n, m, p)
        numbers = torch.arange(places.shape[1], device=places.device)[None, :, None].expand(len(places), -1, 1)
        told_apart = numbers if linear else codes.chosen  # by what two targets are the same
        temperature = self.encoder.config.contrastive_logits_temperature
        own_loss, right = masked_contrast(predicted, target, told_apart, negatives, temperature)
        frames = self.frames(lengths)
        unpadded = torch.arange(mask.shape[1], device=frames.device) < frames[:, None]  # (n, f)
        chosen = F.one_hot(codes.chosen, codes.soft.shape[-1]).to(codes.soft)  # (n, m, g, v)
        return (
            _row_mean(own_loss, real),
            _row_mean(right, real),
            real.sum(1),
            _row_mean(_mean_square(features), unpadded),
            frames,
            _row_mean(codes.soft, real),
            _row_mean(chosen, real),
        )

    def loss_from(
        self, loss: Tensor, right: Tensor, count: Tensor, squares: Tensor, frames: Tensor, soft: Tensor, hard: Tensor
    ) -> dict[str, Tensor]:
        """From what `compare` returns; every mean is one over the rows of all processes."""
        of_hidden, of_frames = _shares(count).to(loss), _shares(frames).to(loss)  # (n,)
        likely, used = (gather(usage * of_hidden[:, None, None]).sum(0) / world_size() for usage in (soft, hard))
        in_use = perplexity(used)
        if self.training:
            self.watch.see(in_use)
        contrastive, penalty = (loss * of_hidden).sum(), (squares * of_frames).sum()
        diversity = 1 - perplexity(likely) / likely.numel()
        return {
            "loss": contrastive + self.cfg.diversity * diversity + self.cfg.penalty * penalty,
            "contrastive": contrastive,
            "accuracy": (right * of_hidden).sum(),
            "diversity": diversity,
            "penalty": penalty,
            "perplexity": in_use,
            "tau": self.tau,
        }

    def after_step(self, progress: float) -> None:
        self.updates += 1
        self.watch.after_step()

    @property
    def tau(self) -> Tensor:
        """() temperature of the Gumbel-softmax, by the number of updates made."""
        return (self.cfg.tau * self.cfg.tau_decay ** self.updates.float()).clamp(min=self.cfg.tau_end)

    def layers(self, audio: Tensor, lengths: Tensor) -> dict[str, Tensor]:
        return frame_features(self.encoder.wav2vec2, audio.to(self.dtype), lengths)

    def frames(self, lengths: Tensor) -> Tensor:
        return frames_of(self.encoder.config, lengths)

    def feature_extractor(self) -> Wav2Vec2FeatureExtractor:
        return build_feature_extractor(self.encoder.config, self.rate)


@full_precision
def _row_mean(values: Tensor, real: Tensor) -> Tensor:
    """The mean over the real ones of (n, f, ...), 0 where a row has none."""
    weights = (real / real.sum(1, keepdim=True).clamp(min=1)).to(values)  # (n, f)
    return torch.einsum("nf,nf...->n...", weights, values)


@full_precision
def _mean_square(features: Tensor) -> Tensor:
    return features.square().mean(-1)


def _shares(count: Tensor) -> Tensor:
    """What each row weighs in a mean over the frames of all processes, times the number of processes: DDP takes the
    mean of their losses."""
    return world_size() * count.double() / gather(count).sum().clamp(min=1)
