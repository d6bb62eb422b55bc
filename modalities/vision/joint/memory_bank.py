"""A memory bank: one embedding of every training picture, as it was when the picture was last shown (1805.01978)."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class MemoryBank(nn.Module):
    """Unit vectors (m, d), one for each training picture.

    They start in random directions, from torch's global generator. The first embedding of a picture takes the place of
    its random one; later ones are blended in. (The code released with the paper blends the first one in as well, so
    that half of it stays noise for another epoch.)

    On several processes, every one has the whole bank and calls `update` with the gathered batch.
    """

    rows: Tensor  # (m, d)
    seen: Tensor  # (m,) bool, whether a row is more than a random direction

    def __init__(self, rows: int, width: int) -> None:
        super().__init__()
        self.register_buffer("rows", F.normalize(torch.randn(rows, width), dim=1))
        self.register_buffer("seen", torch.zeros(rows, dtype=torch.bool))

    @torch.no_grad()
    def update(self, index: Tensor, z: Tensor, momentum: float = 0.0) -> None:
        """Move rows to the unit vectors along momentum * row + (1 - momentum) * z, in place.

        index: (n,) long, the rows. z: (n, d), normalised here. Where a row comes twice, the later one counts alone.
        """
        last = last_places(index, len(self.rows))
        z = F.normalize(z.to(self.rows.dtype), dim=1)[last]  # (n, d)
        keep = torch.where(self.seen[index], momentum, 0.0).to(z)[:, None]  # (n, 1)
        # A row that comes twice is now written twice with the same numbers: in which order, does not matter.
        self.rows.index_copy_(0, index, F.normalize(self.rows[index] * keep + z * (1 - keep), dim=1))
        self.seen.index_fill_(0, index, True)


def last_places(index: Tensor, rows: int) -> Tensor:
    """(n,) long: for each entry of index (n,), the place of the last one that equals it."""
    places = torch.arange(len(index), device=index.device)
    return places.new_zeros(rows).scatter_reduce(0, index, places, "amax")[index]
