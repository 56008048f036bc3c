"""Slices of a scoring's samples: what one Spark task predicts at a time."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from nightmill.handoff import Index, Samples
from nightmill.handoff.cuts import cut

PER_SLOT = 3
"""Slices for each task that can run at a time: a slow one then holds up little."""
LEAST = 20_000
"""Samples of a slice at least, if there are as many: below that opening files takes longer than predicting."""
MEMORY = 256 * 2**20
"""Bytes of rows that a slice holds at most."""


def cut_slices(samples: Samples, index: Index, row_bytes: int, slots: int) -> list[Samples]:
    """Cuts samples into slices of about equal size, between entities where one is not far.

    As many as keep `slots` tasks at work and each slice's rows, `row_bytes` each, within MEMORY. Single rows are cut in
    the order in which they lie in the files.
    """
    lookback = samples.window.lookback
    if lookback == 1:
        samples = samples.as_they_lie(index)
    rows = samples.count + len(samples.run) * (lookback - 1)
    fit = max(1, MEMORY * samples.count // max(rows * row_bytes, 1))
    size = min(fit, max(LEAST, -(-samples.count // (PER_SLOT * slots))))
    edges = samples.edges
    at = np.arange(size, samples.count, size)
    place = np.searchsorted(edges, at)
    before, after = edges[place - 1], edges[place]
    near = np.where(at - before < after - at, before, after)
    ends = np.unique(np.concatenate([[0], np.where(2 * abs(near - at) <= size, near, at), [samples.count]]))
    interval, begin, stop = cut(ends[:-1], ends[1:], edges)
    first = samples.first[interval] + begin - edges[interval]
    pieces = samples.take(interval).at(first, first + stop - begin - 1)
    bounds = np.searchsorted(begin, ends)
    return [pieces.take(np.arange(low, high)) for low, high in pairwise(bounds)]
