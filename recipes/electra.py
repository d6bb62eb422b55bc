"""ELECTRA from scratch: tokens that a small masked language model replaced, told from original ones (Clark et al. 2020,
arXiv 2003.10555).

accelerate launch recipes/electra.py                     # as the released code hides tokens: 85 % of them
accelerate launch recipes/electra.py paper               # as the paper has it: all of them
accelerate launch recipes/electra.py --data.source my_folder --train.out runs/mine
accelerate launch recipes/electra.py small --data.source my_folder      # ELECTRA-Small, for a GPU
"""

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from accelerate.utils import set_seed
from transformers import AutoModelForPreTraining

from evaluation.report import Row
from modalities.text.backbones import ModelConfig, build_model
from modalities.text.config import DataConfig
from modalities.text.electra import PAPER, RELEASED, Electra, ElectraCollate, ElectraConfig
from modalities.text.masking import MaskConfig
from modalities.text.packing import pack
from modalities.text.sources import load
from modalities.text.tokenizer import TokenizerConfig, build_tokenizer
from recipes.electra_card import draw_pictures, write_electra_card
from recipes.electra_measure import COLUMNS, explain_replaced, replaced_tokens
from recipes.run import Run, launch
from recipes.text_baselines import before_training, classic, supervised
from recipes.text_measure import EvalConfig, as_read, explain, measure, prepare, texts_of
from trainers.config import TrainConfig
from trainers.folder import digest
from trainers.hub.check import write_check
from trainers.loop import fit
from trainers.publish import publish


@dataclass(frozen=True)
class Config:
    """Options of the ELECTRA recipe."""

    data: DataConfig = field(default_factory=lambda: DataConfig(source="bible"))
    tokenizer: TokenizerConfig = field(default_factory=lambda: TokenizerConfig(vocabulary=2000))
    model: ModelConfig = field(default_factory=lambda: ModelConfig(family="electra", length=24, dropout=0.0))
    masks: MaskConfig = RELEASED
    electra: ElectraConfig = field(default_factory=lambda: ElectraConfig(narrower=2))
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            out=Path("runs/electra"), batch_size=48, steps=3000, lr=8e-4, weight_decay=0.01, evaluate_every=300
        )
    )
    eval: EvalConfig = field(default_factory=EvalConfig)
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""


LAPTOP = Config()
PRESETS = {
    "released": LAPTOP,
    "paper": replace(LAPTOP, masks=PAPER, train=replace(LAPTOP.train, out=Path("runs/electra-paper"))),
    "small": Config(
        data=DataConfig(source=""),
        tokenizer=TokenizerConfig(vocabulary=30522),
        model=ModelConfig(family="electra", width=256, layers=12, heads=4, feed_forward=1024, length=128),
        electra=ElectraConfig(narrower=4),
        train=TrainConfig(
            out=Path("runs/electra-small"),
            batch_size=128,
            steps=1_000_000,
            lr=5e-4,
            schedule="linear",
            warmup=0.01,
            weight_decay=0.01,
            beta2=0.999,
            workers=8,
            save_every=5000,
            evaluate_every=10_000,
        ),
    ),
}


def main(config: Config) -> None:
    """Train, measure, save; publish if asked to."""
    run = Run.begin(config, config.publish)
    length = config.model.length
    with run.accelerator.main_process_first():  # one process fills the caches, the others find them
        data = load(config.data)
        probes = prepare(config.eval, data, length)
    run.say(f"{data.name}: {data.counts}")
    texts, test = texts_of(data, probes)
    options = replace(config.tokenizer, start_from=config.tokenizer.start_from or config.model.start_from)
    tokenizer = build_tokenizer(options, texts, length)
    probes = as_read(probes, tokenizer)
    packed, held_out = pack(texts, tokenizer, length), pack(test, tokenizer, length)
    run.say(f"{len(packed):,} rows of {length} tokens from {len(texts):,} documents, {packed.tokens:,} tokens in all")
    set_seed(config.train.seed)
    task = Electra(config.model, tokenizer, config.electra)
    identity = {
        "model": asdict(config.model),
        "masks": asdict(config.masks),
        "electra": asdict(config.electra),
        "data": data.fingerprint,
        "barred": digest(sorted(probes.barred)),
        "tokenizer": digest(tokenizer.get_vocab()),
    }

    def watch(task: Electra, _: int) -> dict[str, float]:
        return replaced_tokens(task, held_out, config.masks)

    task = fit(task, packed, ElectraCollate(tokenizer, config.masks), config.train, watch, identity)
    bound = supervised(config.model, tokenizer, probes, config.train, config.eval, run.accelerator.num_processes)
    if not run.main:
        return

    task.save(run.out / "model")
    inputs = tokenizer(test[:4], padding=True, truncation=True, max_length=length, return_tensors="pt")
    inputs = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    write_check(run.out, task.export(), inputs, {"model": "ElectraForPreTraining", "processor": "AutoTokenizer"})
    found, chosen = measure(task.export(), tokenizer, probes)
    found |= replaced_tokens(task, held_out, config.masks, packed)
    rare = found.pop("rare_auc", None)  # of counting, and not to be had where no held-out token was replaced
    others, layers = before_training(
        "starting checkpoint" if config.model.start_from else "random initialisation",
        lambda: build_model(config.model, tokenizer, AutoModelForPreTraining),
        tokenizer,
        probes,
        min(config.eval.seeds, 1) if config.model.start_from else config.eval.seeds,
        run.accelerator.device,
    )
    if config.eval.classic:
        others += [Row("the rarer, the likelier replaced", {"replaced_auc": rare})] if rare is not None else []
        others += classic(probes)
    note = f"{explain_replaced(found)} {explain(probes, {'this run': chosen, **layers})}".strip()
    table = run.report([*others, Row("this run", dict(found)), *bound], COLUMNS, "this run", note)
    pictures = draw_pictures(run.out, task, held_out, config.masks, data)
    write_electra_card(run, task, data, probes, f"{table}\n\n{note}", found, pictures)
    run.say(f"Saved {run.out / 'model'} for ElectraForPreTraining.from_pretrained; pictures and card beside it.")
    if config.publish:
        publish(run.out, config.publish)


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
