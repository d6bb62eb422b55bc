"""lightly's parts, put together as its examples do, around copies of our encoders and heads.

Losses, the moving average and the views are lightly's; so is the way that every view is a forward pass of its own. Of
ours it takes what is not compared: encoder, heads and their initial weights.
"""

import copy
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedModel

from modalities.pictures.rows import Row
from modalities.task import Batch
from modalities.vision.backbones import pooled
from modalities.vision.class_token import whole
from modalities.vision.joint.barlow_twins import BarlowTwins
from modalities.vision.joint.byol import BYOL
from modalities.vision.joint.dino import DINO
from modalities.vision.joint.moco import MoCo
from modalities.vision.joint.simclr import SimCLR
from modalities.vision.joint.swav import SwAV
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from modalities.vision.views.pipeline import ViewConfig


class LightlyViews:
    """A collator: two large views and the small ones of every picture, (n, 2, 3, s, s) and (n, k, 3, s, s)."""

    def __init__(self, views: JointViews, images: dict[Any, npt.NDArray[np.uint8]]) -> None:
        self.images = images
        self.large = [transform_of(views.first), transform_of(views.second)]
        self.small = [transform_of(views.small)] * views.small_count

    def __call__(self, rows: list[Row], seeds: npt.NDArray[np.uint64]) -> Batch:
        """Its draws come from torch's generator; `seeds` set that once for the batch."""
        torch.manual_seed(int(seeds[0] % 2**31))
        np.random.seed(int(seeds[0] % 2**31))
        pictures = [Image.fromarray(self.images[row["id"]]) for row in rows]
        batch = {"large": torch.stack([torch.stack([view(x) for view in self.large]) for x in pictures])}
        if self.small:
            batch["small"] = torch.stack([torch.stack([view(x) for view in self.small]) for x in pictures])
        return batch


def transform_of(cfg: ViewConfig) -> Any:
    """lightly's transform with the numbers of ours."""
    from lightly.transforms.dino_transform import DINOViewTransform
    from torchvision.transforms import InterpolationMode

    half = [0.5, 0.5, 0.5]
    found = DINOViewTransform(
        crop_size=cfg.side,
        crop_scale=(cfg.min_area, cfg.max_area),
        hf_prob=cfg.flip,
        cj_prob=cfg.jitter,
        cj_strength=1.0,
        cj_bright=cfg.brightness,
        cj_contrast=cfg.contrast,
        cj_sat=cfg.saturation,
        cj_hue=cfg.hue,
        random_gray_scale=cfg.grey,
        gaussian_blur=cfg.blur,
        sigmas=(cfg.min_sigma, cfg.max_sigma),
        solarization_prob=cfg.solarise,
        normalize={"mean": half, "std": half},
    )
    if not cfg.bicubic:  # as all of lightly's transforms but this one
        found.transform.transforms[0].interpolation = InterpolationMode.BILINEAR
    return found


class Peer(nn.Module):
    """One method of lightly for `fit`: forward(batch of `LightlyViews`) -> {"loss"}."""

    coupled = True

    def __init__(self, task: JointTask) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(task.encoder)

    def views(self, batch: Batch) -> list[Tensor]:
        """(n, 3, s, s) each, the large ones first."""
        small = list(batch["small"].unbind(1)) if "small" in batch else []
        return [*batch["large"].unbind(1), *small]

    def export(self) -> PreTrainedModel:
        """What is judged."""
        return self.encoder

    def after_step(self, progress: float) -> None:
        """Nothing; methods with a teacher move it before their forward pass, as the examples do."""


class PeerSimCLR(Peer):
    """NTXentLoss."""

    def __init__(self, task: SimCLR) -> None:
        from lightly.loss import NTXentLoss

        super().__init__(task)
        self.head, self.criterion = copy.deepcopy(task.head), NTXentLoss(task.cfg.temperature)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        first, second = (self.head(pooled(self.encoder, view)) for view in self.views(batch))
        return {"loss": self.criterion(first, second)}


class PeerMoCo(Peer):
    """NTXentLoss with a memory bank; first views are queries, second ones keys."""

    def __init__(self, task: MoCo) -> None:
        from lightly.loss import NTXentLoss

        super().__init__(task)
        self.head, self.momentum = copy.deepcopy(task.head), task.cfg.momentum
        self.key_encoder, self.key_head = copy.deepcopy(task.key_encoder), copy.deepcopy(task.key_head)
        self.criterion = NTXentLoss(task.cfg.temperature, memory_bank_size=(task.cfg.queue, task.cfg.width))

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        from lightly.models.utils import update_momentum

        first, second = self.views(batch)
        if self.training:
            update_momentum(self.encoder, self.key_encoder, self.momentum)
            update_momentum(self.head, self.key_head, self.momentum)
        query = self.head(pooled(self.encoder, first))
        with torch.no_grad():
            key = self.key_head(pooled(self.key_encoder, second))
        return {"loss": self.criterion(query, key)}


class PeerBYOL(Peer):
    """NegativeCosineSimilarity, in both directions."""

    def __init__(self, task: BYOL) -> None:
        from lightly.loss import NegativeCosineSimilarity

        super().__init__(task)
        self.head, self.predictor = copy.deepcopy(task.head), copy.deepcopy(task.predictor)
        self.teacher, self.teacher_head = copy.deepcopy(task.teacher_encoder), copy.deepcopy(task.teacher_head)
        self.start, self.progress, self.criterion = task.momentum, 0.0, NegativeCosineSimilarity()

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        from lightly.models.utils import update_momentum
        from lightly.utils.scheduler import cosine_schedule

        momentum = cosine_schedule(round(1000 * self.progress), 1001, self.start, 1)
        if self.training:
            update_momentum(self.encoder, self.teacher, momentum)
            update_momentum(self.head, self.teacher_head, momentum)
        views = self.views(batch)
        predicted = [self.predictor(self.head(pooled(self.encoder, view))) for view in views]
        with torch.no_grad():
            target = [self.teacher_head(pooled(self.teacher, view)) for view in views]
        loss = self.criterion(predicted[0], target[1]) + self.criterion(predicted[1], target[0])
        return {"loss": loss}  # ours less 2: lightly's examples have half of it, which would be another learning rate

    def after_step(self, progress: float) -> None:
        self.progress = progress


class PeerBarlowTwins(Peer):
    """BarlowTwinsLoss."""

    def __init__(self, task: BarlowTwins) -> None:
        from lightly.loss import BarlowTwinsLoss

        super().__init__(task)
        self.head, self.criterion = copy.deepcopy(task.head), BarlowTwinsLoss(lambda_param=task.weight)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        first, second = (self.head(pooled(self.encoder, view)) for view in self.views(batch))
        return {"loss": self.criterion(first, second)}


class PeerSwAV(Peer):
    """SwaVLoss and SwaVPrototypes, without a queue."""

    def __init__(self, task: SwAV) -> None:
        from lightly.loss import SwaVLoss
        from lightly.models.modules import SwaVPrototypes

        super().__init__(task)
        self.head = copy.deepcopy(task.head)
        self.prototypes = SwaVPrototypes(task.cfg.width, task.cfg.prototypes).to(task.prototypes)
        self.prototypes.heads[0].weight.data.copy_(task.prototypes)
        self.prototypes.heads[0].bias.data.zero_()  # the released code of the method has none
        self.criterion = SwaVLoss(task.cfg.temperature, task.cfg.iterations, task.cfg.epsilon)
        self.rest = task.cfg.rest

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        self.prototypes.normalize()
        z = [nn.functional.normalize(self.head(pooled(self.encoder, view)), dim=1) for view in self.views(batch)]
        scores = [self.prototypes(each) for each in z]
        return {"loss": self.criterion(scores[:2], scores[2:])}

    def resting(self, progress: float) -> list[nn.Parameter]:
        return list(self.prototypes.parameters()) if progress < self.rest else []


class PeerDINO(Peer):
    """DINOLoss; the head is ours."""

    def __init__(self, task: DINO) -> None:
        from lightly.loss import DINOLoss

        super().__init__(task)
        self.head, self.cfg = copy.deepcopy(task.head), task.cfg
        self.teacher, self.teacher_head = copy.deepcopy(task.teacher), copy.deepcopy(task.teacher_head)
        self.criterion = DINOLoss(
            task.cfg.answers,
            student_temp=task.cfg.student_temperature,
            teacher_temp=task.cfg.teacher_temperature,
            center_momentum=task.cfg.centre_momentum,
        )
        self.progress, self.temperature = 0.0, task._temperature

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        from lightly.models.utils import update_momentum
        from lightly.utils.scheduler import cosine_schedule

        momentum = cosine_schedule(round(1000 * self.progress), 1001, self.cfg.momentum, 1)
        if self.training:
            update_momentum(self.encoder, self.teacher, momentum)
            update_momentum(self.head, self.teacher_head, momentum)
        views = self.views(batch)
        with torch.no_grad():
            taught = [self._scores(self.teacher, self.teacher_head, view) for view in views[:2]]
        learnt = [self._scores(self.encoder, self.head, view) for view in views]
        return {"loss": self.criterion(taught, learnt, teacher_temp=self.temperature(self.progress))}

    def export(self) -> PreTrainedModel:
        return self.teacher

    def _scores(self, encoder: Any, head: Any, view: Tensor) -> Tensor:
        scores: Tensor = head.scores(head(whole(encoder, view)))
        return scores

    def resting(self, progress: float) -> list[nn.Parameter]:
        return [self.head.directions] if progress < self.cfg.rest else []

    def after_step(self, progress: float) -> None:
        self.progress = progress


PEERS: dict[type[JointTask], type[Any]] = {
    SimCLR: PeerSimCLR,
    MoCo: PeerMoCo,
    BYOL: PeerBYOL,
    BarlowTwins: PeerBarlowTwins,
    SwAV: PeerSwAV,
    DINO: PeerDINO,
}
