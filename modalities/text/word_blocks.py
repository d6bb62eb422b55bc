"""Windows of a whole batch at once: runs of words cut into blocks of neighbouring centres.

Centres that stand side by side share most of their context. A block holds a few of them with all words in their reach,
so that one small matrix product scores every pair of the block; the pairs beyond a centre's window count for nothing.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor


class Blocks(NamedTuple):
    """b blocks of c centres, and the j = c + 2 reach words around them."""

    around: Tensor
    """Word numbers, long (b, j); -1 beyond the ends of a run. The centres are those from `reach` to `reach + c`."""
    windows: Tensor
    """How far each centre looks, long (b, c)."""
    row: Tensor
    """The row of the batch a block is from, long (b,)."""
    number: Tensor
    """Its place in that row, long (b,)."""


def cut(words: Tensor, kept: Tensor, windows: Tensor, size: int, reach: int) -> Blocks:
    """Blocks of `size` centres of the words that are kept, in order.

    words: long (n, t); kept: bool (n, t), false at padding; windows: long (n, t), of the first, second ... kept word.
    """
    n, t = words.shape
    most = -(-t // size)
    stream = words.new_full((n, most * size + 2 * reach), -1)
    place = kept.cumsum(1) + (reach - 1)  # (n, t)
    rows, columns = kept.nonzero(as_tuple=True)
    stream[rows, place[rows, columns]] = words[rows, columns]
    used = torch.arange(most, device=words.device) * size < kept.sum(1, keepdim=True)  # (n, most)
    row, number = used.nonzero(as_tuple=True)
    around = stream.unfold(1, size + 2 * reach, size)[row, number]  # (b, j)
    windows = F.pad(windows, (0, most * size - t)).view(n, most, size)[row, number]  # (b, c)
    return Blocks(around, windows, row, number)


def band(blocks: Blocks) -> Tensor:
    """Which words are context of which centre, bool (b, c, j)."""
    size, span = blocks.windows.shape[1], blocks.around.shape[1]
    reach = (span - size) // 2
    place = torch.arange(span, device=blocks.around.device, dtype=torch.int32)
    apart = (place - place[reach : reach + size, None]).abs_()  # (c, j)
    apart[apart == 0] = span  # no word is its own context
    there = blocks.around >= 0
    looks = (blocks.windows * there[:, reach : reach + size]).int()  # (b, c)
    return (apart <= looks[:, :, None]).logical_and_(there[:, None, :])
