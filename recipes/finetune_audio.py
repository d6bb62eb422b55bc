"""Fine-tuning on transcripts: an encoder of speech learns to spell, by CTC (arXiv 2006.11477, section 3.3).

accelerate launch recipes/finetune_audio.py    # from new weights, on synthetic speech
accelerate launch recipes/finetune_audio.py --model.start-from runs/hubert/model    # or of wav2vec2
accelerate launch recipes/finetune_audio.py --model.start-from runs/hubert/model --minutes 10    # of transcribed speech
accelerate launch recipes/finetune_audio.py --data.source my_corpus --data.text-column sentence --seconds 15

Without model.start-from the model begins from new weights, which is what the table otherwise compares with.
"""

import importlib.util
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from accelerate.utils import set_seed

from evaluation.report import Row
from modalities.audio.backbones import ModelConfig
from modalities.audio.config import DataConfig
from modalities.audio.ctc import CTC, CTCConfig
from modalities.audio.sources import load
from modalities.audio.transcripts import TranscriptCollate, build_tokenizer
from recipes.finetune_audio_card import draw_pictures, write_finetune_card
from recipes.finetune_audio_measure import COLUMNS, explain, measure, sides, some_inputs, transcripts
from recipes.run import Run, launch
from trainers.config import TrainConfig
from trainers.folder import digest
from trainers.hub.check import write_check
from trainers.loop import fit
from trainers.publish import publish


@dataclass(frozen=True)
class Config:
    """Options of the fine-tuning recipe."""

    data: DataConfig = field(default_factory=lambda: DataConfig(voices=4, hours=3.0))
    seconds: float = 6.0
    """Longer recordings are left out, for memory grows with the longest."""
    minutes: float = 0.0
    """Transcribed training audio to learn from, at most, drawn from all of it; 0 takes all."""
    model: ModelConfig = field(
        default_factory=lambda: ModelConfig(conv_width=48, width=128, layers=3, feed_forward=512, position_frames=32)
    )
    task: CTCConfig = field(default_factory=CTCConfig)
    train: TrainConfig = field(
        default_factory=lambda: TrainConfig(
            out=Path("runs/finetune-audio"),
            batch_size=2,
            steps=2000,
            lr=2e-3,
            weight_decay=0.01,
            bucket_window=32,
            evaluate_every=400,
        )
    )
    scratch: int = 1
    """With model.start_from: how often to train the same model from new weights instead, to compare."""
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise ValueError(f"seconds is {self.seconds:g}; a recording must be longer than 0 seconds.")
        if self.minutes < 0:
            raise ValueError(f"minutes is {self.minutes:g}; it must not be negative.")
        if self.scratch < 0:
            raise ValueError(f"scratch is {self.scratch}; it must not be negative.")


PRESETS = {"ctc": Config()}


def main(config: Config) -> None:
    """Train, measure, save; publish if asked to."""
    if importlib.util.find_spec("jiwer") is None:
        raise ValueError("Error rates need the package jiwer, which is not installed: pip install -e '.[audio]'.")
    run = Run.begin(config, config.publish)
    given = bool(config.model.start_from)
    with run.accelerator.main_process_first():  # one process fills the caches, the others find them
        data = load(config.data)
    run.say(f"{data.name}: {data.counts}")
    if not given:
        run.say("model.start_from is empty: the model begins from new weights, not from a pretrained one.")
    tokenizer = build_tokenizer(transcripts(data))
    set_seed(config.train.seed)
    task = CTC(config.model, tokenizer, data.rate, config.task)
    train, test = sides(task, data, config.seconds, config.minutes)
    run.say(explain(data, train, test))
    collate = TranscriptCollate(tokenizer, round(config.seconds * data.rate), data.rate, config.data.max_bad)
    identity = {
        "data": data.fingerprint,
        "seconds": config.seconds,
        "minutes": config.minutes,
        "task": asdict(config.task),
        "tokenizer": digest(tokenizer.get_vocab()),
    }

    task = fit(
        task,
        train,
        collate,
        config.train,
        lambda task, _: measure(task, test, collate)[0],
        identity | {"model": asdict(config.model)},
    )
    scores = []
    for seed in range(config.scratch if given else 0):
        set_seed(1000 + seed)
        new = CTC(config.model, tokenizer, data.rate, config.task)
        new.forget()
        again = replace(config.train, seed=1000 + seed, evaluate_every=0)
        made_by = identity | {"new weights": seed, "model": digest(shape(new))}
        name = f"new-weights-{seed}-{digest([again.identity(), made_by])[:8]}"  # other options begin another run
        new = fit(new, train, collate, replace(again, out=run.out / name), identity=made_by)
        scores.append(measure(new, test, collate)[0])
    if not run.main:
        return

    found, heard = measure(task, test, collate)
    task.save(run.out / "model")
    inputs = some_inputs(task, test)
    classes = {"model": type(task.encoder).__name__, "processor": "AutoProcessor"}
    write_check(run.out, task.encoder, inputs, classes)
    others = [Row("from new weights", {key: [each[key] for each in scores] for key in scores[0]})] if scores else []
    ours = Row("this run" if given else "this run, from new weights", dict(found))
    note = explain(data, train, test)
    table = run.report([*others, ours], COLUMNS, ours.name, note)
    pictures = draw_pictures(run.out, task, test, collate, heard, data.credit)
    write_finetune_card(run, task, data, train, f"{table}\n\n{note}", test.texts, heard, found, pictures,
                        config.model.start_from)  # fmt: skip
    run.say(f"Saved {run.out / 'model'} for {classes['model']}.from_pretrained; pictures and card beside it.")
    if config.publish:
        publish(run.out, config.publish)


def shape(task: CTC) -> dict[str, Any]:
    """The encoder's configuration, without where it came from."""
    found: dict[str, Any] = task.encoder.config.to_dict()
    return {name: value for name, value in found.items() if name not in ("_name_or_path", "transformers_version")}


if __name__ == "__main__":
    launch(main, PRESETS, __doc__ or "")
