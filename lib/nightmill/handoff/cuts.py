"""Cutting stretches of numbers at edges."""

from __future__ import annotations

import numpy as np

from nightmill.handoff.index import Ints


def cut(start: Ints, stop: Ints, edges: Ints) -> tuple[Ints, Ints, Ints]:
    """Cuts each [start, stop) at the edges that lie in it: cell (edges[cell] <= … < edges[cell + 1]), begin, stop."""
    _, begin, end, cell = cut_with_owner(start, stop, edges)
    return cell, begin, end


def cut_with_owner(start: Ints, stop: Ints, edges: Ints) -> tuple[Ints, Ints, Ints, Ints]:
    """As `cut`, with the number of the stretch that each piece is of first and its cell last."""
    first = np.searchsorted(edges, start, "right") - 1
    count = np.where(stop > start, np.searchsorted(edges, stop, "left") - first, 0)
    owner = np.repeat(np.arange(len(start)), count)
    cell = first[owner] + np.arange(len(owner)) - (np.cumsum(count) - count)[owner]
    return owner, np.maximum(start[owner], edges[cell]), np.minimum(stop[owner], edges[cell + 1]), cell


def rows_of(first: Ints, length: Ints) -> Ints:
    """All rows of stretches, one after the other."""
    return np.repeat(first - (np.cumsum(length) - length), length) + np.arange(int(length.sum()))
