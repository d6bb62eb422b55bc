"""PIRL: Misra and van der Maaten 2019, arXiv 1912.01991."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modalities.draws import uniform_on_device
from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, normalise, require_side, width_of
from modalities.vision.joint.heads import mlp
from modalities.vision.joint.health import health
from modalities.vision.joint.memory_bank import MemoryBank
from modalities.vision.joint.task import JointTask
from modalities.vision.joint.views import JointViews
from modalities.vision.task import Panels
from modalities.vision.tiles import cut_tiles, draw_shifts, lay_out, require_room
from modalities.vision.views.pipeline import make_views
from objectives.contrastive import info_nce
from objectives.gather import gather

_SHIFTS, _ORDER = 64, 65  # streams of draws
_CELLS = 3


@dataclass(frozen=True)
class PIRLConfig:
    """The puzzle, the memory and what is compared with it."""

    rows: int = 0
    """Training pictures to remember; 0 lets the recipe fill it in."""
    width: int = 128
    """Of the embeddings."""
    temperature: float = 0.1
    """Divides the cosines. The paper's is 0.07."""
    momentum: float = 0.5
    """Share of a picture's old entry in its new one."""
    puzzle_share: float = 0.5
    """Weight of the puzzle's loss; that of the whole picture has the rest."""
    tile: int = 16
    """Height and width of a tile in pixels; the paper's are 64 pixels of a picture of 255."""
    gap: int = 4
    """Pixels between tiles."""
    jitter: int = 2
    """Every tile is shifted by up to so many pixels each way."""

    def __post_init__(self) -> None:
        for name, least in {"rows": 0, "width": 1, "tile": 1, "gap": 0, "jitter": 0}.items():
            if getattr(self, name) < least:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be at least {least}.")
        if not self.temperature > 0:
            raise ValueError(f"task.temperature {self.temperature} must be above 0; 0.07 is usual.")
        if not 0 <= self.momentum < 1:
            raise ValueError(f"task.momentum {self.momentum} must be at least 0 and below 1; 0.5 is usual.")
        if not 0 < self.puzzle_share < 1:
            raise ValueError(f"task.puzzle_share {self.puzzle_share} must lie between 0 and 1; 0.5 is usual.")


class PIRL(JointTask):
    """Know a picture again in a memory of all pictures, from a view of it and from its nine tiles in any order.

    The first view is the picture, the second one is cut into tiles, which go through the encoder one by one. Both are
    compared with the memory, which holds embeddings of whole pictures only. The paper estimates the softmax over the
    memory from drawn negatives (NCE); over a memory of some thousand pictures the softmax itself costs less, and it is
    what the estimate stands for. The paper's heads are linear; here those of pictures and of puzzles have a hidden
    layer with batch norm, as those of most later methods do.
    """

    coupled = True  # through the memory, which gets the embeddings of all processes
    indexed = True

    def __init__(self, model: ModelConfig, views: JointViews, cfg: PIRLConfig) -> None:
        super().__init__(model, views)
        require_room(views.second.side, _CELLS, cfg.tile, cfg.gap, cfg.jitter)
        require_side(self.encoder, cfg.tile, "task.tile")
        if cfg.rows < 2:
            raise ValueError(f"task.rows is {cfg.rows}; PIRL remembers every training picture and needs 2 or more.")
        features = width_of(self.encoder)
        self.whole = mlp([features, features, cfg.width])
        self.each = nn.Linear(features, cfg.width)
        self.together = mlp([_CELLS**2 * cfg.width, features, cfg.width])
        self.bank = MemoryBank(cfg.rows, cfg.width)
        self.cfg = cfg
        self._shown: tuple[Tensor, Tensor] | None = None  # what the next update adds to the memory

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "whole_loss", "puzzle_loss", "accuracy", and signs of health}; log(rows) is that of one who
        guesses, and the accuracy counts puzzles whose own picture is the nearest in the memory."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
        """Embeddings of the pictures and of their puzzles, (n, width) each, and the index (n,)."""
        picture = make_views(batch["images"], batch["seeds"], self.crops.first, 0).to(self.dtype)
        whole = self.whole(self.features(normalise(picture)))
        tiles = self.shuffled(batch)  # (n, 9, 3, tile, tile)
        parts = self.each(self.features(normalise(tiles.flatten(0, 1))))  # (9n, width)
        return whole, self.together(parts.unflatten(0, tiles.shape[:2]).flatten(1)), batch["index"]

    def loss_from(self, whole: Tensor, puzzle: Tensor, index: Tensor) -> dict[str, Tensor]:
        """InfoNCE of both against the whole memory, each picture's own entry being the positive."""
        memory, share = self.bank.rows, self.cfg.puzzle_share
        unit = [F.normalize(z.to(memory), dim=1) for z in (whole, puzzle)]  # as the memory's rows are
        of_whole, of_puzzle = (info_nce(z, memory, self.cfg.temperature, index, normalize=False) for z in unit)
        if self.training:
            self._shown = gather(index), gather(whole.detach())
        return {
            "loss": share * of_puzzle + (1 - share) * of_whole,
            "whole_loss": of_whole.detach(),
            "puzzle_loss": of_puzzle.detach(),
            "accuracy": ((unit[1].detach() @ memory.T).argmax(1) == index).float().mean(),
            **health(whole, puzzle),
        }

    def after_step(self, progress: float) -> None:
        """The pictures of this step enter the memory."""
        if self._shown is not None:
            self.bank.update(*self._shown, self.cfg.momentum)
            self._shown = None

    def shuffled(self, batch: Batch) -> Tensor:
        """Tiles of the second view in drawn order, (n, 9, 3, tile, tile) in [0, 1]."""
        cfg, seeds = self.cfg, batch["seeds"]
        view = make_views(batch["images"], seeds, self.crops.second, 1).to(self.dtype)
        tiles = cut_tiles(view, _CELLS, cfg.tile, cfg.gap, draw_shifts(seeds, _CELLS**2, cfg.jitter, _SHIFTS))
        order = uniform_on_device(seeds, _CELLS**2, _ORDER).argsort(1)  # (n, 9)
        return tiles[torch.arange(len(tiles), device=tiles.device)[:, None], order]

    def views_in_words(self, rows: int) -> str:
        """See `JointTask`."""
        return f"{rows:,} views of {self.crops.first.side} px and {_CELLS**2 * rows:,} tiles of {self.cfg.tile} px"

    def negatives(self, rows: int) -> int:
        """All other pictures of the memory."""
        return self.cfg.rows - 1

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """Every picture, the view of it and the puzzle that are to be known as one."""
        return {
            "picture": batch["images"].to(self.dtype) / 255,
            "view": make_views(batch["images"], batch["seeds"], self.crops.first, 0),
            "tiles in drawn order": lay_out(self.shuffled(batch), 2),
        }
