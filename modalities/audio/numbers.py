"""Numbers read in fourteen languages by a synthesiser: eSpeak NG in many voices. Every number is read in every language
by the same voice, so that only the language tells the classes apart. Synthetic, which everything that is measured on
them must say."""

from dataclasses import replace

import numpy as np

from modalities.audio.config import DataConfig
from modalities.audio.espeak import natural_voices
from modalities.audio.rows import AudioSet
from modalities.audio.spoken import Spoken
from modalities.draws import uniform

LICENCE = "other"
CREDIT = "Synthetic voices: eSpeak NG (GPL-3.0) reading random numbers in fourteen languages."
LANGUAGES = {"cs": "Czech", "de": "German", "en": "English", "es": "Spanish", "fi": "Finnish", "fr": "French",
             "hu": "Hungarian", "it": "Italian", "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ru": "Russian",
             "sv": "Swedish", "tr": "Turkish"}  # fmt: skip
_LOW, _HIGH = 100, 100_000


def read(config: DataConfig) -> AudioSet:
    """About `config.hours` hours: the label is the language, the speaker one of `config.voices` voices. A number is in
    training or held out, in all languages. Raises ValueError for more hours than there are numbers."""
    voices = natural_voices(config.voices)
    spoken = Spoken(config.rate)
    # From a hash, not a generator: the same numbers in every version of numpy.
    draws = uniform(np.arange(_HIGH, dtype=np.uint64), 1)[:, 0]
    for place, number in enumerate(dict.fromkeys((_LOW + draws * (_HIGH - _LOW)).astype(int).tolist())):
        voice = place % len(voices)
        for label, language in enumerate(LANGUAGES):
            spoken.read(str(number), language, voices[voice], voice, label)
        if spoken.seconds >= config.hours * 3600:
            found = spoken.split("numbers", config, list(LANGUAGES.values()), voices, LICENCE, CREDIT)
            return replace(found, label_of="language")
    raise ValueError(f"data.hours is {config.hours:g}; all numbers are read in {spoken.seconds / 3600:.0f} hours.")
