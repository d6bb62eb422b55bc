"""The table of an audio run: its columns, the one by layer, and what they mean in words."""

from collections.abc import Sequence

from evaluation.report import Column, Row
from modalities.audio.rows import AudioSet
from recipes.audio_measure import CLIPS, FRAMES, EvalConfig, Known, answers, taught

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


def by_layer(rows: Sequence[Row], target: str) -> tuple[list[Row], list[Column]]:
    """The rows that have a probe of every layer for `target`, with a column for each."""
    found = [row for row in rows if sum(key.startswith(f"{target}/") for key in row.metrics) > 1]
    layers = dict.fromkeys(key for row in found for key in row.metrics if key.startswith(f"{target}/"))
    return found, [Column(key, key.removeprefix(f"{target}/")) for key in layers]


def shown(rows: Sequence[Row]) -> list[Column]:
    """The columns, without the pretext loss where there is an accuracy to show."""
    asked = any("held_out_accuracy" in row.metrics for row in rows)
    return [column for column in COLUMNS if not (asked and column.key == "held_out_loss")]


def explain(
    asked: int, data: AudioSet, known: Known | None, left_out: str, best: dict[str, dict[str, str]], cfg: EvalConfig
) -> str:
    """What the table's columns mean, in words. asked: how many held-out recordings the pretext task is asked of;
    left_out: what is not asked, from `known`; best: {row: {target: layer that was chosen}}."""
    words = [f"The pretext task is asked of {asked} held-out recordings."]
    if data.synthetic:
        words.append("All voices are synthetic: nothing here was measured on recorded speech.")
    if known is not None:
        words += _of_probes(known, best, cfg)
    return " ".join([*words, left_out]).strip()


def _of_probes(known: Known, best: dict[str, dict[str, str]], cfg: EvalConfig) -> list[str]:
    words = [
        f"Probes are fitted on frozen features of {len(known.train)} training recordings and judged on "
        f"{len(known.test)} held-out ones; one of more than 20 s is read in at most six pieces of 20 s."
    ]
    if set(known.targets) & set(FRAMES):
        words.append(
            f"Phones and speakers of a frame: a linear layer on single frames, about {known.frames:,} to learn from "
            f"and {known.frames // 2:,} to judge by; a pause counts as a phone."
        )
    clips = [target for target in known.targets if target in CLIPS]
    if clips:
        words.append(
            "What concerns whole recordings is read from the mean over their frames (MFCC: mean and deviation)."
        )
    for target in clips:
        judged = int((answers(target, known.test) >= 0).sum())
        # The standard error of a share p of n is sqrt(p (1 - p) / n), the largest at one half.
        words.append(
            f"The standard error of {target}, of {judged} recordings, is {50 / judged**0.5:.1f} points at most."
        )
        share = taught(target, known.train, known.test)
        if share is not None and share < 1:
            words.append(f"The {target} of {share:.0%} of these occurs in training; the others count as wrong.")
    chosen = "; ".join(f"{', '.join(f'{t}: {layer}' for t, layer in layers.items())} ({row})" for row, layers in
                       best.items())  # fmt: skip
    if chosen:
        words.append(f"The best layer was chosen on a part of the training recordings: {chosen}.")
    if cfg.supervised_steps and set(known.targets) - {"voice"}:
        words.append(
            f"Supervised: the same architecture with new weights, trained on the labels for {cfg.supervised_steps} "
            "steps, not to the end: it is no bound."
        )
    return words
