"""Synthetic speech with exact phone times, by the library eSpeak NG that the package `espeakng-loader` carries.

eSpeak NG keeps state between utterances (noise, oscillators), so the same words sound a little different after others.
A `Synthesizer` therefore loads a copy of the library of its own, with fresh state and a fixed seed: the same calls in
the same order give the same samples, in every process.
"""

import ctypes
import re
import shutil
import tempfile
import weakref
from typing import Any

import numpy as np
import numpy.typing as npt

from modalities.audio.rows import Phones, Sound
from modalities.packages import package_folder

_SYNCHRONOUS, _UTF8, _PHONE, _END = 2, 1, 7, 0
_PHONE_EVENTS, _DO_NOT_EXIT = 0x1, 0x8000  # without data it would end the process
_SEED = 1
# Whispers have no voice and these robots no pitch: phones in them are another task.
_ODD = re.compile(r"whisper|robo|robot|Demonic|croak|Tweaky|fast|klatt", re.IGNORECASE)


class _Id(ctypes.Union):
    _fields_ = (("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8))


class _Event(ctypes.Structure):
    """espeak_EVENT of speak_lib.h."""

    _fields_ = (
        ("type", ctypes.c_int),
        ("identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    )


_CALLBACK = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


class Synthesizer:
    """Reads texts aloud. Raises ValueError where the package espeakng-loader is not installed, or lacks its data."""

    rate: int
    """Samples a second of what comes out: 22,050."""

    def __init__(self) -> None:
        folder = package_folder("espeakng_loader", "synthetic speech")
        library = next(path for path in sorted(folder.iterdir()) if path.suffix in (".so", ".dylib", ".dll"))
        copy = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, copy, ignore_errors=True)  # Windows keeps it while the library is loaded
        self._library = ctypes.CDLL(shutil.copy(library, copy))
        options = _PHONE_EVENTS | _DO_NOT_EXIT
        self.rate = self._library.espeak_Initialize(_SYNCHRONOUS, 0, str(folder).encode(), options)
        if self.rate <= 0:
            raise ValueError("eSpeak NG's data cannot be read: reinstall espeakng-loader.")
        self._library.espeak_ng_SetRandSeed(ctypes.c_long(_SEED))
        self._callback = _CALLBACK(self._collect)  # kept: the library holds a bare pointer to it
        self._library.espeak_SetSynthCallback(self._callback)
        self._pieces: list[npt.NDArray[np.int16]] = []
        self._starts: list[int] = []
        self._names: list[str] = []

    def speak(self, text: str, voice: str) -> tuple[Sound, Phones]:
        """What `voice` ("en", "en+f3", "de") says for `text`, and its phones in eSpeak's notation, stress marks off.

        Raises:
            ValueError: for a voice that does not exist.
        """
        self._pieces, self._starts, self._names = [], [], []
        if self._library.espeak_SetVoiceByName(voice.encode()) != 0:
            raise ValueError(f"eSpeak NG has no voice {voice!r}: choose a language and variant such as en+f3.")
        written = text.encode() + b"\0"
        self._library.espeak_Synth(
            written, ctypes.c_size_t(len(written)), 0, 1, 0, _UTF8, None, None
        )  # from character 0, without end
        samples = np.concatenate(self._pieces) if self._pieces else np.zeros(0, dtype=np.int16)
        return Sound(samples, self.rate), Phones(np.array(self._starts) / self.rate, self._names)

    def _collect(self, samples: Any, count: int, events: Any) -> int:
        if count > 0:
            self._pieces.append(np.ctypeslib.as_array(samples, (count,)).copy())
        place = 0
        while events[place].type != _END:
            if events[place].type == _PHONE:
                self._starts.append(events[place].sample)
                self._names.append(_plain(events[place].id.string.decode("utf-8", "replace")))
            place += 1
        return 0


def natural_voices(count: int) -> list[str]:
    """Names of `count` voice variants with a natural pitch, evenly spaced over the sorted names. Raises ValueError
    where there are fewer."""
    folder = package_folder("espeakng_loader", "synthetic speech") / "espeak-ng-data" / "voices" / "!v"
    usable = sorted(path.name for path in folder.iterdir() if not _ODD.search(path.name))
    if count > len(usable):
        raise ValueError(f"data.voices is {count}; eSpeak NG has {len(usable)} voices that are used here.")
    return [usable[i] for i in np.linspace(0, len(usable) - 1, count).round().astype(int)]


def _plain(phone: str) -> str:
    """Without stress marks. Pauses ("_", "_:", "_|" ...) are all "_"."""
    return "_" if phone.startswith("_") else phone.strip("',%=")
