"""The stage before: an encoder with new weights learns what its tokens are before it learns sentences."""

from dataclasses import replace
from typing import Any

from accelerate.utils import set_seed
from torch import nn
from transformers import PreTrainedTokenizerBase

from modalities.text.backbones import ModelConfig, build_model
from modalities.text.bert import Bert
from modalities.text.masking import MaskConfig, MaskedCollate
from modalities.text.packing import pack
from modalities.text.token_vectors import start_from_counts
from recipes.run import Run
from recipes.sentences_tasks import Config
from trainers.loop import fit


def pretrained(
    config: Config, texts: list[str], tokenizer: PreTrainedTokenizerBase, identity: dict[str, Any], run: Run
) -> ModelConfig:
    """Where sentences start from: `config.model`, or what `config.pretrain` makes of it with `texts`, in `pretrained/`
    of the output folder. Every process takes part."""
    stage = config.pretrain
    if config.model.start_from or not (stage.window or stage.steps):
        return config.model
    out = run.out / "pretrained"
    set_seed(config.train.seed)
    encoder = build_model(config.model, tokenizer)
    if stage.window:
        start_from_counts(encoder, tokenizer, texts, stage.window)
    if stage.steps:
        options = replace(
            config.train,
            out=out,
            steps=stage.steps,
            batch_size=stage.batch_size,
            lr=stage.lr,
            evaluate_every=0,
            micro_batch=0,
            bucket_window=0,
        )
        # The text is read once or twice: there is nothing yet for dropout to prevent.
        task = Bert(replace(config.model, dropout=0.0), tokenizer)
        _take(task.encoder.base_model, encoder)
        packed = pack(texts, tokenizer, config.model.length)
        task = fit(task, packed, MaskedCollate(tokenizer, MaskConfig()), options, identity=identity)
        _take(encoder, task.encoder.base_model.cpu())
    if run.main:
        encoder.save_pretrained(out / "model")
        tokenizer.save_pretrained(out / "model")
    run.accelerator.wait_for_everyone()
    return replace(config.model, start_from=str(out / "model"))


def _take(to: nn.Module, source: nn.Module) -> None:
    """The weights of the same model; a pooler, which one of the two may lack, stays as it is."""
    own = to.state_dict()
    to.load_state_dict(own | {name: weight for name, weight in source.state_dict().items() if name in own})
