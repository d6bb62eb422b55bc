"""What an audio run is judged by: what the frames of every layer, and their means over a recording, know of the phones,
the speaker, the class or the language."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from evaluation.abx import NoTriplesError, Token, abx, tokens
from evaluation.frame_probe import frame_probe
from evaluation.knn import knn
from evaluation.layers import best_layer
from evaluation.probe import linear_probe
from evaluation.retrieval import recall
from modalities.audio.rows import AudioSet, Rows
from recipes.audio_features import Described, Describer, describe, encoded, seconds_read

_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0)
FRAMES, CLIPS = ("phone", "voice"), ("speaker", "class", "language")
"""Targets of single frames, and of whole recordings."""
ENOUGH = 0.5
"""Share of the held-out recordings whose answer must occur in training for it to be asked."""


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
    supervised_steps: int = 200
    """Train a new encoder on the labels for this many steps, to compare with. 0 leaves it out."""
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
        wanted = self.frames if set(self.targets) & set(FRAMES) else 0
        return describe(how, self.train, wanted), describe(how, self.test, wanted // 2)


def known(data: AudioSet, cfg: EvalConfig) -> tuple[Known | None, str]:
    """What is known of `data`, and in words what is not asked for want of answers. None for a stream, whose training
    rows are not at hand, and where nothing is known."""
    if not isinstance(data.train, Rows):
        return None, "Training rows of a stream are not at hand (data.stream): there are no probes."
    train, test = evenly(data.train, 60 * cfg.minutes), evenly(data.test, 30 * cfg.minutes)
    targets, left_out = [], ""
    if all(side.phones and all(side.phones) for side in (train, test)):
        targets.append("phone")
    for named, found in (("speaker", ("voice", "speaker")), (data.label_of, (data.label_of,))):
        share = taught(named, train, test)
        if share is not None and share < ENOUGH:
            left_out += (
                f"The {named} is not asked, for it occurs in training for only {share:.0%} of the held-out recordings. "
            )
        elif share is not None:
            targets += found
    if not targets:
        left_out += (
            "No phones, speakers or labels that can be asked for are known (see data.speaker_column and "
            "data.label_column): there are no probes."
        )
    return (Known(train, test, tuple(targets), cfg.frames, cfg.abx) if targets else None), left_out.strip()


def taught(target: str, train: Rows, test: Rows) -> float | None:
    """Of the held-out recordings whose answer is known, the share whose answer occurs in training; None where nothing
    can be asked."""
    learnt, asked = (found[found >= 0] for found in (answers(target, train), answers(target, test)))
    if len(np.unique(learnt)) < 2 or len(asked) == 0:
        return None
    return float(np.isin(asked, learnt).mean())


def answers(target: str, rows: Rows) -> NDArray[np.int64]:
    """The speaker of each recording, or else its label, (n,); -1 where it is not known."""
    found = rows.speakers if target in ("voice", "speaker") else rows.labels
    return np.array([-1 if answer is None else answer for answer in found], dtype=np.int64)


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
        (wanted, told), (asked, judged) = (_asked(target, *side) for side in ((train, known.train), (test, known.test)))
        if target in FRAMES:
            of = train.recordings[told]
            found = {
                layer: frame_probe(train.frames[layer][told], wanted, of, test.frames[layer][judged], asked)
                for layer in train.frames
            }
            best[target] = max(found, key=lambda layer: found[layer]["validation"])
            scores[target] = found[best[target]]["accuracy"]
        else:
            clips = {layer: (train.clips[layer][told], test.clips[layer][judged]) for layer in train.clips}
            found = {
                layer: linear_probe(learnt, wanted, held, asked, 0, _STRENGTHS)
                for layer, (learnt, held) in clips.items()
            }
            best[target] = best_layer({layer: learnt for layer, (learnt, _) in clips.items()}, wanted)
            scores |= _of_clips(target, *clips[best[target]], wanted, asked)
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
        try:
            found[name] = abx(said, across)["error"]
        except NoTriplesError:
            continue
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


def _asked(target: str, of: Described, rows: Rows) -> tuple[NDArray[np.generic], NDArray[np.bool_]]:
    """The right answers (m,) where they are known, and of which of the frames or recordings that `of` describes, (n,)
    bool."""
    if target == "phone":
        return of.phones, np.ones(len(of.phones), dtype=np.bool_)
    found = answers(target, rows)[of.recordings if target == "voice" else of.kept]
    return found[found >= 0], found >= 0
