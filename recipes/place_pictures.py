"""Pictures of places: where a ViT's class token looks, and which places an encoder holds for alike."""

from pathlib import Path

import torch
from transformers import PreTrainedModel

from evaluation.place_sheets import class_attention_sheet, segment_sheet
from modalities.pictures.batches import thumbnails
from modalities.pictures.rows import Rows
from modalities.vision.backbones import normalise
from modalities.vision.class_token import class_attention
from modalities.vision.segments import segments

_SEGMENTS = 8


def draw_places(
    out: Path, trained: PreTrainedModel, start: PreTrainedModel, shown: Rows, side: int, credit: str
) -> dict[str, str]:
    """Attention of the class token, where there is one, and segments, each beside those of the encoder before this run:
    {file: caption}.

    side: of the images in pixels, a multiple of the patches'; twice that of training gives finer maps.
    """
    images = thumbnails(shown, side)  # (n, side, side, 3)
    pixels = normalise(torch.from_numpy(images).permute(0, 3, 1, 2) / 255).to(trained.device)
    encoders = {"before training": start, "this run": trained}
    cut = {name: segments(encoder, pixels, _SEGMENTS).cpu().numpy() for name, encoder in encoders.items()}
    segment_sheet(list(images), cut, out / "segments.png", credit=credit)
    pictures = {
        "segments.png": f"Places that the features hold for alike: {_SEGMENTS} clusters over all these images, one "
        "colour each"
    }
    looks = {name: class_attention(encoder, pixels) for name, encoder in encoders.items()}
    maps = {name: found.cpu().numpy() for name, found in looks.items() if found is not None}
    if maps:
        class_attention_sheet(list(images), maps, out / "attention.png", credit=credit)
        pictures["attention.png"] = (
            "Where the class token looks in the last layer, head by head; brightest is most, by each map's own scale"
        )
    return pictures
