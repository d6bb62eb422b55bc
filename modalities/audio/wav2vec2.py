"""wav2vec 2.0: Baevski et al. 2020, arXiv 2006.11477."""

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from transformers import Wav2Vec2FeatureExtractor

from modalities.audio.backbones import ModelConfig, build_feature_extractor, build_model, frame_count
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
from modalities.audio.span_masks import at, hidden_first, span_mask
from modalities.audio.task import AudioTask, Panels
from modalities.draws import uniform_on_device
from modalities.task import Batch
from objectives.gather import gather, world_size
from objectives.precision import full_precision

_SPANS, _NEGATIVES, _NOISE = 1, 2, 3  # streams of draws


@dataclass(frozen=True)
class Wav2Vec2Config:
    """What is hidden, and among what the hidden is to be found; the paper's numbers but for the codebook and tau."""

    start: float = 0.065
    """Share of the frames that begin a hidden span."""
    span: int = 10
    """Frames of a span; spans may overlap, so that about half of all frames are hidden."""
    least: int = 2
    """Spans that a recording has at least."""
    negatives: int = 100
    """Other hidden frames of the recording among which each one has to be found, drawn with repeats."""
    temperature: float = 0.1
    """Divides the cosines."""
    groups: int = 2
    """Groups of codes; a target is one code of each."""
    codes: int = 64
    """Codes of a group; 320 in the paper."""
    code_width: int = 64
    """Width of the codes of all groups together; 256 (base) and 768 (large) in the paper."""
    target_width: int = 64
    """Width in which contexts and targets are compared; 256 (base) and 768 (large) in the paper."""
    diversity: float = 0.1
    """Weight of the loss that has all codes used."""
    penalty: float = 10.0
    """Weight of the mean square of the conv features."""
    feature_gradient: float = 0.1
    """Factor on the gradient that reaches the convolutions."""
    tau: float = 2.0
    """Temperature of the Gumbel-softmax at first."""
    tau_end: float = 0.5
    """Its lowest value."""
    tau_decay: float = 0.999
    """Its factor of each update; 0.999995 in the paper, whose base model learns for 400,000 updates."""
    least_codes: float = 2.0
    """Codes of a group in effect, on average, below which the codebook counts as collapsed."""
    continuous: int = 0
    """Updates at first whose targets are not codes but linear maps of the conv features (continuous targets, as in the
    paper's Table 4): new convolutions are learnt from these within minutes, from codes of their noise they are not."""
    patience: int = 200
    """Updates in a row with a collapsed codebook after which the run ends; 0 lets it go on."""

    def __post_init__(self) -> None:
        for name in ("span", "least", "negatives", "groups", "codes", "code_width", "target_width"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be at least 1.")
        for name in ("diversity", "penalty", "feature_gradient", "continuous", "patience"):
            if getattr(self, name) < 0:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must not be negative.")
        for name in ("temperature", "tau", "tau_end"):
            if getattr(self, name) <= 0:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be above 0.")
        for name in ("start", "tau_decay"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be above 0 and at most 1.")
        if self.code_width % self.groups:
            raise ValueError(f"task.code_width {self.code_width} is not a multiple of task.groups {self.groups}.")


PAPER = Wav2Vec2Config(codes=320, code_width=256, target_width=256, tau_decay=0.999995)
"""The paper's base model."""


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
        self.hop = math.prod(self.encoder.config.conv_stride) / rate
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
        negatives = draw_negatives(seeds, count, most, config.num_negatives)
        return self.compare(batch["audio"], lengths, mask, negatives, noise)

    def hidden(self, batch: Batch) -> Tensor:
        """Which frames are hidden, (n, f) bool."""
        cfg, length = self.cfg, int(frame_count(self.encoder.config, torch.tensor(batch["audio"].shape[1])))
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
        own_loss, right = contrast(predicted, target, told_apart, negatives, temperature)
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
        return frame_count(self.encoder.config, lengths)

    def feature_extractor(self) -> Wav2Vec2FeatureExtractor:
        return build_feature_extractor(self.encoder.config, self.rate)


def draw_negatives(seeds: Tensor, count: Tensor, most: int, negatives: int) -> Tensor:
    """For each of the first `count` (n,) hidden frames of a row, others of them with repeats, never itself:
    (n, most, negatives) long. A frame without others gets itself, which as a code of its own is no negative."""
    draws = uniform_on_device(seeds, most * negatives, _NEGATIVES).view(len(seeds), most, negatives)
    others = (count - 1).clamp(min=0)[:, None, None]
    found = (draws * others).long()
    own = torch.arange(most, device=seeds.device)[:, None]
    return torch.minimum(found + (found >= own), others)


@full_precision
def contrast(
    predicted: Tensor, target: Tensor, codes: Tensor, negatives: Tensor, temperature: float
) -> tuple[Tensor, Tensor]:
    """Cross-entropy of finding each frame's target among its negatives by cosine, and whether it is the nearest.

    A negative of the same codes as the target is left out of the loss; as an answer it is wrong, or a collapsed
    codebook would look like a perfect one.

    Args:
        predicted, target: (n, m, d).
        codes: (n, m, g) long.
        negatives: (n, m, k) long, places among the m.

    Returns:
        (n, m) in nats, and (n, m) zeros and ones.
    """
    cosines = F.normalize(predicted, dim=-1) @ F.normalize(target, dim=-1).transpose(1, 2)  # (n, m, m)
    same = (codes[:, :, None] == codes[:, None]).all(-1)  # (n, m, m)
    own = cosines.diagonal(dim1=1, dim2=2)[:, :, None] / temperature  # (n, m, 1)
    others = (cosines / temperature).masked_fill(same, float("-inf")).gather(2, negatives)  # (n, m, k)
    with torch.no_grad():
        right = cosines.gather(2, negatives).amax(-1) < cosines.diagonal(dim1=1, dim2=2)
    return torch.cat([own, others], dim=2).logsumexp(2) - own.squeeze(2), right.to(cosines)


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
