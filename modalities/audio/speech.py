"""Read speech from a synthesiser: eSpeak NG in many voices, reading news. No recorded speech that a PyPI package
carries is known; these voices are synthetic, and everything that is measured on them must say so."""

import re

import numpy as np

from modalities.audio.config import DataConfig
from modalities.audio.espeak import natural_voices
from modalities.audio.rows import AudioSet
from modalities.audio.spoken import Spoken
from modalities.draws import mix
from modalities.text.lee import news

LICENCE = "other"
CREDIT = (
    "Synthetic voices: eSpeak NG (GPL-3.0) reading news of the Australian Broadcasting Corporation (Lee, Pincombe and "
    "Welsh 2005, as gensim carries it; no licence stated)."
)
_SECONDS = (1.5, 12.0)  # of a sentence


def read(config: DataConfig) -> AudioSet:
    """About `config.hours` hours: sentences of the news in turn, each read by one of `config.voices` voices that is
    drawn by the sentence, then all of them again by another voice each. A sentence is in training or held out, never
    both; every voice is on both sides. Raises ValueError for more hours than all voices can read."""
    voices, sentences = natural_voices(config.voices), _sentences()
    first = mix(np.arange(len(sentences), dtype=np.uint64)) % np.uint64(len(voices))  # (sentences,)
    spoken, wanted = Spoken(config.rate), config.hours * 3600
    for place in range(len(sentences) * len(voices)):
        again, number = divmod(place, len(sentences))
        voice = (int(first[number]) + again) % len(voices)
        spoken.read(sentences[number], "en", voices[voice], voice, within=_SECONDS)
        if spoken.seconds >= wanted:
            return spoken.split("speech", config, [], voices, LICENCE, CREDIT)
    raise ValueError(
        f"data.hours is {config.hours:g}; {len(voices)} voices read all sentences in {spoken.seconds / 3600:.1f} "
        "hours: ask for fewer hours or more of data.voices."
    )


def _sentences() -> list[str]:
    """Of the news, without repeats, in the order of the stories."""
    found = (piece.strip() for row in news() for piece in re.split(r"(?<=[.?!])\s+", row["texts"][0]))
    return list(dict.fromkeys(piece for piece in found if len(piece.split()) >= 4))
