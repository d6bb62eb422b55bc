"""Models that hold a ViT and more (a decoder, a mask token): the plain ViT is published, and in a folder beside it the
whole, from which training goes on."""

from pathlib import Path
from typing import Any, TypeVar

import torch
from transformers import AutoConfig, PretrainedConfig, PreTrainedModel, ViTModel
from transformers.utils import logging

from modalities.vision.backbones import ModelConfig, plain_vit, require_image_size
from modalities.vision.task import VisionTask

_FOLDER = "pretraining"

Whole = TypeVar("Whole", bound=PreTrainedModel)


class WholeTask(VisionTask):
    """A method whose `encoder` is a whole, with the plain ViT at `encoder.vit`."""

    def export(self) -> ViTModel:
        """The plain ViT, which sees every patch, on the same weights."""
        return plain_vit(self.encoder.vit)

    def save(self, folder: Path) -> None:
        """`export()` into `folder`, and the whole, as its stock class, into `folder/pretraining`."""
        super().save(folder)
        logging.disable_progress_bar()
        self.encoder.save_pretrained(folder / _FOLDER)
        logging.enable_progress_bar()


def load_whole(kind: type[Whole], model: ModelConfig, **chosen: Any) -> Whole:
    """`model.start_from` or, where that is what was published, the whole beside it.

    Args:
        kind: the stock class of the whole.
        model: where it lies (a folder or a Hub id), and the size of images that it must be for.
        chosen: fields of its config to change.

    Raises:
        ValueError: if there is no such model in either place, or it is for images of another size.
    """
    source = model.start_from
    found = [subfolder for subfolder in ("", _FOLDER) if kind.__name__ in _architectures(source, subfolder)]
    if not found:
        raise ValueError(
            f"model.start_from {source} holds no {kind.__name__}, nor does a folder {_FOLDER} in it; give an earlier "
            "run of this task."
        )
    require_image_size(AutoConfig.from_pretrained(source, subfolder=found[0]), model)
    options = {"subfolder": found[0], "dtype": torch.float32, **chosen}
    whole, info = kind.from_pretrained(source, output_loading_info=True, **options)
    if info["missing_keys"]:
        raise ValueError(
            f"model.start_from {source} lacks {sorted(info['missing_keys'])[0]} of a {kind.__name__}; give an earlier "
            "run of this task."
        )
    return whole


def _architectures(source: str, subfolder: str) -> list[str]:
    """The stock classes whose weights lie there; none where nothing does."""
    try:
        config, _ = PretrainedConfig.get_config_dict(source, subfolder=subfolder)
    except OSError:
        if not subfolder:  # there is no such checkpoint at all
            raise
        return []
    return config.get("architectures") or []
