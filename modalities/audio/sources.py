"""Where recordings come from: what packages carry or a synthesiser speaks, or any table or folder."""

from pathlib import Path

from modalities.audio import numbers, sounds, speech
from modalities.audio.config import DataConfig
from modalities.audio.load import load_table
from modalities.audio.rows import AudioSet

_BUILT_IN = {"speech": speech.read, "numbers": numbers.read, "sounds": sounds.read}


def load(config: DataConfig) -> AudioSet:
    """Reads, checks and splits the data that `config` names.

    Raises ValueError, in one sentence that names what to change, for whatever cannot be read: a missing path, column
    or package, cells of the wrong type, too many unusable rows, nothing left to train on.
    """
    if not config.source:
        raise ValueError("data.source is empty: name a Hub data set, a folder or a file.")
    if config.source not in _BUILT_IN:
        return load_table(config)
    if Path(config.source).is_dir():
        raise ValueError(
            f"data.source={config.source} is data that comes with the project, and a folder here too: write "
            f"./{config.source} for the folder, or rename it."
        )
    if config.stream or config.test_split or config.subset:
        raise ValueError(
            f"data.source={config.source} is neither streamed nor split in files: drop data.stream, data.test_split "
            "and data.subset."
        )
    columns = (config.audio_column, config.text_column, config.label_column, config.speaker_column)
    if config.id_column or config.group_column or any(column != "auto" for column in columns):
        raise ValueError(f"data.source={config.source} has no columns to choose: leave the options of columns alone.")
    return _BUILT_IN[config.source](config)
