"""Truth and predictions of some entities: those that should be looked at, and some that stand for the rest."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from nightmill.clock import Clock
from nightmill.config import UseCase
from nightmill.lake.tables import Lake
from nightmill.report.told import Chosen, Entities, Panel, Status

WORST, ALARMED, TYPICAL = 10, 10, 4
"""Entities whose series are shown, by why."""
NIGHTS = 14
"""Nights of predictions of what an entity is now: a remaining life, a probability, a class."""
BEFORE = 3
"""What came before a forecast, in its own lengths; at least `LEAST` steps."""
LEAST = 24
Floats = NDArray[np.float64]
_COLUMNS = ["entity", "ts", "horizon", "target_ts", "value", "lo", "hi", "day"]


def chosen(entities: Entities, urgent: Literal["low", "high"] | None) -> dict[str, str]:
    """Entity -> why it is shown. `urgent` says which predictions come first; the largest errors without it."""
    rank = np.array(entities.value, float) if urgent else -np.array(entities.error, float)
    if urgent == "high":
        rank = -rank
    order = [int(place) for place in np.argsort(rank, kind="stable") if np.isfinite(rank[place])]
    if not order:  # nothing is known of any: the first ones stand for all
        order = list(range(len(entities.names)))

    def some(status: Status, many: int, why: str) -> dict[str, str]:
        return dict.fromkeys([entities.names[n] for n in order if entities.status[n] == status][:many], why)

    found = some("alarm", ALARMED, "alarm") | some("worse", WORST // 2, "worse than usual")
    worst = [entities.names[n] for n in order if entities.names[n] not in found][: WORST - WORST // 2]
    found |= dict.fromkeys(worst, "most urgent" if urgent else "largest error")
    rest = [entities.names[n] for n in order if entities.names[n] not in found]
    middle = len(rest) // 2
    return found | dict.fromkeys(rest[max(0, middle - TYPICAL // 2) : middle + TYPICAL // 2], "typical")


def series_of(
    lake: Lake, use_case: UseCase, wanted: dict[str, str], days: list[date], night: date, clock: Clock
) -> list[Chosen]:
    """The panels of the entities wanted. `days` are those with predictions up to the night's, oldest first."""
    gold, predictions = lake.table("gold", use_case.name), lake.table("predictions", use_case.name)
    if not wanted or not days or not gold.exists():
        return []
    shown = days[-2:] if use_case.task == "forecast" else days[-NIGHTS:]
    names = pa.array(list(wanted))
    mine = pc.field("entity").isin(names)
    made = predictions.delta().to_pyarrow_dataset().to_table(_COLUMNS, filter=mine & pc.field("day").isin(shown))
    if not made.num_rows:
        return []
    since = pc.min(made["ts"]).as_py() - max(LEAST, BEFORE * use_case.target.steps) * timedelta(
        microseconds=clock.every
    )
    until = pc.max(made["target_ts"]).as_py()
    of_time = (pc.field("ts") >= since) & (pc.field("ts") <= until)
    truth = gold.delta().to_pyarrow_dataset().to_table(["entity", "ts", "target"], filter=mine & of_time)
    found = []
    for name, why in wanted.items():
        own, real = made.filter(pc.equal(made["entity"], name)), truth.filter(pc.equal(truth["entity"], name))
        if not own.num_rows:
            continue
        known = dict(zip(clock.even(_micros(real["ts"])).tolist(), real["target"].to_numpy().astype(float).tolist()))
        draw = _forecasts if use_case.task == "forecast" else _nights
        found.append(Chosen(name, why, draw(own, known, use_case.target.steps, clock, night)))
    return found


def _forecasts(made: pa.Table, known: dict[int, float], steps: int, clock: Clock, night: date) -> list[Panel]:
    """One panel a night: what was forecast, what came before it, and what came true."""
    step, found = clock.every, []
    for day in sorted(set(made["day"].to_pylist())):
        rows = made.filter(pc.equal(made["day"], pa.scalar(day)))
        ts, at = (clock.even(_micros(rows[name])) for name in ("ts", "target_ts"))
        horizon = rows["horizon"].to_numpy()
        last = ts == ts.max()
        each = len(set(ts.tolist())) > 1
        # from every row of a day: its furthest forecasts, and all of the last origin's
        use = last | ((horizon == steps) if each else False)
        first = int(at[use].min()) if each else int(ts.max()) - max(LEAST, BEFORE * steps) * step
        count = (int(at[use].max()) - first) // step + 1
        columns = _on_grid(rows, use, (at - first) // step, count)
        real = [known.get(first + n * step, float("nan")) for n in range(count)]
        title = f"{'Forecast of' if day == night else 'Held against truth: forecast of'} {day.day} {day:%B}"
        title += f", {steps} steps ahead" if each else ""
        found.append(Panel(title, _time(int(clock.real(first))), step / 1_000_000, real, *columns))
    return found


def _nights(made: pa.Table, known: dict[int, float], steps: int, clock: Clock, night: date) -> list[Panel]:
    """One panel: the last prediction of each night, and the truth where it is known by now."""
    days = sorted(set(made["day"].to_pylist()))
    grid = [days[0] + timedelta(days=n) for n in range((night - days[0]).days + 1)]
    size = len(grid)
    truth, value, lo, hi = (np.full(size, np.nan) for _ in range(4))
    for day in days:
        rows = made.filter(pc.equal(made["day"], pa.scalar(day))).sort_by("ts")
        place, row = grid.index(day), rows.slice(rows.num_rows - 1).to_pylist()[0]
        value[place], lo[place], hi[place] = row["value"], row["lo"], row["hi"]
        truth[place] = known.get(int(clock.even(_micros(rows["ts"]))[-1]), float("nan"))
    start = datetime(grid[0].year, grid[0].month, grid[0].day, tzinfo=UTC)
    columns = [column.tolist() for column in (truth, value, lo, hi)]
    return [Panel("Predicted, night by night", start, 86400.0, *columns)]


def _on_grid(rows: pa.Table, use: NDArray[np.bool_], place: NDArray[np.int64], count: int) -> list[list[float]]:
    """value, lo and hi at the steps of a grid; of two origins for one step the earlier, furthest forecast stands."""
    found = []
    for name in ("value", "lo", "hi"):
        column = np.full(count, np.nan)
        values = rows[name].to_numpy().astype(float)
        order = np.argsort(-_micros(rows["ts"]), kind="stable")
        order = order[use[order]]
        column[place[order]] = values[order]
        found.append(column.tolist())
    return found


def _time(micros: int) -> datetime:
    return datetime.fromtimestamp(micros / 1_000_000, UTC)


def _micros(times: pa.ChunkedArray) -> NDArray[np.int64]:
    return np.asarray(times.cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy())
