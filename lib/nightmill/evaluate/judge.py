"""The stage `evaluate`: candidate, champion and baselines on the same test samples, then promotion."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from nightmill.config import Time, UseCase
from nightmill.config.environment import Handoff
from nightmill.errors import NightmillError, WorkFailed
from nightmill.evaluate.predict import (
    Floats,
    Material,
    baseline,
    baseline_quantiles,
    groups_of,
    predictions,
    quantiles,
    truths,
)
from nightmill.handoff import Pinned
from nightmill.lake.ops import events
from nightmill.lake.registry import Registry
from nightmill.lake.run import Step
from nightmill.lake.tables import Lake
from nightmill.metrics import METRICS, best_threshold, coverage
from nightmill.models.bundle import Bundle

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Score:
    """One figure of one contestant."""

    of: str
    """candidate, champion, or a baseline's name."""
    metric: str
    horizon: int | None
    """Steps ahead; None over all steps."""
    value: float
    samples: int


@dataclass
class Verdict:
    """What evaluation found and decided."""

    use_case: str
    candidate: int
    champion: int | None
    scores: list[Score] = field(default_factory=list)
    promoted: bool = False
    reason: str = ""


def evaluate(step: Step, use_case: UseCase, time: Time, registry: Registry, handoff: Handoff) -> Verdict:
    """Judges the candidate on the test part of the table it was trained on; promotes it if it wins.

    It wins if it is better than the champion and than the first baseline by the first metric.
    Raises WorkFailed where there is no candidate.
    """
    step.begin()
    reconcile(step, use_case, registry)
    candidate, champion = registry.candidate(use_case.name), registry.champion(use_case.name)
    if candidate is None:
        raise WorkFailed(f"{use_case.name} has no candidate model", where="model registry", fix="run `nightmill train`")
    verdict = Verdict(use_case.name, candidate, champion)
    bundle = Bundle.from_files(registry.load(use_case.name, candidate), f"{use_case.name} version {candidate}")
    material = material_of(step.lake, use_case, time, bundle, handoff)
    contestants = {"candidate": bundle}
    if champion is not None and champion != candidate:
        try:
            files = registry.load(use_case.name, champion)
            contestants["champion"] = Bundle.from_files(files, f"{use_case.name} version {champion}")
        except NightmillError as error:  # it could not score either: what beats the baseline is better than none
            log.warning("%s: the champion is out of the contest: %s", use_case.name, error.what)
    verdict.scores = compare(use_case, material, contestants)
    step.metric([_row(score, {"candidate": candidate, "champion": champion}) for score in verdict.scores])
    _decide(use_case, verdict)
    if verdict.promoted:
        step.lease.verify()
        registry.promote(use_case.name, candidate)
        step.promotion(candidate, champion, verdict.reason)
    log.info("%s: %s", use_case.name, verdict.reason)
    return verdict


def material_of(lake: Lake, use_case: UseCase, time: Time, bundle: Bundle, handoff: Handoff) -> Material:
    """The table that a model was trained on, pinned by the model itself, with the same parts."""
    gold = Pinned.from_json(json.dumps(bundle.gold), lake.storage_options or None)
    fold = int(bundle.training.get("fold", 0))
    return Material.of(use_case, gold, time.every, time.zone, bundle.seed, handoff, fold)


def compare(use_case: UseCase, material: Material, bundles: dict[str, Bundle]) -> list[Score]:
    """All metrics of the models and of the baselines on the test part, over all steps and at those named.

    With `evaluate.by` the mean over its categories: a rare one counts as much as a frequent one.
    """
    test, budget = material.parts.test, use_case.evaluate.budget
    truth = truths(material, test)
    values: dict[str, Floats] = {}
    spreads: dict[str, Floats] = {}
    spread = any(METRICS[metric].takes == "levels" for metric in use_case.evaluate.metrics)
    thresholds: dict[str, float] = {}
    scores: list[Score] = []
    for name, bundle in bundles.items():
        values[name], lo, hi = predictions(bundle, material, test)
        if spread:
            spreads[name] = quantiles(bundle, material, test)
        if bundle.threshold is not None:
            thresholds[name] = bundle.threshold
        if bundle.shape.has_interval:
            scores.append(Score(name, "coverage", None, coverage(truth, lo, hi), int(np.isfinite(truth).sum())))
    for name in use_case.evaluate.baselines:
        values[name] = baseline(name, material, test)
        if spread:
            spreads[name] = baseline_quantiles(name, material, test)
        if use_case.task != "detect" and any(METRICS[m].takes == "threshold" for m in use_case.evaluate.metrics):
            judged = material.parts.validation  # as models choose theirs
            thresholds[name] = best_threshold(truths(material, judged), baseline(name, material, judged))
    groups = groups_of(material, test)
    for name, value in values.items():
        for metric in use_case.evaluate.metrics:
            for horizon in (None, *(use_case.evaluate.at or ())):
                part = slice(None) if horizon is None else slice(horizon - 1, horizon)
                threshold = thresholds.get(name, 0.5)
                said = spreads[name] if METRICS[metric].takes == "levels" else value
                beside: dict[str, Any] = {"threshold": threshold, "budget": budget, "levels": use_case.evaluate.levels}
                figures = [METRICS[metric](truth[group, part], said[group, part], **beside) for group in groups]
                samples = int(np.isfinite(truth[:, part]).sum())
                scores.append(Score(name, metric, horizon, float(np.mean(figures)), samples))
    return scores


def reconcile(step: Step, use_case: UseCase, registry: Registry) -> None:
    """Writes the promotion that a run killed between the alias and its record left out."""
    champion = registry.champion(use_case.name)
    if champion is None:
        return
    known = {row["model_version"] for row in events(step.lake, "promotions", subject=use_case.name)}
    if champion not in known:
        step.promotion(champion, None, "reconciled: the alias was set by a run that ended before recording it")


def _decide(use_case: UseCase, verdict: Verdict) -> None:
    metric, naive = use_case.evaluate.metrics[0], use_case.evaluate.baselines[0]
    mine = _figure(verdict, "candidate", metric)
    if use_case.task == "detect" and mine is not None and np.isnan(mine):
        verdict.promoted = True
        verdict.reason = f"version {verdict.candidate} is promoted: no row of the test is known to be a fault"
        return
    if verdict.champion == verdict.candidate:
        verdict.reason = f"version {verdict.candidate} is the champion already"
        return
    for rival in ("champion", naive):
        theirs = _figure(verdict, rival, metric)
        if theirs is not None and not (mine is not None and METRICS[metric].better(mine, theirs)):
            verdict.reason = (
                f"version {verdict.candidate} is not promoted: {metric} {mine:.4g} is not "
                f"{'above' if METRICS[metric].higher else 'below'} the {theirs:.4g} of {rival.replace('_', ' ')}"
            )
            return
    verdict.promoted = True
    against = _figure(verdict, "champion", metric)
    before = f", champion {against:.4g}" if against is not None else ""
    verdict.reason = (
        f"version {verdict.candidate} is promoted: {metric} {mine:.4g} "
        f"({naive.replace('_', ' ')} {_figure(verdict, naive, metric):.4g}{before})"
    )


def _figure(verdict: Verdict, of: str, metric: str) -> float | None:
    return next((s.value for s in verdict.scores if (s.of, s.metric, s.horizon) == (of, metric, None)), None)


def _row(score: Score, versions: dict[str, int | None]) -> dict[str, Any]:
    return {
        "metric": score.metric,
        "of": score.of,
        "horizon": score.horizon,
        "value": score.value,
        "samples": score.samples,
        "model_version": versions.get(score.of),
    }
