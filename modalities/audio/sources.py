"""Where recordings come from, by the name of the source."""

from modalities.audio import sounds, speech
from modalities.audio.config import DataConfig
from modalities.audio.rows import AudioSet

BUILT_IN = {"speech": speech.read, "sounds": sounds.read}


def load(config: DataConfig) -> AudioSet:
    """Reads the data that `config` names. Raises ValueError, in one sentence, where it cannot be used."""
    return BUILT_IN[config.source](config)
