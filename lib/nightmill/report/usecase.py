"""The page of a use case: its champion, how good it is, and what it said in the night."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any

from nightmill.clock import Clock
from nightmill.config import DataSet, UseCase
from nightmill.config.values import DATA, format_duration
from nightmill.lake.entities import slices_of
from nightmill.lake.live import LIVE, NAIVE, day_counts, usual
from nightmill.lake.ops import events
from nightmill.lake.registry import Registry
from nightmill.lake.tables import Lake
from nightmill.report.entities import Night as Predicted
from nightmill.report.entities import entities_of, night_of, past_of
from nightmill.report.lineage import lineage_of
from nightmill.report.model import champion_of, figures_of
from nightmill.report.series import chosen, series_of
from nightmill.report.told import UNKNOWN, Alarm, Live, Part, Ran, UseCasePage

NIGHTS = 30
"""Days of live error that are shown."""


def in_use(lake: Lake, use_case: UseCase) -> bool:
    """Whether anything was ever made of a use case."""
    return lake.table("gold", use_case.name).exists() or lake.table("predictions", use_case.name).exists()


def use_case_page(
    lake: Lake,
    registry: Registry | None,
    use_case: UseCase,
    inputs: Mapping[str, DataSet],
    night: date,
    until: datetime,
    alarms: Iterable[Alarm],
    steps: Iterable[Ran],
    areas: Mapping[str, str],
) -> UseCasePage:
    """What the tables tell of a use case after a night whose last event was at `until`."""
    series = inputs[next(iter(use_case.inputs))]
    time, name = series.clock, use_case.name
    predictions = lake.table("predictions", name)
    counts = day_counts(predictions) if predictions.exists() else {}
    scored = {day: rows for day, (rows, _) in counts.items() if day <= night}
    many, by_rule = counts.get(night, (0, 0))
    predicted = night_of(predictions, night, use_case.target.steps) if many else Predicted()
    clock = Clock.of(time.every, time.zone)
    past = past_of(lake, use_case, scored, clock)
    slices = slices_of(lake, use_case, inputs)
    entities = entities_of(use_case, predicted, past, [a for a in alarms if a.subject == name], slices, areas)
    figures = figures_of(lake, name, until)
    champion = champion_of(lake, registry, name, _model_of(lake, name, night) if many else None, until)
    watched = [row for row in events(lake, "metrics", subject=name, step="monitor") if row["day"] <= night]
    return UseCasePage(
        name=name,
        title=use_case.title,
        inputs=sorted({f"{DATA}{data_set.name}" for data_set in inputs.values()}),
        task=use_case.task,
        target=use_case.target.name,
        unit=_unit(use_case, series),
        zone=time.zone,
        metric=use_case.evaluate.metrics[0],
        champion=champion,
        verdict=_verdict(name, steps),
        figures=figures,
        live=_live(watched),
        horizons=_parts(watched, "horizon"),
        slices=_parts(watched, "slice"),
        predictions=many,
        entities=entities,
        chosen=series_of(lake, use_case, chosen(entities, use_case.target.urgent), list(scored), night, clock)
        if many
        else [],
        error_day=past.day,
        lineage=lineage_of(lake, name, champion, until),
        step=format_duration(time.every),
        factor=use_case.monitor.error,
        limits=(use_case.monitor.below, use_case.monitor.above),
        fallbacks=by_rule,
    )


def _unit(use_case: UseCase, series: DataSet) -> str:
    if use_case.target.event:
        return ""
    if use_case.target.column is None:
        every = format_duration(series.clock.every)
        return {"1 h": "hours", "1 d": "days"}.get(every, f"steps of {every}")
    unit = series.contract.column(use_case.target.column).unit or ""
    return "" if unit == "1" else unit


def _model_of(lake: Lake, name: str, night: date) -> int | None:
    """The version that made the night's predictions."""
    source = lake.table("predictions", name).delta().to_pyarrow_dataset(partitions=[("day", "=", night.isoformat())])
    rows = source.head(1, columns=["model_version"])
    return rows["model_version"][0].as_py() if rows.num_rows else None


def _verdict(name: str, steps: Iterable[Ran]) -> str:
    """What the night's evaluation decided, in its own words."""
    for ran in steps:
        if (ran.stage, ran.subject) == ("evaluate", name) and ran.state != "nothing":
            return ran.what
    return ""


def _live(rows: list[dict[str, Any]]) -> list[Live]:
    """Live error by day, over all entities and horizons; what was measured last of a day stands."""
    found: dict[date, dict[str, float]] = {}
    for row in rows:
        if row["horizon"] is None and not row["slice"]:
            kind = "naive" if row["of"] == NAIVE else row["metric"]
            found.setdefault(row["day"], {})[kind] = row["value"]
    days = [
        Live(day, of["mae"], of.get("naive", UNKNOWN), of.get("coverage", UNKNOWN))
        for day, of in sorted(found.items())
        if "mae" in of
    ]
    return days[-NIGHTS:]


def _parts(rows: list[dict[str, Any]], by: str) -> list[Part]:
    """Live error of the last day with truth by slice or horizon, with the median of the days before."""
    mine = [row for row in rows if row["of"] == LIVE and row[by]]
    last = max((row["day"] for row in mine), default=date.min)
    errors: dict[Any, dict[date, float]] = {}
    coverage: dict[Any, float] = {}
    for row in mine:
        if row["metric"] == "mae":
            errors.setdefault(row[by], {})[row["day"]] = row["value"]
        elif row["metric"] == "coverage" and row["day"] == last:
            coverage[row[by]] = row["value"]
    found = []
    for name, of_day in sorted(errors.items(), key=lambda item: item[0]):
        if last in of_day:
            before = usual(of_day, last)
            found.append(
                Part(str(name), of_day[last], UNKNOWN if before is None else before, coverage.get(name, UNKNOWN))
            )
    return found
