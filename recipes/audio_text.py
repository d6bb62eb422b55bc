"""CLAP from scratch: sounds and their descriptions in one space (arXiv 2206.04769, 2211.06687).

accelerate launch recipes/audio_text.py                               # 346 recorded sounds of FoxDot, and their names
accelerate launch recipes/audio_text.py --data.source my_folder --data.rate 48000 --train.out runs/mine
accelerate launch recipes/audio_text.py clap --data.source shards     # the paper's shape, for GPUs
"""

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path

from accelerate.utils import set_seed

from evaluation.report import Row
from modalities.audio.audio_text import AudioText
from modalities.audio.audio_text_collate import SoundTextCollate
from modalities.audio.audio_text_towers import ModelConfig, build_processor, build_towers
from modalities.audio.augment import AugmentConfig
from modalities.audio.config import DataConfig
from modalities.audio.sources import load
from recipes.audio_text_baselines import before_training, classic, supervised
from recipes.audio_text_card import draw_pictures, write_card
from recipes.audio_text_measure import COLUMNS, EvalConfig, described, explain, measure, measure_retrieval
from recipes.run import Run, launch
from trainers.config import TrainConfig
from trainers.folder import digest
from trainers.hub.check import write_check
from trainers.loop import fit
from trainers.publish import publish


@dataclass(frozen=True)
class Config:
    """Options of the audio-text recipe."""

    data: DataConfig = field(default_factory=lambda: DataConfig(source="sounds"))
    augment: AugmentConfig = field(
        default_factory=lambda: AugmentConfig(
            speed=0.8, max_speed=1.2, noise=0.5, min_snr=10, gain=0.8, polarity=0.5, time_masks=1, band_masks=1
        )
    )
    model: ModelConfig = field(default_factory=ModelConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            out=Path("runs/audio-text"), batch_size=64, epochs=120, lr=2e-3, weight_decay=0.1, evaluate_every=100
        )
    )
    eval: EvalConfig = field(default_factory=EvalConfig)
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""


LAPTOP = Config()
CLAP = Config(
    data=DataConfig(source="", rate=48_000, stream=True, test_split="test", held_out=1000),
    model=ModelConfig(
        seconds=10,
        hop=480,
        patch=4,
        audio_width=96,
        audio_stages=4,
        audio_blocks=3,
        audio_heads=4,
        audio_window=8,
        text_width=768,
        text_layers=12,
        text_heads=12,
        text_length=77,
        vocabulary=30_000,
        projection=512,
    ),
    train=TrainConfig(
        out=Path("runs/clap"), batch_size=768, steps=100_000, lr=1e-4, weight_decay=0.0, workers=8,
        warmup=0.03, lanes=64, save_every=1000, evaluate_every=2000,
    ),
    eval=EvalConfig(prompts="the sound of {}.|a recording of {}."),
)  # fmt: skip
PRESETS = {"laptop": LAPTOP, "clap": CLAP}


def main(config: Config) -> None:
    """Train, measure, save; publish if asked to."""
    run = Run.begin(config, config.publish)
    with run.accelerator.main_process_first():  # one process fills the caches, the others find them
        data = load(config.data)
    run.say(f"{data.name}: {data.counts}")
    processor = build_processor(config.model, data.rate, described(data))
    collate = SoundTextCollate(processor, config.model.text_length, config.data.max_bad)
    set_seed(config.train.seed)
    task = AudioText(build_towers(config.model, processor), processor, config.augment)
    identity = {
        "model": asdict(config.model),
        "augment": asdict(config.augment),
        "data": data.fingerprint,
        "tokenizer": digest(processor.tokenizer.get_vocab()),
    }
    task = fit(
        task, data.train, collate, config.train, lambda task, _: measure_retrieval(task, collate, data), identity
    )
    bound = supervised(data, task, collate, config.model, config.train, config.eval, run.accelerator.num_processes)
    if not run.main:
        return

    task.save(run.out / "model")
    some = collate([data.test[i] for i in range(min(8, len(data.test)))])
    inputs = {name: some[name] for name in ("input_ids", "attention_mask")}
    inputs["input_features"] = task.features(some)
    write_check(run.out, task.encoder, inputs, {"model": "ClapModel", "processor": "ClapProcessor"})
    scores = measure(task, collate, data, config.eval)
    ours = Row("this run", dict(scores))
    others = before_training(data, processor, collate, config.model, config.eval, run.accelerator.device)
    others += classic(data, config.eval)
    table = run.report([*others, ours, *bound], COLUMNS, ours.name, explain(data))
    pictures = draw_pictures(run.out, task, collate, data, math.log(config.train.batch_size))
    write_card(run, task, data, table, scores, pictures)
    run.say(f"Saved {run.out / 'model'} for ClapModel.from_pretrained; pictures and card beside it.")
    if config.publish:
        publish(run.out, config.publish)


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
