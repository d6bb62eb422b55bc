"""DINO: Caron et al. 2021, arXiv 2104.14294."""

import copy
import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, width_of
from modalities.vision.class_token import whole
from modalities.vision.joint.health import health
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.teacher import cosine_momentum, follow, teacher_of
from modalities.vision.joint.views import JointViews
from objectives.distillation import answer_entropy, cosine_scores, dino, next_centre, teacher_answers
from objectives.gather import all_reduce, world_size


@dataclass(frozen=True)
class DINOConfig:
    """How the student learns from its teacher. The paper's runs have 1.2 million pictures and 100 epochs or more."""

    answers: int = 256
    """Between which a picture is given one; the paper has 65,536."""
    hidden: int = 512
    """Width of the head's two hidden layers; 2048 in the paper."""
    bottleneck: int = 64
    """Width of the embeddings, whose cosines with one direction per answer are the scores; 256 in the paper."""
    student_temperature: float = 0.1
    """Divides the student's scores."""
    teacher_temperature: float = 0.04
    """Divides the teacher's, after the warm-up; lower than the student's, so that the teacher is the surer one. 0.04 by
    default in the released code, 0.07 in the paper's long runs: here that left the answers too undecided."""
    first_teacher_temperature: float = 0.04
    """At the start of the run."""
    temperature_warmup: float = 0.3
    """Share of the run in which the teacher's temperature changes linearly from the first to the last one."""
    centre_momentum: float = 0.9
    """What is kept of the centre in an update: the mean of the teacher's scores, which is taken off them."""
    momentum: float = 0.97
    """What is kept of the teacher in an update, at first; it rises to 1 along a cosine. 0.996 in the paper."""
    rest: float = 0.05
    """Share of the run in which the directions of the answers stay as they were drawn; one epoch in the paper."""

    def __post_init__(self) -> None:
        for name in ("answers", "hidden", "bottleneck"):
            least = 2 if name == "answers" else 1
            if getattr(self, name) < least:
                raise ValueError(f"task.{name} {getattr(self, name)} must be at least {least}.")
        for name in ("student_temperature", "teacher_temperature", "first_teacher_temperature"):
            if not getattr(self, name) > 0:
                raise ValueError(f"task.{name} {getattr(self, name)} must be above 0; 0.04 to 0.1 is usual.")
        for name in ("temperature_warmup", "centre_momentum", "momentum", "rest"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"task.{name} {getattr(self, name)} must lie between 0 and 1.")


class Head(nn.Module):
    """From features to embeddings, and from these to the scores of every answer."""

    def __init__(self, features: int, cfg: DINOConfig) -> None:
        super().__init__()
        widths = [features, cfg.hidden, cfg.hidden, cfg.bottleneck]
        first, *others = [nn.Linear(wide, out) for wide, out in itertools.pairwise(widths)]
        self.mlp = nn.Sequential(first, *(layer for linear in others for layer in (nn.GELU(), linear)))
        # A weight-normed layer whose lengths are fixed at 1, plainly: the length of a row has no effect.
        self.directions = nn.Parameter(torch.empty(cfg.answers, cfg.bottleneck))
        nn.init.kaiming_uniform_(self.directions, a=5**0.5)  # as a linear layer's; shorter rows would turn faster

    def forward(self, features: Tensor) -> Tensor:
        """(n, features) -> (n, bottleneck)."""
        embeddings: Tensor = self.mlp(features)
        return embeddings

    def scores(self, embeddings: Tensor) -> Tensor:
        """(..., bottleneck) -> (..., answers)."""
        return cosine_scores(embeddings, self.directions)


class DINO(JointTask):
    """Give every view the answer that a slowly following teacher gives to another, large view of the same picture.

    The teacher sees the two large views, the student all. The teacher is what is published.
    """

    coupled = True  # by the centre, which comes from all rows of a step
    multi_crop = True

    centre: Tensor
    teacher_temperature: Tensor

    def __init__(self, model: ModelConfig, views: JointViews, cfg: DINOConfig) -> None:
        super().__init__(model, views)
        self.cfg = cfg
        self.head = Head(width_of(self.encoder), cfg)
        self.teacher, self.teacher_head = teacher_of(self.encoder), teacher_of(self.head)
        self.register_buffer("centre", torch.zeros(cfg.answers))
        self.register_buffer("teacher_temperature", torch.tensor(self._temperature(0.0)))
        self._mean: Tensor | None = None  # (k,) of the teacher's scores in this step and process

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "kl" of the teacher's answers from the student's, and signs of health}; the loss of one who guesses
        is log(answers). See `answer_entropy`."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Embeddings of all views by the student, the large ones first, and of these by the teacher: (n, v, d) and
        (n, 2, d)."""
        large = self.large(batch)
        found = [self.head(whole(self.encoder, large))]  # [(2n, d)]
        if self.crops.small_count:
            found.append(self.head(whole(self.encoder, self.small(batch))))
        with torch.no_grad():
            taught = self.teacher_head(whole(self.teacher, large))  # (2n, d)
        rows = len(batch["images"])
        return torch.cat(found).unflatten(0, (-1, rows)).transpose(0, 1), taught.unflatten(0, (2, rows)).transpose(0, 1)

    def loss_from(self, student: Tensor, teacher: Tensor) -> dict[str, Tensor]:
        """The student's answers against those of the teacher to other views."""
        z = student.transpose(0, 1)  # (v, n, d)
        scores = self.head.scores(z)  # (v, n, k)
        with torch.no_grad():
            taught = self.teacher_head.scores(teacher.transpose(0, 1))  # (2, n, k)
            if self.training:
                self._mean = taught.mean((0, 1))
            answers = teacher_answers(taught, self.centre, self.teacher_temperature)
            undecided, varied = answer_entropy(answers)
        loss = dino(scores, taught, self.centre, self.cfg.student_temperature, self.teacher_temperature)
        entropy = undecided * math.log(self.cfg.answers)
        return {
            "loss": loss,
            "kl": loss.detach() - entropy,
            "teacher_entropy": undecided,
            "answer_entropy": varied,
            **health(z[0], z[1]),
        }

    @torch.no_grad()
    def after_step(self, progress: float) -> None:
        """Move the centre to what the teacher has said, the teacher to the student, and the temperature on."""
        if self._mean is not None:
            everyone = all_reduce(self._mean) / world_size()
            self.centre.copy_(next_centre(self.centre, everyone, self.cfg.centre_momentum))
            self._mean = None
        momentum = cosine_momentum(self.cfg.momentum, progress)
        follow(self.teacher, self.encoder, momentum)
        follow(self.teacher_head, self.head, momentum)
        self.teacher_temperature.fill_(self._temperature(progress))

    def resting(self, progress: float) -> Iterable[nn.Parameter]:
        """The directions of the answers, in the first share of the run."""
        return (self.head.directions,) if progress < self.cfg.rest else ()

    def diagnose(self, scalars: Mapping[str, float], progress: float) -> str:
        """See `JointTask`. The entropies of the answers say whether the run has collapsed; the deviation of embeddings
        does not, for those of a new ViT are nearly equal and take their time to part."""
        return super().diagnose({name: x for name, x in scalars.items() if name != "embedding_std"}, progress)

    def export(self) -> PreTrainedModel:
        """The teacher, as in the released code; a copy whose weights can be trained on."""
        published = copy.deepcopy(self.teacher)
        for weight, of_student in zip(published.parameters(), self.encoder.parameters(), strict=True):
            weight.requires_grad_(of_student.requires_grad)
        return published

    def _temperature(self, progress: float) -> float:
        first, last = self.cfg.first_teacher_temperature, self.cfg.teacher_temperature
        warm = self.cfg.temperature_warmup
        return last if progress >= warm else first + (last - first) * progress / warm
