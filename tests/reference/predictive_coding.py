"""Contrastive predictive coding in loops over plain numbers: one place, one step, one candidate at a time."""

from math import exp, log

from tests.reference.contrastive import Rows, dot

Windows = list[Rows]  # window, frame, width


def predictive_coding(
    predicted: list[Windows], windows: Windows, lengths: list[int], candidates: list[list[tuple[int, int]]]
) -> tuple[float, int, int]:
    """Sum of losses, predictions and predictions found. candidates: of each window, the frames (window, frame) that
    frames to be found are told from, whether or not they are among them."""
    total, count, found = 0.0, 0, 0
    for row, places in enumerate(predicted):
        for place, steps in enumerate(places):
            for step, guess in enumerate(steps, start=1):
                if place + step >= lengths[row]:
                    continue
                right = dot(guess, windows[row][place + step])
                others = [dot(guess, windows[w][f]) for w, f in candidates[row] if (w, f) != (row, place + step)]
                total += log(exp(right) + sum(map(exp, others))) - right
                count += 1
                found += all(right > other for other in others)
    return total, count, found
