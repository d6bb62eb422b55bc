"""Read speech from a synthesiser: eSpeak NG in many voices, reading news. No recorded speech that a PyPI package
carries is known; these voices are synthetic, and everything that is measured on them must say so."""

import re

import numpy as np

from modalities.audio.config import DataConfig
from modalities.audio.espeak import Synthesizer, voices
from modalities.audio.rows import AudioSet, Phones, Rows, Sound, fingerprint
from modalities.cells import identity
from modalities.draws import mix
from modalities.splits import split
from modalities.text.lee import news

LICENCE = "other"
CREDIT = (
    "Synthetic voices: eSpeak NG (GPL-3.0) reading news of the Australian Broadcasting Corporation (Lee, Pincombe and "
    "Welsh 2005, as gensim carries it; no licence stated)."
)
# Whispers have no voice and these robots no pitch: phones in them are another task.
_ODD = re.compile(r"whisper|robo|robot|Demonic|croak|Tweaky|fast|klatt", re.IGNORECASE)
_SECONDS = (1.5, 12.0)  # of a sentence


def read(config: DataConfig) -> AudioSet:
    """About `config.hours` hours: sentences of the news in turn, each read by one of `config.voices` voices, drawn by
    the sentence. A sentence is in training or held out, never both; every voice is on both sides."""
    synthesizer, wanted = Synthesizer(), config.hours * 3600
    names = _chosen(config.voices)
    sounds: list[Sound] = []
    spoken: list[Phones | None] = []
    texts: list[list[str]] = []
    speakers: list[int | None] = []
    for number, sentence in enumerate(_sentences()):
        voice = int(mix(np.array([number], dtype=np.uint64))[0] % np.uint64(len(names)))
        sound, phones = synthesizer.speak(sentence, f"en+{names[voice]}")
        seconds = len(sound.samples) / sound.rate
        if not _SECONDS[0] <= seconds <= _SECONDS[1]:
            continue
        sounds.append(sound)
        spoken.append(phones)
        texts.append([sentence])
        speakers.append(voice)
        wanted -= seconds
        if wanted <= 0:
            break
    ids = np.array([identity(text[0].encode()) for text in texts], dtype=np.int64)
    rows = Rows(sounds, ids, texts, [None] * len(sounds), speakers, spoken)
    count = int(config.held_out if config.held_out >= 1 else max(1, round(config.held_out * len(np.unique(ids)))))
    sides = split(ids, count, config.split_seed, "sentences")
    train, test = (rows.select(side) for side in sides)
    return AudioSet(
        name="speech",
        train=train,
        test=test,
        classes=[],
        speakers=names,
        rate=config.rate,
        synthetic=True,
        licence=LICENCE,
        credit=CREDIT,
        fingerprint=fingerprint(train, test, names),
        counts={"hours": round(sum(len(s.samples) / s.rate for s in sounds) / 3600, 2), "voices": len(names),
                "train": len(train), "test": len(test)},
    )  # fmt: skip


def _chosen(count: int) -> list[str]:
    """`count` voices with a natural pitch, evenly spaced over the sorted names. Raises ValueError for too many."""
    usable = [name for name in voices() if not _ODD.search(name)]
    if count > len(usable):
        raise ValueError(f"data.voices is {count}; eSpeak NG has {len(usable)} voices that are used here.")
    return [usable[i] for i in np.linspace(0, len(usable) - 1, count).round().astype(int)]


def _sentences() -> list[str]:
    """Of the news, without repeats, in the order of the stories."""
    found = (piece.strip() for row in news() for piece in re.split(r"(?<=[.?!])\s+", row["texts"][0]))
    return list(dict.fromkeys(piece for piece in found if len(piece.split()) >= 4))
