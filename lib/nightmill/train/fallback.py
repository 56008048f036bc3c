"""What stands in for the model: a naive rule fitted on the training rows, its interval on the validation part."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from nightmill.handoff import Batches, Index, Parts, Pinned, Plan, Window, window_rows
from nightmill.models.interval import Interval, calibrate
from nightmill.models.naive import RULES, Fallback, Setting

if TYPE_CHECKING:
    from nightmill.models.shape import Shape
    from nightmill.train.job import TrainJob

CALIBRATION_SAMPLES = 200_000
"""Most validation windows that its interval rests on; above that evenly spaced ones stand for all."""
BATCH = 4096


def fit_fallback(
    job: TrainJob, gold: Pinned, index: Index, parts: Parts, entities: list[str], shape: Shape
) -> Fallback | None:
    """The rule that the use case names in `score.fallback`; None where it wants none.

    `entities` is the model's vocabulary, `shape` its shape. Independent of how many workers train later.
    """
    case = job.use_case
    if case.fallback is None:
        return None
    kind = RULES[case.fallback]
    rule = kind(Setting.of(case, len(entities), index.every_us, job.zone))
    known = {name: code for code, name in enumerate(entities, start=1)}
    codes = np.array([known.get(name, 0) for name in index.entities], np.int64)
    rule.fit(window_rows(gold, index, parts.train, [kind.column, "target"]), codes)
    if not shape.has_interval:
        return Fallback(case.fallback, rule, Interval.absent(case.score.interval, shape.steps))
    judged = parts.validation.thinned(CALIBRATION_SAMPLES)
    lookback = job.window.lookback if kind.looks_back else 1
    judged = replace(judged, window=Window(lookback, job.window.horizon, judged.window.pad))
    plan = Plan(judged, BATCH, seed=0, shuffle=False)
    truth, value = [], []
    batches = Batches(gold, index, plan, features=[kind.column], memory=job.memory, cache=job.cache)
    for batch in batches.epoch(0):
        said, real = rule.predict_batch(batch, codes)
        value.append(said)
        truth.append(batch.y.numpy()[real])
    middle = np.concatenate(value)
    return Fallback(case.fallback, rule, calibrate(np.concatenate(truth), middle, middle, case.score.interval))
