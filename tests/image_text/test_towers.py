"""Towers from a config or from checkpoints, their tokenizer, and what stock classes make of them."""

import dataclasses
from pathlib import Path

import pytest
import torch
from PIL import Image
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import (
    BertConfig,
    BertModel,
    BertTokenizer,
    CLIPForImageClassification,
    CLIPModel,
    VisionTextDualEncoderModel,
    VisionTextDualEncoderProcessor,
    ViTConfig,
    ViTImageProcessorPil,
    ViTModel,
)

from modalities.image_text.clip import Clip
from modalities.image_text.collate import PairCollate
from modalities.image_text.tokenizer import train_clip_tokenizer
from modalities.image_text.towers import build_processor, build_towers
from tests.image_text.files import TINY

CAPTIONS = ["a red cat", "two blue dogs"]


def step(task: Clip, collate: PairCollate) -> torch.Tensor:
    """The loss on two pairs, after its backward."""
    batch = collate.text(CAPTIONS) | {"ids": torch.arange(2)}
    batch["pixel_values"] = collate.pixels([Image.new("RGB", (20, 16), colour) for colour in ("red", "blue")])
    loss = task(batch)["loss"]
    loss.backward()
    return loss.detach()


def test_unseen_characters_are_tokens_and_do_not_end_the_caption() -> None:
    tokenizer = train_clip_tokenizer(["red cat"] * 3, 520, 16)
    ids = tokenizer("Ünseen 猫 !", add_special_tokens=False).input_ids
    assert tokenizer.eos_token_id not in ids and tokenizer.decode(ids).replace(" ", "") == "ünseen猫!"
    # The broken twin: transformers' own training leaves unseen bytes out, and their token is the end token.
    theirs = type(tokenizer)().train_new_from_iterator(["red cat"] * 3, 520, show_progress=False)
    assert theirs.eos_token_id in theirs("Ünseen !", add_special_tokens=False).input_ids
    with pytest.raises(ValueError, match=r"model\.vocabulary is 514"):
        train_clip_tokenizer(["red cat"], 514, 16)


def test_clip_goes_on_from_a_clip(tmp_path: Path) -> None:
    processor = build_processor(TINY, CAPTIONS)
    towers = build_towers(TINY, processor)
    Clip(towers, processor).save(tmp_path / "first")
    again = dataclasses.replace(TINY, clip_from=str(tmp_path / "first"))
    reloaded = build_processor(again, [])
    other = build_towers(again, reloaded)
    assert all((a == b).all() for a, b in zip(towers.state_dict().values(), other.state_dict().values(), strict=True))
    assert step(Clip(other, reloaded), PairCollate(reloaded.tokenizer, reloaded.image_processor, 12)).isfinite()
    with pytest.raises(ValueError, match="reads at most 12 tokens"):
        build_towers(dataclasses.replace(again, text_length=13), reloaded)


def test_labels_go_on_from_a_clip(tmp_path: Path) -> None:
    processor = build_processor(TINY, CAPTIONS)
    towers = build_towers(TINY, processor)
    Clip(towers, processor).save(tmp_path / "model")
    classifier = CLIPForImageClassification.from_pretrained(tmp_path / "model", num_labels=9)
    tower = classifier.vision_model.state_dict()
    assert all((tower[name] == weight).all() for name, weight in towers.vision_model.state_dict().items())
    assert classifier(torch.zeros(1, 3, 16, 16)).logits.shape == (1, 9)


def test_towers_of_two_checkpoints(tmp_path: Path) -> None:
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    ViTModel(ViTConfig(image_size=16, patch_size=8, **shape)).save_pretrained(tmp_path / "vision")
    ViTImageProcessorPil(size={"height": 16, "width": 16}).save_pretrained(tmp_path / "vision")
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "red", "cat", "two", "blue", "dogs"]
    backend = Tokenizer(models.WordPiece({word: place for place, word in enumerate(words)}, unk_token="[UNK]"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    BertTokenizer(tokenizer_object=backend).save_pretrained(tmp_path / "text")
    BertModel(BertConfig(vocab_size=len(words), max_position_embeddings=12, **shape)).save_pretrained(tmp_path / "text")

    cfg = dataclasses.replace(TINY, vision_from=str(tmp_path / "vision"), text_from=str(tmp_path / "text"))
    processor = build_processor(cfg, [])
    task = Clip(build_towers(cfg, processor), processor)
    collate = PairCollate(processor.tokenizer, processor.image_processor, 12)
    assert step(task, collate).isfinite() and task.encoder.text_projection.weight.grad is not None
    task.save(tmp_path / "both")
    again = VisionTextDualEncoderModel.from_pretrained(tmp_path / "both")
    VisionTextDualEncoderProcessor.from_pretrained(tmp_path / "both")
    tokens = collate.text(CAPTIONS)
    with torch.inference_mode():
        ours = task.eval().encode(tokens)["text"]
        theirs = again.get_text_features(**tokens).pooler_output
    assert (ours - theirs).abs().max() < 1e-6 < (ours - ours.flip(0)).abs().max()
    with pytest.raises(ValueError, match="go together"):
        dataclasses.replace(TINY, vision_from="somewhere")


def test_new_towers_are_a_stock_clip_with_the_right_end_token(tmp_path: Path) -> None:
    processor = build_processor(TINY, CAPTIONS)
    towers = build_towers(TINY, processor)
    assert type(towers) is CLIPModel and towers.text_model.eos_token_id == processor.tokenizer.eos_token_id
    task = Clip(towers, processor).eval()
    collate = PairCollate(processor.tokenizer, processor.image_processor, 12)
    short, longer = collate.text(["a red cat"]), collate.text(["a red cat cat"])
    with torch.inference_mode():
        pooled = [task.encode(tokens)["text"] for tokens in (short, longer)]
        trimmed = task.encode({name: tensor[:, :6] for name, tensor in short.items()})["text"]
    assert (pooled[0] - trimmed).abs().max() < 1e-6, "padding after the end token changed the embedding"
    assert (pooled[0] - pooled[1]).abs().max() > 1e-4


def test_every_training_of_the_tokenizer_gives_the_same_tokens() -> None:
    captions = [f"{a}{b} {c}{d}" for a in "abcdef" for b in "ghijkl" for c in "mnopqr" for d in "stuvwx"]
    ours = [train_clip_tokenizer(captions, 600, 16).get_vocab() for _ in range(4)]
    assert all(vocab == ours[0] for vocab in ours)
    # The broken twin: ties between merges are broken by the order of a hash map.
    blank = type(train_clip_tokenizer(captions, 600, 16))
    theirs = [blank().train_new_from_iterator(captions, 120, show_progress=False).get_vocab() for _ in range(4)]
    assert any(vocab != theirs[0] for vocab in theirs)
