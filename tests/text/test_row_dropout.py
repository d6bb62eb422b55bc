"""Dropout that belongs to rows: equal wherever a row is, different wherever two views must be."""

import pytest
import torch
from torch import Tensor, nn
from transformers import PreTrainedModel

from modalities.text.backbones import Family, ModelConfig, build_model
from modalities.text.row_dropout import DropoutDraws, RowDropout, seed_dropout
from tests.text.examples_sentences import TINY, batch, tokenizer

FAMILIES: list[Family] = ["bert", "albert", "roberta", "modernbert", "electra", "gpt2"]


def model(family: Family = "bert", seeded: bool = True) -> tuple[PreTrainedModel, DropoutDraws]:
    torch.manual_seed(0)
    found = build_model(
        ModelConfig(family=family, width=16, layers=2, heads=2, feed_forward=32, length=12, dropout=0.1), tokenizer()
    )
    return found.double().train(), seed_dropout(found, 0.1) if seeded else DropoutDraws()


def read(encoder: PreTrainedModel, draws: DropoutDraws, rows: slice, longer: int = 0) -> Tensor:
    """Hidden states of some rows, two texts each, (n, 2, t, d), with `longer` more tokens of padding."""
    given = batch(2)
    ids, mask = (nn.functional.pad(given[name][rows], (0, longer)) for name in ("input_ids", "attention_mask"))
    with draws.from_rows(given["seeds"][rows], 2):
        out = encoder(input_ids=ids.flatten(0, 1), attention_mask=mask.flatten(0, 1)).last_hidden_state
    kept: Tensor = out.unflatten(0, (-1, 2))[:, :, : ids.shape[2] - longer] * mask[:, :, : ids.shape[2] - longer, None]
    return kept


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_is_dropped_alike_beside_any_rows_and_padding(family: Family) -> None:
    encoder, draws = model(family)
    together = read(encoder, draws, slice(0, 8))
    assert (together[2:5] - read(encoder, draws, slice(2, 5))).abs().max() < 1e-12
    assert (together - read(encoder, draws, slice(0, 8), longer=0 if family == "gpt2" else 1)).abs().max() < 1e-12
    twin, none = model(family, seeded=False)  # the broken twin: torch's own dropout
    assert (read(twin, none, slice(0, 8))[2:5] - read(twin, none, slice(2, 5))).abs().max() > 1e-3


def test_a_model_without_dropout_of_hidden_states_is_refused() -> None:
    with pytest.raises(ValueError, match=r"model\.dropout 0\.1 would drop nothing, for LlamaModel has no dropout"):
        model("llama")
    encoder, _ = model("llama", seeded=False)
    draws = seed_dropout(encoder, 0.0)  # methods that need none may have it
    assert torch.equal(read(encoder, draws, slice(0, 8)), read(encoder.eval(), draws, slice(0, 8)))


def test_the_texts_of_a_row_and_every_layer_have_masks_of_their_own() -> None:
    draws, ones = DropoutDraws(), torch.ones(6, 4, 50)
    first, second = RowDropout(0.5, draws), RowDropout(0.5, draws)
    with draws.from_rows(torch.tensor([7, 8, -9]), 2):
        masks = [first(ones).view(3, 2, 200), second(ones).view(3, 2, 200), first(ones).view(3, 2, 200)]
    flat = torch.cat(masks, 1).flatten(0, 1)  # (3 rows * 6 uses, 200)
    same = (flat[:, None] == flat).float().mean(-1) - torch.eye(len(flat))
    assert same.max() < 0.7  # a half where they are unrelated
    assert set(flat.unique().tolist()) == {0.0, 2.0}
    assert abs(flat.mean() - 1) < 0.1


def test_it_drops_inside_from_rows_alone_whatever_the_mode() -> None:
    encoder, draws = model()
    ids, mask = (batch(1)[name][:, 0] for name in ("input_ids", "attention_mask"))
    plain = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
    assert torch.equal(plain, encoder.eval()(input_ids=ids, attention_mask=mask).last_hidden_state)
    with pytest.raises(RuntimeError), draws.from_rows(batch(1)["seeds"], 1):
        raise RuntimeError
    assert torch.equal(plain, encoder(input_ids=ids, attention_mask=mask).last_hidden_state)
    in_eval = read(encoder.eval(), draws, slice(0, 8))
    assert torch.equal(in_eval, read(encoder.train(), draws, slice(0, 8)))
    assert not torch.equal(in_eval[:, 0], read(encoder, DropoutDraws(), slice(0, 8))[:, 0])


def test_class_state_and_configuration_stay() -> None:
    before, _ = model(seeded=False)
    after, _ = model()
    assert type(before) is type(after) and before.config.to_dict() == after.config.to_dict()
    assert before.state_dict().keys() == after.state_dict().keys()
    assert TINY.dropout == after.config.hidden_dropout_prob
