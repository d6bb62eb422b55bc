"""The methods of audio by name: options of each, how it is built, and what a step sees of a recording."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from modalities.audio import cpc, hubert, wav2vec2_config
from modalities.audio.augment import AugmentConfig
from modalities.audio.backbones import BASE, ModelConfig
from modalities.audio.clusters import windows
from modalities.audio.cola import COLA, COLAConfig
from modalities.audio.collate import WindowCollate
from modalities.audio.config import DataConfig
from modalities.audio.cpc import CPC, CPCConfig
from modalities.audio.hubert import Hubert, HubertConfig
from modalities.audio.multi_format import MultiFormat, MultiFormatConfig
from modalities.audio.rows import AudioSet
from modalities.audio.spectrogram_encoder import SpectrogramConfig
from modalities.audio.task import AudioTask
from modalities.audio.wav2vec2 import Wav2Vec2
from modalities.audio.wav2vec2_config import Wav2Vec2Config
from recipes.audio_measure import EvalConfig
from trainers.config import TrainConfig


@dataclass(frozen=True)
class Config:
    """Options of the audio recipe."""

    data: DataConfig = field(default_factory=DataConfig)
    seconds: float = 1.28
    """Length of the stretch of a recording that a step sees."""
    model: object = None
    """Options of the encoder, where the method shares its encoders with others."""
    augment: object = None
    """Options of augmentation, where the method augments."""
    task: object = None
    """Options of the method that was named."""
    train: TrainConfig = field(default_factory=TrainConfig)
    eval: EvalConfig = field(default_factory=EvalConfig)
    publish: str = ""
    """Push the finished model to this Hub repository (user/name), after a reload that checks it."""

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise ValueError(f"seconds is {self.seconds:g}; a stretch of a recording must be longer than 0 seconds.")


@dataclass(frozen=True)
class Method:
    """How a method is built, and what it takes of each recording."""

    build: Callable[[Config, AudioSet], AudioTask]
    """Weights come from torch's global generator."""
    stretches: int = 1
    """How many stretches of a recording a step sees: 1 makes batches of (n, t), more of (n, v, t)."""
    prepare: Callable[[AudioTask, Config, AudioSet], None] | None = None
    """What the task must see of the data before training, the same in every process: clusters, say."""


def build_cpc(config: Config, data: AudioSet) -> CPC:
    """CPC; negatives of the same speaker need speakers."""
    assert isinstance(config.task, CPCConfig)
    if config.task.negatives == "speaker" and not data.speakers:
        raise ValueError(
            f"task.negatives is speaker, but {data.name} names no speakers: set data.speaker_column, or choose window."
        )
    return CPC(config.task, data.rate)


def find_clusters(task: AudioTask, config: Config, data: AudioSet) -> None:
    """HuBERT's clusters, in stretches of training recordings."""
    assert isinstance(task, Hubert)
    count = max(1, round(60 * task.cfg.cluster_minutes / config.seconds))
    task.find_clusters(windows(data.train, build_collate(config, data), count, config.train.seed), config.train.seed)


METHODS: dict[type, Method] = {
    CPCConfig: Method(build_cpc),
    Wav2Vec2Config: Method(lambda config, data: Wav2Vec2(config.model, config.task, data.rate)),  # type: ignore[arg-type]
    HubertConfig: Method(
        lambda config, data: Hubert(config.model, config.task, data.rate),  # type: ignore[arg-type]
        prepare=find_clusters,
    ),
    COLAConfig: Method(
        lambda config, data: COLA(config.model, config.augment, config.task, config.seconds, data.rate),  # type: ignore[arg-type]
        stretches=2,
    ),
    MultiFormatConfig: Method(
        lambda config, data: MultiFormat(config.model, config.augment, config.task, config.seconds, data.rate),  # type: ignore[arg-type]
        stretches=2,
    ),
}


def preset(
    name: str,
    task: object,
    steps: int,
    data: DataConfig | None = None,
    seconds: float = 1.28,
    model: object = None,
    augment: object = None,
    eval: EvalConfig | None = None,
    **train: Any,
) -> Config:
    """Defaults of one method: a few minutes on two cores."""
    options: dict[str, Any] = {"batch_size": 16, "lr": 1e-3, "weight_decay": 0.01, "evaluate_every": max(1, steps // 5)}
    return Config(
        data=data or DataConfig(),
        seconds=seconds,
        model=model,
        augment=augment,
        task=task,
        train=TrainConfig(out=Path("runs") / name, steps=steps, **options | train),
        eval=eval or EvalConfig(),
    )


SOUNDS = DataConfig(source="sounds")
# Half of the sounds are shorter than a stretch: uncut, both views would be told apart from others by their length.
ALTERED = AugmentConfig(crop=1.0, delay=0.5, speed=0.5, noise=0.5, gain=0.5)

# What learns within minutes: short spans, continuous targets at first, and convolutions that learn as fast as the rest.
SHORT_WAV2VEC2 = Wav2Vec2Config(
    start=0.12, span=4, negatives=50, diversity=0.03, penalty=0.1, feature_gradient=1.0, tau=1.0, tau_decay=0.997,
    continuous=400,
)  # fmt: skip
SHORT_HUBERT = HubertConfig(start=0.12, span=5)
SHALLOW = ModelConfig(norm="group", width=128, layers=2, feed_forward=256, position_frames=32)
# The papers' presets are for hundreds of hours, named by --data.source, and many GPUs.
LIBRISPEECH: dict[str, Any] = {"batch_size": 360, "lr": 5e-4, "warmup": 0.08, "schedule": "linear"}

PRESETS: dict[str, Config] = {
    "cpc": preset("cpc", CPCConfig(), 800, lr=2e-3, eval=EvalConfig(supervised_steps=150, abx=True)),
    "cpc-paper": preset("cpc-paper", cpc.PAPER, 300_000, batch_size=64, lr=2e-4),
    "wav2vec2": preset("wav2vec2", SHORT_WAV2VEC2, 800, model=SHALLOW, lr=2e-3),
    "wav2vec2-paper": preset("wav2vec2-paper", wav2vec2_config.PAPER, 400_000, seconds=15.6, model=BASE, **LIBRISPEECH),
    "hubert": preset("hubert", SHORT_HUBERT, 800, model=SHALLOW, lr=2e-3, eval=EvalConfig(abx=True)),
    # Clusters what the run before it has learnt: run that one first.
    "hubert-second": preset(
        "hubert-second", replace(SHORT_HUBERT, teacher="runs/hubert/model"), 700, model=SHALLOW, lr=2e-3
    ),
    "hubert-paper": preset("hubert-paper", hubert.PAPER, 250_000, seconds=15.6, model=BASE, **LIBRISPEECH),
    "cola": preset("cola", COLAConfig(), 400, SOUNDS, 1.0, SpectrogramConfig(width=16), ALTERED, batch_size=64),
    "multi-format": preset(
        "multi-format", MultiFormatConfig(), 300, SOUNDS, 1.0, SpectrogramConfig(width=16), ALTERED, batch_size=64
    ),
}


def build_task(config: Config, data: AudioSet) -> AudioTask:
    """The task, its weights drawn from torch's global generator."""
    return METHODS[type(config.task)].build(config, data)


def with_new_weights(config: Config, data: AudioSet) -> AudioTask:
    """The task without what its encoder has learnt where `model.start_from` names a checkpoint: of the same shape."""
    task = build_task(config, data)
    if getattr(config.model, "start_from", ""):
        task.encoder.load_state_dict(type(task.encoder)(task.encoder.config).state_dict())
    return task


def prepare(task: AudioTask, config: Config, data: AudioSet) -> None:
    """Let the task look at training recordings, the same ones in every process."""
    look = METHODS[type(config.task)].prepare
    if look is not None:
        look(task, config, data)


def build_collate(config: Config, data: AudioSet) -> WindowCollate:
    """What makes batches of rows: stretches of `config.seconds`."""
    return WindowCollate(samples(config), data.rate, METHODS[type(config.task)].stretches, config.data.max_bad)


def samples(config: Config) -> int:
    """Of a stretch."""
    return round(config.seconds * config.data.rate)


def identity(config: Config, data: AudioSet) -> dict[str, Any]:
    """What decides the weights besides the training options."""
    parts = {"model": config.model, "augment": config.augment, "task": config.task}
    named = {name: None if part is None else asdict(part) for name, part in parts.items()}  # type: ignore[call-overload]
    return {
        **named,
        "method": type(config.task).__name__,
        "data": data.fingerprint,
        "rate": data.rate,
        "seconds": config.seconds,
    }
