"""Summarises a backtest: every seed's models on the test part against the baselines, mean and spread."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np

from nightmill.config import DataSet, UseCase
from nightmill.config.environment import Handoff
from nightmill.evaluate.boxes import boxes_of, met
from nightmill.evaluate.judge import compare, material_of
from nightmill.evaluate.levers import levers
from nightmill.evaluate.probe import Probe
from nightmill.evaluate.stress import stress
from nightmill.lake.run import Step
from nightmill.provenance import commit, machine

HEAT = "heat map meets a box"
"""What `evaluate.boxes` finds is called, among the metrics."""


@dataclass(frozen=True)
class Row:
    """One figure over the seeds; baselines have one value."""

    of: str
    metric: str
    horizon: int | None
    mean: float
    spread: float
    """Largest minus smallest value over the seeds."""
    values: list[float]


@dataclass
class Backtest:
    """A backtest's table, with what it was measured on."""

    use_case: str
    seeds: list[int]
    gold_version: int
    test_samples: int
    train_seconds: list[float]
    rows: list[Row]
    metric: str = ""
    """The first metric."""
    levers: dict[str, list[float]] = field(default_factory=dict)
    """Lever -> how much worse the first metric is without it, by seed, see `evaluate.levers`; the strongest first."""
    stress: dict[str, list[float]] = field(default_factory=dict)
    """What is done to the inputs -> the first metric then, by seed, see `evaluate.stress`."""
    date: str = field(default_factory=lambda: datetime.now(UTC).date().isoformat())
    commit: str = field(default_factory=commit)
    machine: str = field(default_factory=machine)

    def figure(self, of: str, metric: str, horizon: int | None = None) -> float:
        """The mean of one figure; raises KeyError where it was not measured."""
        for row in self.rows:
            if (row.of, row.metric, row.horizon) == (of, metric, horizon):
                return row.mean
        raise KeyError((of, metric, horizon))

    def to_markdown(self) -> str:
        """The table as Markdown, for docs/results/."""
        head = ["| of | metric | steps ahead | mean | spread over seeds |", "|---|---|---|---|---|"]
        lines = [
            f"| {r.of} | {r.metric} | {'all' if r.horizon is None else r.horizon} | {r.mean:.4f} | {r.spread:.4f} |"
            for r in self.rows
        ]
        facts = [
            f"# Backtest of {self.use_case}",
            "",
            f"Seeds {', '.join(map(str, self.seeds))}; {self.test_samples} test samples; gold version "
            f"{self.gold_version}; training {', '.join(f'{s:.0f} s' for s in self.train_seconds)}.",
            f"{self.date}, commit {self.commit}, {self.machine}.",
            "",
        ]
        return "\n".join([*facts, *head, *lines, "", *self._stress(), "", *self._levers(), ""]).rstrip("\n") + "\n"

    def _stress(self) -> list[str]:
        head = [
            f"How the model stands bad inputs: {self.metric} then.",
            "",
            f"| inputs | {self.metric} | spread over seeds |",
            "|---|---|---|",
        ]
        return head + [f"| {n} | {np.mean(v):.4f} | {np.ptp(v):.4f} |" for n, v in self.stress.items()]

    def _levers(self) -> list[str]:
        if not self.levers:
            return []
        head = [
            f"What the model relies on: how much worse {self.metric} is where a lever's values are dealt out anew.",
            "",
            "| lever | worse by | spread over seeds |",
            "|---|---|---|",
        ]
        return head + [f"| {n} | {np.mean(v):.4f} | {np.ptp(v):.4f} |" for n, v in self.levers.items()]


def summarise(
    step: Step, use_case: UseCase, data_sets: dict[str, DataSet], trained: list[Any], handoff: Handoff
) -> Backtest:
    """Judges every model on the test part of the table that it was trained on; writes ops.metrics.

    `data_sets` are those of the use case's inputs. The figure of a seed is the mean of its folds.
    """
    series = next(iter(data_sets.values()))
    marked = [data_sets[name] for name, item in use_case.inputs.items() if item.as_ == "boxes"]
    boxes = boxes_of(step.lake, marked[0], series.contract.entity) if marked else None
    by_seed: dict[int, list[Any]] = {}
    for one in trained:
        by_seed.setdefault(one.bundle.seed, []).append(one)
    figures: dict[tuple[str, str, int | None], list[float]] = {}
    moved: dict[str, list[float]] = {}
    stood: dict[str, list[float]] = {}
    samples = 0
    for position, folds in enumerate(by_seed.values()):
        judged, of_folds = use_case if position == 0 else _without_baselines(use_case), dict[Any, list[float]]()
        samples, by_lever, by_stress = 0, dict[str, list[float]](), dict[str, list[float]]()
        for one in folds:
            material = material_of(step.lake, use_case, series.clock, one.bundle, handoff)
            samples += material.parts.test.count
            for score in compare(judged, material, {"model": one.bundle}):
                of_folds.setdefault((score.of, score.metric, score.horizon), []).append(score.value)
            if boxes is not None:
                of_folds.setdefault(("model", HEAT, None), []).append(met(one.bundle, material, boxes))
            probe = Probe.of(one.bundle, material)
            for lever, worse in levers(probe).items():
                by_lever.setdefault(lever, []).append(worse)
            for how, value in stress(probe).items():
                by_stress.setdefault(how, []).append(value)
        for key, values in of_folds.items():
            figures.setdefault(key, []).append(float(np.mean(values)))
        for lever, values in by_lever.items():
            moved.setdefault(lever, []).append(float(np.mean(values)))
        for how, values in by_stress.items():
            stood.setdefault(how, []).append(float(np.mean(values)))
    rows = [
        Row(of, metric, horizon, float(np.mean(values)), float(np.max(values) - np.min(values)), values)
        for (of, metric, horizon), values in figures.items()
    ]
    step.metric(
        [
            {"metric": row.metric, "of": f"backtest {row.of}", "horizon": row.horizon, "value": row.mean}
            | {"samples": samples}
            for row in rows
        ]
    )
    return Backtest(
        use_case=use_case.name,
        seeds=list(by_seed),
        gold_version=int(trained[0].bundle.gold["version"]),
        test_samples=samples,
        train_seconds=[sum(one.seconds for one in folds) for folds in by_seed.values()],
        rows=rows,
        metric=use_case.evaluate.metrics[0],
        stress=stood,
        levers=dict(sorted(moved.items(), key=lambda item: -float(np.mean(item[1])))),
    )


def _without_baselines(use_case: UseCase) -> UseCase:
    """Baselines do not depend on the seed: they are judged once."""
    return use_case.model_copy(update={"evaluate": use_case.evaluate.model_copy(update={"baselines": []})})
