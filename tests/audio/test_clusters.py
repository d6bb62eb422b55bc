"""Clusters: nearest centres, k-means that finds what is there, the same in every process, and in bounded memory."""

import numpy as np
import pytest
import torch

from modalities.audio import clusters
from modalities.audio.clusters import Clusters, windows
from modalities.audio.collate import WindowCollate
from modalities.audio.rows import Rows, Sound


def blobs(count, seed=0, far=5.0):
    """Frames around four points, and which point each is of."""
    draw = np.random.default_rng(seed)
    of = draw.integers(0, 4, count)
    corners = far * np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1]])
    return (corners[of] + draw.normal(size=(count, 3))).astype(np.float32), of


def in_chunks(frames, size):
    return [frames[start : start + size] for start in range(0, len(frames), size)]


def recordings(lengths):
    draw = np.random.default_rng(0)
    sounds = [Sound((3000 * draw.normal(size=length)).astype(np.int16), 16_000) for length in lengths]
    count = len(lengths)
    return Rows(sounds, np.arange(count), [[]] * count, [None] * count, [None] * count, [None] * count)


def test_the_nearest_centre_is_the_nearest():
    model = Clusters(7, 5)
    draw = torch.Generator().manual_seed(0)
    model.centres.copy_(torch.randn(7, 5, generator=draw))
    frames = torch.randn(2, 30, 5, generator=draw)
    wanted = (frames[:, :, None] - model.centres).square().sum(-1).argmin(-1)
    assert torch.equal(model(frames), wanted)
    products = (frames @ model.centres.T).argmax(-1)  # the broken twin: without the lengths of the centres
    assert not torch.equal(products, wanted)


def test_half_precision_does_not_decide():
    model = Clusters(64, 5)
    draw = torch.Generator().manual_seed(0)
    model.centres.copy_(torch.randn(64, 5, generator=draw))
    frames = torch.randn(500, 5, generator=draw)
    wanted = model(frames)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(model(frames), wanted)
        rough = (model.centres.square().sum(1) - 2 * frames @ model.centres.T).argmin(-1)
    assert not torch.equal(rough, wanted)  # the broken twin: products in bf16


def test_finds_the_clusters_that_are_there():
    frames, of = blobs(3000)
    model = Clusters(4, 3)
    assert model.fit(in_chunks(frames, 700), seed=0) == 3000
    found = model(torch.from_numpy(frames)).numpy()
    assert sum(np.bincount(of[found == each]).max() for each in range(4)) > 0.97 * len(of)


def test_later_frames_move_the_centres_and_memory_stays_bounded(monkeypatch):
    monkeypatch.setattr(clusters, "_SAMPLE", 400)
    monkeypatch.setattr(clusters, "_CHUNK", 300)
    seen = []
    step = clusters.MiniBatchKMeans.partial_fit
    monkeypatch.setattr(clusters.MiniBatchKMeans, "partial_fit", lambda self, x: seen.append(len(x)) or step(self, x))
    early, of = blobs(400)
    late = blobs(3000, seed=1)[0] + np.float32(0.5)
    model = Clusters(4, 3)
    assert model.fit(iter([early, *in_chunks(late, 250)]), seed=0) == 3400
    assert seen == [400, *[300] * 10]
    own = torch.from_numpy(np.stack([early[of == each].mean(0) for each in range(4)]))
    moved = torch.cdist(own, model.centres).min(1).values  # 3000 of 3400 frames lie 0.87 away
    assert (moved > 0.6).all() and (moved < 1.0).all()


def test_the_same_frames_give_the_same_centres_however_they_come():
    frames, _ = blobs(2000, far=1.0)
    first, again, other = Clusters(8, 3), Clusters(8, 3), Clusters(8, 3)
    first.fit(in_chunks(frames, 100), seed=0)
    again.fit(in_chunks(frames, 37), seed=0)
    other.fit(in_chunks(frames, 100), seed=1)
    assert torch.equal(first.centres, again.centres)
    assert not torch.equal(first.centres, other.centres)


def test_too_few_frames_are_refused():
    with pytest.raises(ValueError, match=r"task\.clusters is 9, but only 4 frames were read"):
        Clusters(9, 3).fit([blobs(4)[0]], seed=0)
    with pytest.raises(ValueError, match="only 0 frames"):
        Clusters(9, 3).fit([], seed=0)


def test_windows_are_the_same_each_time_and_take_every_recording_once_before_any_twice():
    rows, collate = recordings([1000] * 20), WindowCollate(400, 16_000)

    def drawn(count, seed):
        return torch.cat([batch["audio"] for batch in windows(rows, collate, count, seed)])

    found = drawn(50, 0)
    assert len(found) == 50 and torch.equal(found, drawn(50, 0))
    assert torch.equal(found[:20], drawn(20, 0))
    assert not torch.equal(found, drawn(50, 1))
    whole = torch.cat([batch["audio"] for batch in windows(rows, WindowCollate(1000, 16_000), 20, 0)])
    assert len(set(whole.sum(1).tolist())) == 20


def test_windows_take_the_first_of_a_stream():
    rows, collate = recordings([1000] * 25), WindowCollate(400, 16_000)
    stream = (row for row in rows)
    assert [len(batch["audio"]) for batch in windows(stream, collate, 20, 0)] == [16, 4]
    assert next(stream)["id"] == 20
    assert sum(len(batch["audio"]) for batch in windows(stream, collate, 20, 0)) == 4  # all that is left
