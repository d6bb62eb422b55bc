"""Encoders with new weights."""

from typing import TypeVar

from transformers import PreTrainedModel

from modalities.vision.backbones import ModelConfig
from modalities.vision.task import VisionTask

T = TypeVar("T", bound=VisionTask)


def unlearnt(task: T, model: ModelConfig) -> T:
    """The task as it was built, without what its encoders (and a teacher, which may be what it publishes) have learnt
    where `model.start_from` names a checkpoint."""
    if model.start_from:
        for part in task.children():
            if isinstance(part, PreTrainedModel):
                forget(part)
    return task


def forget(encoder: PreTrainedModel) -> None:
    """Draw its weights anew; those that no training would move, such as fixed positions, stay."""
    new = type(encoder)(encoder.config)
    fixed = {name for name, weight in new.named_parameters() if not weight.requires_grad}
    drawn, kept = new.state_dict(), encoder.state_dict()
    encoder.load_state_dict({name: value if name in fixed else drawn[name] for name, value in kept.items()})
