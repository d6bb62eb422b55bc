"""Contrastive predictive coding of images: van den Oord et al. 2018, arXiv 1807.03748 (v1), and Hénaff et al. 2019,
arXiv 1905.09272 (v2)."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from modalities.draws import uniform_on_device
from modalities.task import Batch
from modalities.vision.backbones import ModelConfig, build_encoder, normalise, pooled, width_of
from modalities.vision.patches import cut, paint
from modalities.vision.task import Panels, VisionTask
from modalities.vision.views.pipeline import ViewConfig
from objectives.contrastive import info_nce
from objectives.diagnostics import mutual_information_bound
from objectives.gather import gather, rank

_PATCHES = 1  # stream of draws


@dataclass(frozen=True)
class CPCConfig:
    """The grid of patches and what is predicted from what: v2 as it stands, v1 as `V1` has it."""

    patch: int = 16
    """Height and width of a patch in pixels."""
    stride: int = 8
    """Pixels from one patch to the next."""
    nearest: int = 2
    """First row predicted, counted from the last one seen. Nearer than patch / stride, they share pixels."""
    farthest: int = 5
    """Last row predicted."""
    directions: int = 4
    """1 predicts the rows below; 4 those above and the columns to both sides as well."""
    width: int = 64
    """Width in which predictions and patches are compared."""
    temperature: float = 0.1
    """Divides the cosines between predictions and patches."""
    context_width: int = 128
    """Width of the net that looks at the rows seen."""
    context_depth: int = 3
    """Blocks of that net; each one sees one row further."""
    drop_colour: float = 0.5
    """Probability that a patch is left with one of its three channels, in grey."""
    flip: float = 0.5
    """Probability that a patch is mirrored."""
    jitter: float = 0.4
    """Largest change of a patch's brightness and contrast, as a share."""

    def __post_init__(self) -> None:
        for name in ("patch", "stride", "nearest", "width", "context_width", "context_depth"):
            if getattr(self, name) < 1:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be at least 1.")
        if self.farthest < self.nearest:
            raise ValueError(f"task.farthest {self.farthest} lies before task.nearest {self.nearest}; nothing is left.")
        if self.directions not in (1, 4):
            raise ValueError(f"task.directions is {self.directions}; choose 1 (rows below) or 4.")
        if self.temperature <= 0:
            raise ValueError(f"task.temperature is {self.temperature}; it must be above 0.")
        for name in ("drop_colour", "flip", "jitter"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"task.{name} is {getattr(self, name)}; it must be between 0 and 1.")


V1 = CPCConfig(directions=1, drop_colour=0.0, flip=0.0, jitter=0.0)


class CPC(VisionTask):
    """From the rows of patches seen so far, tell which patch of all patches of all images comes further down.

    Each patch of an overlapping grid goes through the encoder by itself. The encoder should have layer norms
    (`model.kind` convnext): batch norm ties all patches together, and what leaks from the hidden ones helps to find
    them. Downstream takes the stock encoder on whole images.

    Raises:
        ValueError: if the grid does not fit the views, or has too few rows.
    """

    coupled = True

    def __init__(self, model: ModelConfig, views: ViewConfig, cfg: CPCConfig) -> None:
        super().__init__(views)
        self.cfg = cfg
        self.rows = cut(torch.empty(1, 1, views.side, views.side), cfg.patch, cfg.stride).shape[1]
        if self.rows <= cfg.farthest:
            raise ValueError(
                f"views.side {views.side} has {self.rows} rows of patches, so that no row lies {cfg.farthest} below "
                f"another; set task.farthest {self.rows - 1} or less."
            )
        self.encoder = build_encoder(model)
        width = width_of(self.encoder)
        self.key = nn.Linear(width, cfg.width)
        self.contexts = nn.ModuleList(
            SeenRows(width, cfg.context_width, cfg.context_depth) for _ in range(cfg.directions)
        )
        self.steps = range(cfg.nearest, cfg.farthest + 1)
        self.predictors = nn.ModuleList(
            nn.ModuleList(nn.Linear(cfg.context_width, cfg.width, bias=False) for _ in self.steps)
            for _ in range(cfg.directions)
        )

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """{"loss", "accuracy", "information", "accuracy_K" for each distance K}."""
        return self.loss_from(*self.embed(batch))

    def embed(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """Patches to be found, (n, g, g, d), and what was seen up to each place, (n, directions, g, g, c)."""
        patches = self.patches(self.view(batch), batch["seeds"])  # (n, g, g, 3, p, p)
        found = pooled(self.encoder, normalise(patches.flatten(0, 2))).unflatten(0, patches.shape[:3])
        turned = [torch.rot90(found, turn, (1, 2)) for turn in range(self.cfg.directions)]
        seen = [net(grid) for net, grid in zip(self.contexts, turned, strict=True)]
        return self.key(found), torch.stack(seen, dim=1)

    def loss_from(self, keys: Tensor, seen: Tensor) -> dict[str, Tensor]:
        """The mean over directions and distances of InfoNCE against all patches of all processes."""
        candidates = gather(keys).flatten(0, 2)  # (N * g * g, d)
        losses, accuracies = [], []
        for queries, right in self.queries(seen, offset=rank() * len(keys)).values():
            losses.append(info_nce(queries, candidates, self.cfg.temperature, right))
            with torch.no_grad():
                # Cosines are largest where the product with unit keys is.
                picked = (queries @ F.normalize(candidates, dim=-1).to(queries).T).argmax(1)
                accuracies.append((picked == right).float().mean())
        loss = torch.stack(losses).mean()
        return {
            "loss": loss,
            "accuracy": torch.stack(accuracies).mean(),
            "information": mutual_information_bound(loss.detach(), len(candidates)),
        } | {f"accuracy_{step}": value for step, value in zip(self.steps, accuracies, strict=True)}

    def queries(self, seen: Tensor, offset: int = 0) -> dict[int, tuple[Tensor, Tensor]]:
        """For each distance the predictions of all directions, (m, d), and the places (m,) of the patches that they
        mean, among all patches of all images; `offset` images come before these."""
        n, g = len(seen), self.rows
        places = torch.arange(n * g * g, device=seen.device).view(n, g, g) + offset * g * g
        found = {}
        for number, step in enumerate(self.steps):
            pairs = [
                (predict[number](seen[:, turn, : g - step]), torch.rot90(places, turn, (1, 2))[:, step:])
                for turn, predict in enumerate(self.predictors)
            ]
            found[step] = torch.cat([p.flatten(0, 2) for p, _ in pairs]), torch.cat([r.flatten() for _, r in pairs])
        return found

    def patches(self, view: Tensor, seeds: Tensor) -> Tensor:
        """The grid of patches of a view, each changed by itself: (n, g, g, 3, p, p) in [0, 1]."""
        patches, cfg = cut(view, self.cfg.patch, self.cfg.stride), self.cfg
        n, g = patches.shape[:2]
        draws = uniform_on_device(seeds, g * g * 5, _PATCHES).to(view).view(n, g, g, 5, 1, 1, 1)
        drop, channel, flip, light, contrast = draws.unbind(3)  # (n, g, g, 1, 1, 1) each
        kept = patches.gather(3, (channel * 3).long().expand(n, g, g, 1, cfg.patch, cfg.patch))
        patches = torch.where(drop < cfg.drop_colour, kept, patches)
        patches = torch.where(flip < cfg.flip, patches.flip(-1), patches)
        if cfg.jitter:
            mean = patches.mean((3, 4, 5), keepdim=True)
            patches = (patches - mean) * (1 + cfg.jitter * (2 * contrast - 1))
            patches = (patches + mean * (1 + cfg.jitter * (2 * light - 1))).clamp(0, 1)
        return patches

    @torch.no_grad()
    def illustrate(self, batch: Batch) -> Panels:
        """The view; the patches as the encoder gets them; the rows seen; and below them, for each place, the patch
        that is picked among the patches of all these images, with the share of right picks."""
        view, g = self.view(batch), self.rows
        patches = self.patches(view, batch["seeds"])
        keys, seen = self.embed(batch)
        n, last = len(view), g - 1 - self.cfg.farthest
        candidates, plain = F.normalize(keys.flatten(0, 2), dim=-1), cut(view, self.cfg.patch, self.cfg.stride)
        shown, guessed = torch.zeros(2, n, g, g, dtype=torch.bool, device=view.device)
        shown[:, : last + 1] = True
        picks = torch.zeros_like(plain)
        right = []
        for predict, step in zip(self.predictors[0], self.steps, strict=True):
            chosen = (predict(seen[:, 0, last]) @ candidates.T).argmax(-1)  # (n, g)
            picks[:, last + step] = plain.flatten(0, 2)[chosen]
            guessed[:, last + step] = True
            own = (torch.arange(n, device=view.device)[:, None] * g + last + step) * g
            right.append(chosen == own + torch.arange(g, device=view.device))
        above, known = paint(plain, self.cfg.stride, shown)
        below, _ = paint(picks, self.cfg.stride, guessed)
        grey = torch.full_like(view, 0.5)
        share = torch.stack(right).float().mean((0, 2))  # (n,)
        return {
            "view": view,
            "patches": paint(patches, self.cfg.stride)[0],
            "seen": torch.where(known, above, grey),
            "patches picked for the rest": torch.where(known, above, below),
            "right": [f"{value:.0%}" for value in share.tolist()],
        }


class SeenRows(nn.Module):
    """What a grid holds up to each row: (n, g, g, d) -> (n, g, g, c), where a place sees its own row and `depth` rows
    above, and nothing below.

    Layer norms over the channels of one place: group norms would take their statistics from all rows.
    """

    def __init__(self, inputs: int, width: int, depth: int) -> None:
        super().__init__()
        self.start = nn.Linear(inputs, width)
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in range(depth))
        self.convolutions = nn.ModuleList(nn.Conv2d(width, width, (2, 3)) for _ in range(depth))
        self.ends = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))
        self.last = nn.LayerNorm(width)

    def forward(self, grid: Tensor) -> Tensor:
        """grid (n, g, g, d), rows first."""
        x: Tensor = self.start(grid)
        for norm, convolution, end in zip(self.norms, self.convolutions, self.ends, strict=True):
            around = F.pad(norm(x).permute(0, 3, 1, 2), (1, 1, 1, 0))  # one row above, one column on either side
            x = x + end(F.gelu(convolution(around)).permute(0, 2, 3, 1))
        return self.last(x)
