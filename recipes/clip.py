"""CLIP from scratch: images and captions in one space (Radford et al. 2021, arXiv 2103.00020).

accelerate launch recipes/clip.py                               # OpenMoji drawings and their names
accelerate launch recipes/clip.py --data.source my_folder --train.out runs/mine
accelerate launch recipes/clip.py paper --data.source shards    # ViT-B/32, batch 32,768, train-*.tar and test-*.tar

The first takes five minutes on two CPU cores and finds the right one of 400 unseen drawings for half of the names (R@1
0.52; 0.002 before training); LOG.md has the rest.
"""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from accelerate.utils import set_seed

from evaluation.report import Row
from modalities.image_text.clip import Clip
from modalities.image_text.collate import PairCollate
from modalities.image_text.config import DataConfig, ViewConfig
from modalities.image_text.sources import load, sample_captions
from modalities.image_text.towers import ModelConfig, build_processor, build_towers
from recipes.clip_baselines import before_training, classic, supervised
from recipes.clip_card import draw_pictures, write_card
from recipes.clip_measure import COLUMNS, EvalConfig, explain, measure, measure_retrieval
from recipes.run import Run, launch
from trainers.config import TrainConfig
from trainers.folder import digest
from trainers.hub.check import write_check
from trainers.loop import fit
from trainers.publish import publish


@dataclass(frozen=True)
class Config:
    """Options of the CLIP recipe."""

    data: DataConfig = field(default_factory=DataConfig)
    views: ViewConfig = field(default_factory=ViewConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            out=Path("runs/clip"), batch_size=128, epochs=24, lr=1e-3, weight_decay=0.1, evaluate_every=100
        )
    )
    eval: EvalConfig = field(default_factory=EvalConfig)
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""


LAPTOP = Config()
PAPER = Config(
    data=DataConfig(source="", image_column="jpg,png", caption_column="txt", stream=True, test_split="test"),
    views=ViewConfig(shift=0.0, min_area=0.9),
    model=ModelConfig(
        image_size=224,
        patch_size=32,
        vision_width=768,
        vision_layers=12,
        vision_heads=12,
        text_width=512,
        text_layers=12,
        text_heads=8,
        text_length=77,
        vocabulary=49408,
        projection=512,
    ),
    train=TrainConfig(
        out=Path("runs/clip-b32"),
        batch_size=32768,
        micro_batch=256,
        steps=400_000,
        lr=5e-4,
        weight_decay=0.2,
        warmup=0.005,
        lanes=64,
        workers=8,
        save_every=1000,
        evaluate_every=5000,
    ),
    eval=EvalConfig(prompts="a photo of a {}.|a drawing of a {}.|a picture of the {}."),
)


def main(config: Config) -> None:
    """Train, measure, save; publish if asked to."""
    run = Run.begin(config, config.publish)
    with run.accelerator.main_process_first():  # one process fills the cache of `datasets`, the others find it
        data = load(config.data, config.model.image_size)
    run.say(f"{data.name}: {data.counts}")
    processor = build_processor(config.model, sample_captions(data))
    collate = PairCollate(
        processor.tokenizer,
        processor.image_processor,
        config.model.text_length,
        **asdict(config.views),
        max_bad=config.data.max_bad,
    )
    set_seed(config.train.seed)
    task = Clip(build_towers(config.model, processor), processor, config.model.objective)
    identity = {
        "model": asdict(config.model),
        "views": asdict(config.views),
        "data": data.fingerprint,
        "tokenizer": digest(processor.tokenizer.get_vocab()),
    }
    task = fit(
        task, data.train, collate, config.train, lambda task, _: measure_retrieval(task, collate, data), identity
    )
    processes = run.accelerator.num_processes
    bound = supervised(data, collate, processor, config.model, config.train, config.eval, processes)
    if not run.main:
        return

    task.save(run.out / "model")
    some = collate([data.test[i] for i in range(min(8, len(data.test)))])
    inputs = {name: some[name] for name in ("pixel_values", "input_ids", "attention_mask")}
    write_check(
        run.out, task.encoder, inputs, {"model": type(task.encoder).__name__, "processor": type(processor).__name__}
    )
    ours = Row("this run", dict(measure(task, collate, data, config.eval)))
    others = before_training(data, processor, collate, config.model, config.eval, run.accelerator.device)
    others += classic(data, config.eval)
    table = run.report([*others, ours, *bound], COLUMNS, ours.name, explain(data))
    chance = math.log(config.train.batch_size) if config.model.objective == "clip" else None
    pictures = draw_pictures(run.out, task, collate, data, chance)
    write_card(run, task, data, table, ours.metrics, pictures)
    run.say(
        f"Saved {run.out / 'model'} for {type(task.encoder).__name__}.from_pretrained; pictures and card beside it."
    )
    if config.publish:
        publish(run.out, config.publish)


if __name__ == "__main__":
    launch(main, {"laptop": LAPTOP, "paper": PAPER}, __doc__ or "")
