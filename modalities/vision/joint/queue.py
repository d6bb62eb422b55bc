"""A queue of embeddings of earlier steps, as MoCo keeps them (He et al. 2019, arXiv 1911.05722)."""

import torch
from torch import Tensor, nn


class Queue(nn.Module):
    """The latest `length` rows that were pushed, with the ids of what they show; the oldest make room for new ones.

    It starts empty: rows that nothing was pushed into are zeros, and `is_filled` tells them. (MoCo's released code
    starts with random directions, which count as negatives until they are replaced.)

    To be pushed into once per update, in `after_step`, by every process the same rows: those of all, gathered.
    """

    rows: Tensor  # (m, d)
    ids: Tensor  # (m,) int64, -1 where none was given
    born: Tensor  # (m,) int64, the number of the push that brought each row
    next: Tensor  # () int64, where the next row goes
    filled: Tensor  # () int64, how many rows there are
    pushes: Tensor  # () int64, how many there were

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.register_buffer("rows", torch.zeros(length, width))
        self.register_buffer("ids", torch.full((length,), -1))
        self.register_buffer("born", torch.zeros(length, dtype=torch.int64))
        for name in ("next", "filled", "pushes"):
            self.register_buffer(name, torch.zeros((), dtype=torch.int64))

    @torch.no_grad()
    def push(self, rows: Tensor, ids: Tensor | None = None) -> None:
        """Put rows (n, d), and their ids int64 (n,), in the place of the oldest n.

        Raises:
            ValueError: see `require`.
        """
        n, length = len(rows), len(self.rows)
        self.require(n)
        places = (self.next + torch.arange(n, device=self.rows.device)) % length  # (n,)
        self.rows.index_copy_(0, places, rows.to(self.rows))
        self.ids.index_copy_(0, places, torch.full_like(places, -1) if ids is None else ids)
        self.born.index_copy_(0, places, self.pushes.expand(n))
        self.next.copy_((self.next + n) % length)
        self.filled.copy_((self.filled + n).clamp(max=length))
        self.pushes.add_(1)

    def require(self, n: int) -> None:
        """Raise ValueError where n rows, those of one step, are more than the queue holds."""
        length = len(self.rows)
        if n > length:
            raise ValueError(
                f"task.queue {length} is shorter than the {n} rows that one step brings; give {n} or more."
            )

    def valid(self) -> Tensor:
        """The rows that were pushed, (filled, d), in no order. It waits for the device; `is_filled` does not."""
        return self.rows[: int(self.filled)]

    def is_filled(self) -> Tensor:
        """Which rows were pushed, (m,) bool."""
        return torch.arange(len(self.rows), device=self.rows.device) < self.filled

    def age(self) -> dict[str, Tensor]:
        """How many steps ago the oldest row was pushed, and the mean row: 1 for the latest step, 0 for an empty queue.
        Scalars to log."""
        ages = torch.where(self.is_filled(), self.pushes - self.born, 0)  # (m,)
        return {"queue_age": ages.max().double(), "queue_mean_age": ages.sum() / self.filled.clamp(min=1).double()}
