"""Cluster quality against counting by hand, at its two ends, and where it does not apply."""

import math
from collections import Counter

import numpy as np
import pytest

from evaluation.cluster_quality import cluster_quality


def by_counting(clusters: list[int], phones: list[str]) -> dict[str, float]:
    """The definitions of section IV-D of the paper, one frame after the other."""
    n, pairs = len(clusters), Counter(zip(clusters, phones, strict=True))
    of_cluster, of_phone = Counter(clusters), Counter(phones)
    best_phone = {c: max((pairs[c, p], p) for p in of_phone)[1] for c in of_cluster}
    best_cluster = {p: max((pairs[c, p], c) for c in of_cluster)[1] for p in of_phone}
    information = sum(k / n * math.log(k * n / of_cluster[c] / of_phone[p]) for (c, p), k in pairs.items())
    return {
        "phone_purity": sum(best_phone[c] == p for c, p in zip(clusters, phones, strict=True)) / n,
        "cluster_purity": sum(best_cluster[p] == c for c, p in zip(clusters, phones, strict=True)) / n,
        "pnmi": information / -sum(k / n * math.log(k / n) for k in of_phone.values()),
    }


def some_frames() -> tuple[list[int], list[str]]:
    draw = np.random.default_rng(0)
    phones = draw.choice(list("abcd_"), 200, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    clusters = np.where(draw.random(200) < 0.6, [ord(p) % 7 for p in phones], draw.integers(0, 7, 200))
    return clusters.tolist(), phones.tolist()


def test_is_what_counting_gives():
    clusters, phones = some_frames()
    found, wanted = cluster_quality(clusters, phones), by_counting(clusters, phones)
    assert found == pytest.approx(wanted, abs=1e-12)
    swapped = cluster_quality(phones, clusters)  # the broken twin: normalised by the other entropy
    assert abs(swapped["pnmi"] - wanted["pnmi"]) > 1e-3
    assert swapped["phone_purity"] == pytest.approx(wanted["cluster_purity"], abs=1e-12)


def test_names_of_clusters_do_not_matter():
    clusters, phones = some_frames()
    renamed = [f"cluster {(5 - cluster) * 3}" for cluster in clusters]
    assert cluster_quality(renamed, phones) == pytest.approx(cluster_quality(clusters, phones), abs=1e-12)


def test_perfect_clusters_know_everything_and_a_single_one_nothing():
    phones = list("aabbbc")
    perfect = cluster_quality([0, 0, 1, 1, 1, 2], phones)
    assert perfect == pytest.approx({"phone_purity": 1.0, "cluster_purity": 1.0, "pnmi": 1.0})
    single = cluster_quality([0] * 6, phones)
    assert single == pytest.approx({"phone_purity": 0.5, "cluster_purity": 1.0, "pnmi": 0.0})
    finer = cluster_quality(range(6), phones)  # a cluster for each frame: sure of the phone, and never of the cluster
    assert finer == pytest.approx({"phone_purity": 1.0, "cluster_purity": 0.5, "pnmi": 1.0})


@pytest.mark.parametrize(
    ("clusters", "phones", "sentence"),
    [([], [], "holds no frames"), ([1, 2], ["a"], "expected 2 of them"), ([1, 2], ["a", "a"], "all frames are a")],
)
def test_refuses_what_has_no_quality(clusters, phones, sentence):
    with pytest.raises(ValueError, match=sentence):
        cluster_quality(clusters, phones)
