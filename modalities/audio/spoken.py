"""What a synthesiser has read so far: sentences in many voices, on the way to a data set."""

import hashlib
import math
from dataclasses import dataclass, field

import numpy as np

from modalities.audio.config import DataConfig
from modalities.audio.decode import resampled
from modalities.audio.espeak import Synthesizer
from modalities.audio.rows import AudioSet, Phones, Rows, Sound, fingerprint
from modalities.cells import identity
from modalities.splits import split_each


@dataclass
class Spoken:
    """Readings, kept as 16-bit samples at `rate`."""

    rate: int
    synthesizer: Synthesizer = field(default_factory=Synthesizer)
    sounds: list[Sound] = field(default_factory=list)
    phones: list[Phones | None] = field(default_factory=list)
    texts: list[list[str]] = field(default_factory=list)
    labels: list[int | None] = field(default_factory=list)
    speakers: list[int | None] = field(default_factory=list)
    ids: list[int] = field(default_factory=list)
    digest: "hashlib._Hash" = field(default_factory=hashlib.sha256)
    """Of what the synthesiser gave: resampling need not agree to the last bit everywhere."""
    seconds: float = 0.0

    def read(
        self,
        text: str,
        language: str,
        voice: str,
        speaker: int,
        label: int | None = None,
        within: tuple[float, float] = (0.0, math.inf),
    ) -> None:
        """Keep `text` as `voice` reads it in `language`, if that takes so many seconds: from ... to."""
        sound, phones = self.synthesizer.speak(text, f"{language}+{voice}")
        seconds = len(sound.samples) / sound.rate
        if not within[0] <= seconds <= within[1]:
            return
        self.digest.update(sound.samples.tobytes())
        samples = resampled(sound.samples.astype(np.float32), sound.rate, self.rate)
        self.sounds.append(Sound(samples.round().clip(-32768, 32767).astype(np.int16), self.rate))
        self.phones.append(phones)
        self.texts.append([text])
        self.labels.append(label)
        self.speakers.append(speaker)
        self.ids.append(identity(f"{language}+{voice}: {text}".encode()))
        self.seconds += seconds

    def split(
        self, name: str, config: DataConfig, classes: list[str], speakers: list[str], licence: str, credit: str
    ) -> AudioSet:
        """All of it, a share of what each voice reads held out: a text is in training or held out, never both."""
        texts = np.array([identity(text[0].encode()) for text in self.texts], dtype=np.int64)
        ids = np.array(self.ids, dtype=np.int64)
        rows = Rows(self.sounds, ids, self.texts, self.labels, self.speakers, self.phones)
        voices = np.array(self.speakers, dtype=np.int64)
        sides = split_each(texts, voices, config.held_out, config.split_seed, "texts")
        train, test = (rows.select(side) for side in sides)
        return AudioSet(
            name=name,
            train=train,
            test=test,
            classes=classes,
            speakers=speakers,
            rate=config.rate,
            synthetic=True,
            licence=licence,
            credit=credit,
            fingerprint=fingerprint(train, test, [*classes, "/", *speakers], self.digest.digest()),
            counts={"hours": round(self.seconds / 3600, 2), "voices": len(speakers), "texts": len(np.unique(texts)),
                    "train": len(train), "test": len(test)},
        )  # fmt: skip
