"""What all joint-embedding methods refuse, and how they say what they see."""

from dataclasses import replace

import pytest
import torch

from modalities.vision.backbones import build_encoder, require_side
from modalities.vision.joint import task as joint_task
from modalities.vision.joint.deep_cluster import DeepCluster, DeepClusterConfig
from modalities.vision.joint.dino import DINO, DINOConfig
from modalities.vision.joint.nnclr import NNCLR, NNCLRConfig
from modalities.vision.joint.odc import ODC, ODCConfig
from modalities.vision.joint.pirl import PIRL, PIRLConfig
from modalities.vision.joint.simclr import SimCLR, SimCLRConfig
from modalities.vision.joint.sup_con import SupCon, SupConConfig
from modalities.vision.joint.swav import SwAV, SwAVConfig
from tests.vision.joint.files import CONVNEXT, RESNET, TINY_VIEWS, VIT

SMALL = replace(TINY_VIEWS, small_count=2)
TILES = PIRLConfig(rows=10, width=8, tile=4, gap=1, jitter=1)


def test_views_in_words() -> None:
    assert SimCLR(VIT, TINY_VIEWS, SimCLRConfig()).views_in_words(128) == "256 views of 16 px"
    assert DINO(VIT, SMALL, DINOConfig()).views_in_words(1024) == "2,048 views of 16 px and 2,048 of 8 px"
    assert PIRL(VIT, TINY_VIEWS, TILES).views_in_words(128) == "128 views of 16 px and 1,152 tiles of 4 px"
    odc = ODC(VIT, TINY_VIEWS, ODCConfig(clusters=2, least=1, rows=10))
    assert odc.views_in_words(128) == "128 views of 16 px" and "second view" not in odc._named()


def test_small_views_are_refused_where_nothing_takes_them() -> None:
    with pytest.raises(ValueError, match=r"views.small_count is 2, but SimCLR compares large views alone; set it to 0"):
        SimCLR(VIT, SMALL, SimCLRConfig())


def test_views_and_tiles_that_leave_no_place_are_refused() -> None:
    for least, model in ((4, VIT), (16, CONVNEXT)):
        encoder = build_encoder(model).eval()
        require_side(encoder, least, "views.first.side")
        encoder(torch.zeros(1, 3, least, least), **({"interpolate_pos_encoding": True} if model is VIT else {}))
        with pytest.raises(ValueError, match=rf"views.first.side is {least - 1}, .* needs images of {least} pixels"):
            require_side(encoder, least - 1, "views.first.side")
    require_side(build_encoder(RESNET), 1, "task.tile")
    with pytest.raises(ValueError, match=r"views.small.side is 3"):
        DINO(VIT, replace(SMALL, small=replace(SMALL.small, side=3)), DINOConfig())
    with pytest.raises(ValueError, match=r"views.first.side is 3"):
        sides = (replace(TINY_VIEWS.first, side=3) for _ in range(2))
        SimCLR(VIT, replace(TINY_VIEWS, **dict(zip(("first", "second"), sides, strict=True))), SimCLRConfig())
    with pytest.raises(ValueError, match=r"task.tile is 3"):
        PIRL(VIT, TINY_VIEWS, replace(TILES, tile=3))


def test_one_picture_for_a_process_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    task = SimCLR(VIT, TINY_VIEWS, SimCLRConfig())
    task.require(2, 1)
    with pytest.raises(ValueError, match=r"train.batch_size 1 leaves fewer than 2 pictures to each of 1 processes"):
        task.require(1, 1)
    monkeypatch.setattr(joint_task, "world_size", lambda: 2)
    with pytest.raises(ValueError, match=r"train.batch_size 3 .* give 4 or more"):
        task.require(3, 1)


def test_queues_that_a_step_overfills_are_refused() -> None:
    for task in (
        NNCLR(VIT, TINY_VIEWS, NNCLRConfig(queue=7)),
        SwAV(VIT, TINY_VIEWS, SwAVConfig(prototypes=6, queue=7)),
    ):
        task.require(7, 1)
        with pytest.raises(ValueError, match=r"task.queue 7 is shorter than the 8 rows"):
            task.require(8, 1)
    SwAV(VIT, TINY_VIEWS, SwAVConfig(prototypes=6)).require(8, 1)  # it has none


@pytest.mark.parametrize(("every", "least"), [(0, 15), (5, 8), (2, 9)])  # in epochs of ten updates; 51 clusters need 6
def test_runs_without_time_for_clusters_are_refused(every: int, least: int) -> None:
    clusters = 51 if every == 2 else 50
    task = DeepCluster(VIT, TINY_VIEWS, DeepClusterConfig(clusters=clusters, every=every, rows=105))
    task.require(10, least)
    task.require(10, 0)  # how long the run is, is not known
    with pytest.raises(ValueError, match=rf"train.steps {least - 1} of 10 pictures .* give {least} or more"):
        task.require(10, least - 1)


def test_labels_allow_embeddings_on_a_line() -> None:
    line = {"embedding_std": 1.0, "effective_rank": 1.0, "uniformity": -0.7}
    plain, labelled = SimCLR(VIT, TINY_VIEWS, SimCLRConfig()), SupCon(VIT, TINY_VIEWS, SupConConfig())
    assert "along one line" in [plain.diagnose(line, 0.5) for _ in range(3)][2]
    assert [labelled.diagnose(line, 0.5) for _ in range(3)] == ["", "", ""]
