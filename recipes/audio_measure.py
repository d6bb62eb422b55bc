"""What an audio run is judged by: what the frames of every layer, and their means over a recording, know of the phones,
the speaker, the class or the language."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from evaluation.abx import Token, abx, tokens
from evaluation.frame_probe import frame_probe
from evaluation.knn import knn
from evaluation.layers import best_layer
from evaluation.probe import linear_probe
from evaluation.report import Column, Row
from evaluation.retrieval import recall
from modalities.audio.rows import AudioSet, Rows
from recipes.audio_features import Described, Describer, describe, encoded, seconds_read

COLUMNS = [
    Column("held_out_accuracy", "pretext accuracy"),
    Column("held_out_loss", "pretext loss", percent=False),
    Column("phone", "phone of a frame"),
    Column("voice", "speaker of a frame"),
    Column("speaker_knn", "speaker, kNN"),
    Column("speaker", "speaker, linear"),
    Column("language_knn", "language, kNN"),
    Column("language", "language, linear"),
    Column("class_knn", "class, kNN"),
    Column("class", "class, linear"),
    Column("class_balanced", "class, balanced"),
    Column("class_r5", "class among 5 nearest"),
    Column("phone_purity", "clusters, phone purity"),
    Column("pnmi", "clusters, PNMI"),
    Column("abx_within", "ABX error"),
    Column("abx_across", "ABX error, other speaker"),
]
_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
_FRAMES, _CLIPS = ("phone", "voice"), ("speaker", "class", "language")


@dataclass(frozen=True)
class EvalConfig:
    """How the trained encoder and what it is compared with are measured."""

    seeds: int = 3
    """Random initialisations to compare with; 0 for none."""
    minutes: float = 10.0
    """Labelled training audio that probes read at most, evenly spaced over the recordings; of the held-out, half."""
    frames: int = 8000
    """Single frames that probes of phones and speakers are fitted on, about; half as many are asked."""
    classic: bool = True
    """Compare with mel-frequency cepstral coefficients (MFCC), with and without their deltas."""
    supervised_steps: int = 60
    """Train a new encoder on the labels for this many steps, which is the bound. 0 leaves it out."""
    abx: bool = False
    """Ask the ABX question too: which of two sounds of a minimal pair is the same phone (where phones are known)."""

    def __post_init__(self) -> None:
        for name in ("seeds", "supervised_steps"):
            if getattr(self, name) < 0:
                raise ValueError(f"eval.{name} is {getattr(self, name)}; it must not be negative.")
        if self.minutes <= 0:
            raise ValueError(f"eval.minutes is {self.minutes:g}; it must be above 0.")
        if self.frames < 100:
            raise ValueError(f"eval.frames is {self.frames}; a probe needs 100 frames at least.")


@dataclass(frozen=True)
class Known:
    """The recordings that features are fitted and judged on, and what is known of them."""

    train: Rows
    test: Rows
    targets: tuple[str, ...]
    """Of phone and voice (of single frames), speaker, class and language (of recordings), those that are known."""
    frames: int
    """Single frames to fit on."""
    abx: bool = False
    """Whether the ABX question is asked."""

    def described(self, how: Describer) -> tuple[Described, Described]:
        """Features of the training and of the held-out recordings."""
        wanted = self.frames if set(self.targets) & set(_FRAMES) else 0
        return describe(how, self.train, wanted), describe(how, self.test, wanted // 2)


def known(data: AudioSet, cfg: EvalConfig) -> Known | None:
    """What is known of `data`; None for a stream, whose training rows are not at hand, and without any label."""
    if not isinstance(data.train, Rows):
        return None
    train, test = evenly(data.train, 60 * cfg.minutes), evenly(data.test, 30 * cfg.minutes)
    sides = (train, test)
    targets = []
    if all(side.phones and all(side.phones) for side in sides):
        targets.append("phone")
    if all(_told(side.speakers) for side in sides) and len(set(train.speakers)) > 1:
        targets += ["voice", "speaker"]
    if all(_told(side.labels) for side in sides) and len(set(train.labels)) > 1:
        targets.append("language" if data.name == "numbers" else "class")
    return Known(train, test, tuple(targets), cfg.frames, cfg.abx) if targets else None


def evenly(rows: Rows, seconds: float) -> Rows:
    """Rows of about that many seconds in all, evenly spaced, for tables may be sorted by what they hold."""
    lengths = seconds_read(rows)
    count = len(rows) if lengths.sum() <= seconds else max(2, int(len(rows) * seconds / lengths.sum()))
    return rows.select(np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(np.int64))


def measure(how: Describer, known: Known) -> tuple[dict[str, float], dict[str, str]]:
    """Every score by column, those of single layers as "phone/layer 1", and which layer was chosen for which target.

    Layers are chosen on a part of the training recordings; held-out ones have no say.
    """
    scores: dict[str, float] = {}
    best: dict[str, str] = {}
    train, test = known.described(how)
    for target in known.targets:
        answers = [_answers(target, *side) for side in ((train, known.train), (test, known.test))]
        if target in _FRAMES:
            found = {
                layer: frame_probe(train.frames[layer], answers[0], train.recordings, test.frames[layer], answers[1])
                for layer in train.frames
            }
            best[target] = max(found, key=lambda layer: found[layer]["validation"])
            scores[target] = found[best[target]]["accuracy"]
        else:
            found = {
                layer: linear_probe(train.clips[layer], answers[0], test.clips[layer], answers[1], 0, _STRENGTHS)
                for layer in train.clips
            }
            best[target] = best_layer(train.clips, answers[0])
            scores |= _of_clips(target, train.clips[best[target]], test.clips[best[target]], *answers)
            scores[target] = found[best[target]]["accuracy"]
            scores[f"{target}_balanced"] = found[best[target]]["balanced_accuracy"]
        scores |= {f"{target}/{layer}": each["accuracy"] for layer, each in found.items()}
    if known.abx and "phone" in best:
        scores |= abx_errors(how, known, best["phone"])
    return scores, best


def abx_errors(how: Describer, known: Known, layer: str) -> dict[str, float]:
    """ABX errors of one layer on the held-out recordings whose phones are known; none where no triple is found. Of a
    recording that is read in pieces the first one counts."""
    said: list[Token] = []
    first = {place: layers[layer] for place, start, layers in encoded(how, known.test) if start == 0}
    for place, frames in sorted(first.items(), key=lambda each: each[0]):
        phones, speaker = known.test.phones[place], known.test.speakers[place]
        if phones is not None:
            heard = [i for i, begin in enumerate(phones.starts) if begin < len(frames) * how.hop]
            said += tokens(frames, phones.starts[heard], [phones.names[i] for i in heard], how.hop, speaker)
    found = {}
    for name, across in (("abx_within", False), ("abx_across", True)):
        with contextlib.suppress(ValueError):  # too few recordings for a triple
            found[name] = abx(said, across)["error"]
    return found


def _of_clips(
    target: str,
    train: NDArray[np.float32],
    test: NDArray[np.float32],
    labels: NDArray[np.generic],
    wanted: NDArray[np.generic],
) -> dict[str, float]:
    """kNN, and how often a held-out recording's answer is among the nearest training recordings. Features are
    standardised first: the cosine of raw ones sees little but the largest (of MFCC, the loudness), and a batch norm
    that was never trained leaves them uneven."""
    scaler = StandardScaler().fit(train)
    train, test = scaler.transform(train), scaler.transform(test)
    there = np.isin(wanted, labels)  # what no key has cannot be retrieved
    found = {f"{target}_knn": knn(train, labels, test, wanted)["accuracy"]}
    if there.any():
        ranks = recall(test[there], train, wanted[there], labels, (1, 5))
        found |= {f"{target}_r{k}": share * float(there.mean()) for k, share in ranks.items()}
    return found


def _answers(target: str, of: Described, rows: Rows) -> NDArray[np.generic]:
    """The right answers for the frames or the recordings that `of` describes."""
    match target:
        case "phone":
            return of.phones
        case "voice":
            return np.array(rows.speakers)[of.recordings]
        case "speaker":
            return np.array(rows.speakers)[of.kept]
    return np.array(rows.labels)[of.kept]


def by_layer(rows: Sequence[Row], target: str) -> tuple[list[Row], list[Column]]:
    """The rows that have a probe of every layer for `target`, with a column for each."""
    found = [row for row in rows if sum(key.startswith(f"{target}/") for key in row.metrics) > 1]
    layers = dict.fromkeys(key for row in found for key in row.metrics if key.startswith(f"{target}/"))
    return found, [Column(key, key.removeprefix(f"{target}/")) for key in layers]


def shown(rows: Sequence[Row]) -> list[Column]:
    """The columns, without the pretext loss where there is an accuracy to show."""
    asked = any("held_out_accuracy" in row.metrics for row in rows)
    return [column for column in COLUMNS if not (asked and column.key == "held_out_loss")]


def explain(asked: int, data: AudioSet, known: Known | None, best: dict[str, dict[str, str]]) -> str:
    """What the table's columns mean, in words. asked: how many held-out recordings the pretext task is asked of; best:
    {row: {target: layer that was chosen}}."""
    words = f"The pretext task is asked of {asked} held-out recordings."
    if data.synthetic:
        words += " All voices are synthetic: nothing here was measured on recorded speech."
    if known is None:
        return words
    words += (
        f" Probes are fitted on frozen features of {len(known.train)} training recordings and judged on "
        f"{len(known.test)} held-out ones."
    )
    if set(known.targets) & set(_FRAMES):
        words += (
            f" Phones and speakers of a frame: a linear layer on single frames, about {known.frames:,} to learn from "
            f"and {known.frames // 2:,} to judge by."
        )
    if set(known.targets) & set(_CLIPS):
        words += " What concerns whole recordings is read from the mean over their frames (MFCC: mean and deviation)."
    chosen = "; ".join(f"{', '.join(f'{t}: {layer}' for t, layer in layers.items())} ({row})" for row, layers in
                       best.items())  # fmt: skip
    return f"{words} The best layer was chosen on a part of the training recordings: {chosen}." if chosen else words


def _told(values: Sequence[int | None]) -> bool:
    return len(values) > 0 and None not in values
