"""Features of whole recordings and of single frames, layer by layer, from whatever turns samples into frames."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from modalities.audio.alignment import frame_labels
from modalities.audio.backbones import masks_padding
from modalities.audio.decode import Samples, decode, header
from modalities.audio.rows import Row, Rows
from modalities.audio.task import AudioTask, mean_of_real
from modalities.media import CorruptMedia

Floats = NDArray[np.float32]
Layers = dict[str, Tensor]

_PIECE = 20.0  # seconds that are encoded at once
_MOST = 6  # pieces of a longer recording, evenly spaced
_TOGETHER = 60.0  # seconds of a batch, padding included


@dataclass(frozen=True)
class Describer:
    """What turns samples into frames, and frames into one vector for the recording."""

    layers: Callable[[Tensor, Tensor], Layers]
    """(audio (n, t), lengths (n,)) -> {layer: (n, f, d)}."""
    frames: Callable[[Tensor], Tensor]
    """lengths (n,) -> frames that are not padding (n,)."""
    hop: float
    """Seconds from one frame to the next."""
    rate: int
    """Samples a second."""
    pool: Callable[[Tensor, Tensor], Tensor] = mean_of_real
    """(frames (n, f, d), how many are real (n,)) -> (n, e)."""
    device: torch.device | str = "cpu"
    padded: bool = True
    """Whether recordings of several lengths may be encoded together, the shorter ones padded."""


def of_task(task: AudioTask) -> Describer:
    """The frozen layers of a task. Padding would change what an encoder with a group norm makes of a recording."""
    device, padded = next(task.parameters()).device, masks_padding(task.export().config)
    return Describer(task.layers, task.frames, task.hop, task.rate, device=device, padded=padded)


@dataclass(frozen=True)
class Described:
    """Features of some recordings."""

    clips: dict[str, Floats]
    """{layer: (n, e)} of whole recordings."""
    kept: NDArray[np.int64]
    """Which of the rows they are of, (n,): those that could be decoded."""
    frames: dict[str, Floats]
    """{layer: (m, d)} of single frames, drawn over all recordings."""
    recordings: NDArray[np.int64]
    """The row that each frame is of, (m,)."""
    phones: NDArray[np.str_]
    """What is said in each frame, (m,); empty where that is not known."""


@dataclass(frozen=True)
class _Piece:
    row: int
    start: float
    samples: Samples


def describe(how: Describer, rows: Rows, frames: int) -> Described:
    """Features of all `rows`, and of about `frames` single frames that are drawn from each recording's id, so that
    whatever has equally many frames is asked about the same ones. A recording of more than 20 s is read in pieces.

    Raises ValueError where no recording can be decoded.
    """
    clips: dict[int, dict[str, list[Tensor]]] = {}
    drawn: list[tuple[int, dict[str, Tensor], list[str]]] = []
    share = frames / max(1.0, seconds_read(rows).sum() / how.hop)
    for place, start, layers in encoded(how, rows):
        row, count = rows[place], len(next(iter(layers.values())))
        pooled = {name: how.pool(layer[None], torch.tensor([count]))[0] for name, layer in layers.items()}
        for name, vector in pooled.items():
            clips.setdefault(place, {}).setdefault(name, []).append(vector)
        chosen = _drawn(row, start, count, share)
        said = frame_labels(row["phones"], how.hop, count, start) if row["phones"] else [""] * count
        drawn.append((place, {name: layer[chosen] for name, layer in layers.items()}, [said[i] for i in chosen]))
    if not clips:
        raise ValueError("None of the recordings that probes are to read can be decoded; see data.source.")
    drawn.sort(key=lambda each: each[0])
    kept = sorted(clips)
    names = list(clips[kept[0]])
    return Described(
        clips={name: torch.stack([torch.stack(clips[row][name]).mean(0) for row in kept]).numpy() for name in names},
        kept=np.array(kept, dtype=np.int64),
        frames={name: torch.cat([layers[name] for _, layers, _ in drawn]).numpy() for name in names},
        recordings=np.concatenate([np.full(len(said), row, dtype=np.int64) for row, _, said in drawn]),
        phones=np.array([phone for _, _, said in drawn for phone in said], dtype=np.str_),
    )


@torch.no_grad()
def encoded(how: Describer, rows: Rows) -> Iterator[tuple[int, float, Layers]]:
    """All pieces of all recordings, in no particular order: row, seconds before it, and {layer: (f, d)} without
    padding."""
    for batch in _batches(rows, how.rate, how.padded):
        lengths = torch.tensor([len(piece.samples) for piece in batch])
        audio = torch.zeros(len(batch), int(lengths.max()))
        for padded, piece in zip(audio, batch, strict=True):
            padded[: len(piece.samples)] = torch.from_numpy(piece.samples)
        lengths = lengths.to(how.device)
        layers, real = how.layers(audio.to(how.device), lengths), how.frames(lengths).tolist()
        for place, piece in enumerate(batch):
            yield piece.row, piece.start, {name: x[place, : real[place]].float().cpu() for name, x in layers.items()}


def pieces(seconds: float) -> list[tuple[float, float]]:
    """Where the pieces of a recording begin, and how long they are, in seconds."""
    if seconds <= _PIECE:
        return [(0.0, seconds)]
    count = min(_MOST, int(np.ceil(seconds / _PIECE)))
    return [(float(start), _PIECE) for start in np.linspace(0, seconds - _PIECE, count)]


def _batches(rows: Rows, rate: int, padded: bool) -> Iterator[list[_Piece]]:
    """Pieces of about the same length together, where they are not to be padded of the very same. One that cannot be
    decoded is left out."""
    wanted = [(length, row, start) for row, seconds in enumerate(seconds_of(rows)) for start, length in pieces(seconds)]
    batch: list[_Piece] = []
    for length, row, start in sorted(wanted):
        try:
            samples = decode(rows.audio[row], row, rate, start, length)
        except CorruptMedia:
            continue
        if len(samples) == 0:
            continue
        unlike = not padded and batch and len(samples) != len(batch[0].samples)
        if batch and (unlike or (len(batch) + 1) * length > _TOGETHER):
            yield batch
            batch = []
        batch.append(_Piece(row, start, samples))
    if batch:
        yield batch


def _drawn(row: Row, start: float, count: int, share: float) -> NDArray[np.int64]:
    rng = np.random.default_rng((row["id"] % 2**63, round(start * 1000)))
    return np.flatnonzero(rng.random(count) < share)


def seconds_read(rows: Rows) -> NDArray[np.float64]:
    """How much of each recording is read, (n,)."""
    return np.array([sum(length for _, length in pieces(seconds)) for seconds in seconds_of(rows)], dtype=np.float64)


def seconds_of(rows: Rows) -> NDArray[np.float64]:
    """Length of each recording, (n,); 0 for what is no recording."""
    if len(rows.seconds):
        return rows.seconds
    found = np.zeros(len(rows))
    for place, source in enumerate(rows.audio):
        with contextlib.suppress(CorruptMedia):
            found[place] = header(source, place).seconds
    return found
