"""Predicts what the model cannot: the naive rule, from the newest value that is known of each origin."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nightmill.handoff import Batches, Index, Pinned, Plan, Samples, Window
from nightmill.models.bundle import Bundle, Predicted
from nightmill.models.naive import Floats
from nightmill.score.origins import Ints, Rest

BATCH = 4096


def predict_rest(
    bundle: Bundle, gold: Pinned, index: Index, codes: Ints, rest: Rest, threads: int
) -> Iterator[tuple[Rest, Predicted]]:
    """Pieces of the rest, one origin per stretch, with what the fallback says; `codes` [name] are the model's."""
    assert bundle.fallback is not None
    origins = rest.each(index.every_us)
    own = _own(bundle, gold, index, origins.row, threads)
    for begin in range(0, len(own), BATCH):
        part = slice(begin, begin + BATCH)
        some = origins.take(part)
        yield some, bundle.fall_back(codes[some.entity], some.ts, own[part], some.late)


def _own(bundle: Bundle, gold: Pinned, index: Index, row: Ints, threads: int) -> Floats:
    """[n] the newest known value of the rule's column up to logical rows; NaN without one, and where row is -1."""
    assert bundle.fallback is not None
    rule, runs = bundle.fallback.rule, index.runs
    known, which = np.unique(row[row >= 0], return_inverse=True)
    own = np.full(len(row), np.nan, np.float32)
    if not len(known):
        return own
    run = np.searchsorted(runs.first, known, side="right") - 1
    window = Window(bundle.shape.lookback if rule.looks_back else 1, 0, pad=True)
    samples = Samples(run, known, known, runs.first[run], known, window)
    plan = Plan(samples, min(BATCH, samples.count), seed=0, shuffle=False)
    batches = Batches(gold, index, plan, features=[rule.column], target=None, threads=threads)
    found = [rule.summary(batch.x[:, :, 0].numpy()[batch.weight.numpy() > 0]) for batch in batches.epoch(0)]
    own[row >= 0] = np.concatenate(found)[which]
    return own
