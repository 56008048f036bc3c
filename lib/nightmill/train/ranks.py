"""What the processes that train one model together say to each other; alone, nothing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from nightmill.train import failure

Found = TypeVar("Found")


def rank() -> int:
    """This process's number, 0 when alone."""
    return dist.get_rank() if dist.is_initialized() else 0


def world() -> int:
    """How many processes train together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def summed(values: Tensor, error: Exception | None = None) -> Tensor:
    """`values` (float64 vector) summed over the ranks, the same on all.

    A rank that failed passes its error instead of leaving: all ranks then raise it together, so that none waits for
    a partner that is gone.
    """
    if world() == 1:
        if error is not None:
            raise error
        return values
    vector = torch.cat([values, values.new_tensor([0.0 if error is None else 1.0])])
    dist.all_reduce(vector)
    if vector[-1].item() > 0:
        agree(error)
    return vector[:-1]


def agree(error: Exception | None) -> None:
    """Raises on all ranks if any rank has an error: the one of the lowest rank that has one."""
    if world() == 1:
        if error is not None:
            raise error
        return
    found = [item for item in gathered(None if error is None else failure.to_json(error)) if item is not None]
    if found:
        raise failure.from_json(found[0]) from error


def gathered(item: Any) -> list[Any]:
    """Every rank's item in order of rank, on all ranks."""
    items: list[Any] = [item]
    if world() > 1:
        items = [None] * world()
        dist.all_gather_object(items, item)
    return items


def from_first(item: Any) -> Any:
    """Rank 0's item on all ranks."""
    items = [item]
    if world() > 1:
        dist.broadcast_object_list(items, src=0)
    return items[0]


def asked_of_first(ask: Callable[[], Found]) -> Found:
    """What rank 0 finds, on all ranks: the others may not reach its files. Its error is raised by all together."""
    if world() == 1:
        return ask()
    found, said, error = None, None, None
    if rank() == 0:
        try:
            found = ask()
        except Exception as raised:
            error, said = raised, failure.to_json(raised)
    found, said = from_first((found, said))
    if said is not None:
        raise failure.from_json(said) from error
    return found


def share_cores(local_processes: int) -> int:
    """Sets torch's threads to this process's share of the machine's cores; returns what was set before."""
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, len(os.sched_getaffinity(0)) // max(1, local_processes)))
    return before
