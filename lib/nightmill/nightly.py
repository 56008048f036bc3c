"""The night: all that is due for a day, in the order in which data need it, side by side.

There is no state but the tables': each step looks for what is missing, so a second run of a night does what the first
left out, and nothing where nothing is missing.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterable, Set
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from copy import copy
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal

from deltalake.exceptions import DeltaError

from nightmill import due
from nightmill.apart import train_apart
from nightmill.commands import (
    Outcome,
    Work,
    clean,
    evaluate,
    features,
    land,
    monitor,
    report,
    require_come,
    require_raw,
    score,
    series_time,
    typed_error,
)
from nightmill.config import DataSet, UseCase
from nightmill.config.values import DATA
from nightmill.errors import ConfigError, DataRefused, MachineError, NightmillError, WorkFailed
from nightmill.ingest.drop import days_of_drops
from nightmill.lake.ops import compact
from nightmill.lake.run import Step
from nightmill.logs import speak_of
from nightmill.monitor.tell import POSTED, to_prometheus, to_webhook
from nightmill.report import is_reported
from nightmill.spark import cancel_jobs

log = logging.getLogger(__name__)

State = Literal["done", "nothing", "failed", "skipped"]
Key = tuple[str, str]
"""Stage, and data set or use case."""
UNTIL_THE_BUDGET = ("land", "clean", "features", "train")
"""Stages that are not begun once the night's budget is used up; so is a judgement, where there is a candidate."""
LOOK_EVERY = 1.0
"""Seconds after which a watcher is told how far the night is, if nothing ended before."""


@dataclass
class Line:
    """What became of one stage of one data set or use case."""

    stage: str
    subject: str
    state: State
    what: str = ""
    """What was done, or why nothing was, in one line."""
    seconds: float = 0.0
    error: NightmillError | None = None
    result: Any = None


@dataclass
class Night:
    """What a night did."""

    day: date
    run_id: str
    lines: list[Line] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def failures(self) -> dict[str, NightmillError]:
        """Stage and subject -> what stopped it."""
        return {f"{line.stage} {line.subject}": line.error for line in self.lines if line.error is not None}

    @property
    def idle(self) -> bool:
        """Whether there was nothing to do."""
        return all(line.state == "nothing" for line in self.lines)

    def told(self) -> dict[str, Any]:
        """The night as plain values, for ops.runs."""
        lines = [
            {"stage": line.stage, "subject": line.subject, "state": line.state, "what": line.what}
            | {"seconds": round(line.seconds, 3), "fix": line.error.fix if line.error else ""}
            for line in self.lines
        ]
        return {"day": str(self.day), "seconds": round(self.seconds, 3), "lines": lines}


@dataclass
class _Task:
    """A stage that will run: after some, and only if those that it needs did not fail."""

    run: Callable[[], list[Line]]
    after: set[Key] = field(default_factory=set)
    needs: set[Key] = field(default_factory=set)


@dataclass(frozen=True)
class Underway:
    """How far a night is."""

    day: date
    done: int
    of: int
    now: tuple[str, ...]
    """What is being worked on."""


Watch = Callable[[Underway], None]


def nightly(work: Work, targets: list[str], watch: Watch = lambda _: None) -> Outcome:
    """Runs the nights of the days given, oldest first; a failure stops what rests on it, and nothing else.

    `watch` is told whenever a step begins or ends.
    """
    if not work.days:
        raise ConfigError("a night has a day", where="--day", fix="pass --day D, or --from A --to B")
    use_cases = work.use_cases(targets)
    raw = require_raw(work)
    last, data_sets = work.days[-1], work.data_sets([u.name for u in use_cases])
    require_come(last, lambda: any(last in days_of_drops(data_set, raw) for data_set in data_sets))
    outcome = Outcome()
    for day in work.days:
        night = _Run(_night_of(work, day), day, use_cases, watch).run()
        outcome.results[str(day)] = night
        outcome.failures |= night.failures
    return outcome


def _night_of(work: Work, day: date) -> Work:
    """The work of one of several nights: a run of its own."""
    if len(work.days) == 1:
        return work
    one = copy(work)
    one.days, one.run_id = [day], f"{work.run_id}-{day:%Y%m%d}"
    speak_of(one.run_id)
    return one


class _Run:
    """One night under way."""

    def __init__(self, work: Work, night: date, use_cases: list[UseCase], watch: Watch) -> None:
        self.work, self.night, self.use_cases, self.watch = work, night, use_cases, watch
        self.options = work.configuration.environment.night
        self.raw = work.configuration.raw()
        self.started = time.monotonic()
        self.lines: dict[Key, Line] = {}
        self.tasks: dict[Key, _Task] = {}
        self.data_sets: dict[str, DataSet] = {}
        """Those in use here."""
        self.active: list[str] = []
        self.unreachable: MachineError | None = None
        self.stopped = threading.Event()

    def run(self) -> Night:
        """Does what is due; raises LeaseHeld where another night is at work in this lake."""
        work = self.work
        with work.step("nightly", "nightly") as step:
            self._reach_registry()
            self._plan()
            self._work_off()
            found = Night(self.night, work.run_id, list(self.lines.values()), time.monotonic() - self.started)
            if not found.idle or not is_reported(work.lake, self.night):
                step.begin()
                step.event(f"night {found.day}", **found.told())  # what the report says of it, whenever it is written
                found.lines.append(self._report())
            self._tell(step, found)
            try:
                compact(work.lake)
            except (DeltaError, OSError, NightmillError) as error:
                log.warning("the files of ops were not merged, the next night tries again: %s", error)
        return found

    def _reach_registry(self) -> None:
        """Asks it once, before threads do; where it does not answer, data are still landed, cleaned and watched."""
        try:
            self.work.registry.versions("")
        except MachineError as error:
            log.warning("no model is trained, judged or used tonight: %s", error.what)
            self.unreachable = error

    def _report(self) -> Line:
        """The morning report; a night is not lost with it."""
        started, work = time.monotonic(), self._of([self.night])
        try:
            made = _only(report(work, ["all"], use_registry=self.unreachable is None))
        except Exception as error:
            typed = typed_error(error, "report")
            return Line("report", "all", "failed", typed.what, time.monotonic() - started, typed)
        return Line("report", "all", "done", "all that is in use", time.monotonic() - started, result=made)

    def _tell(self, step: Step, night: Night) -> None:
        """Alarms and figures to those who want to be told."""
        watched = [line.result for line in night.lines if line.stage == "monitor" and line.result is not None]
        if self.options.prometheus is not None:
            try:
                to_prometheus(Path(self.options.prometheus), night.seconds, list(night.failures), watched)
            except OSError as error:
                log.warning("figures for Prometheus were not written: %s", error)
        if to_webhook(self.work.lake, night.run_id, night.day):
            step.event(POSTED)

    # what there is to do

    def _plan(self) -> None:
        known = {d.name: d for d in self.work.data_sets([u.name for u in self.use_cases])}
        idle = {name for name, d in known.items() if due.never_dropped(self.work.lake, d, self.raw)}
        self.data_sets = {name: d for name, d in known.items() if name not in idle}
        for plain, data_set in self.data_sets.items():
            name = f"{DATA}{plain}"
            masters = {("clean", f"{DATA}{rule.master}") for rule in data_set.clean.rules if rule.kind == "known"}
            self._add("land", name, partial(self._land, data_set))
            self._add("clean", name, partial(self._clean, data_set), masters, {("land", name)})
            self._watch(name, "clean")
        wanted: dict[str, str] = {}
        for use_case in self.use_cases:
            inputs = self.work.configuration.inputs(use_case)
            series = inputs[next(iter(use_case.inputs))]
            if series.name in idle:
                log.info("%s is not in use here: no drop of %s has ever come", use_case.name, series.name)
                continue
            name, others = use_case.name, {("clean", f"{DATA}{d.name}") for d in inputs.values()} & self.tasks.keys()
            self._add("features", name, partial(self._features, use_case), others, {("clean", f"{DATA}{series.name}")})
            time_of = series_time(self.work, use_case)
            why = (
                ""
                if self.unreachable
                else due.training(self.work.lake, use_case, time_of, self.work.registry, self.night)
            )
            if why:
                log.info("%s: a new model is due, because %s", name, why)
                wanted[name] = why
        self._add_models(wanted)

    def _add_models(self, wanted: dict[str, str]) -> None:
        if wanted:
            self._add("train", "all", partial(self._train, wanted), {("features", name) for name in wanted})
        for use_case in self.use_cases:
            name = use_case.name
            if ("features", name) not in self.tasks:
                continue
            ready = {("features", name)}
            self._add(
                "evaluate", name, partial(self._evaluate, use_case), {("train", "all")} & self.tasks.keys(), ready
            )
            self._add("score", name, partial(self._score, use_case), {("evaluate", name)}, ready)
            self._watch(name, "score")

    def _watch(self, subject: str, last: str) -> None:
        self._add("monitor", subject, partial(self._monitor, subject), {(last, subject)})

    def _add(
        self,
        stage: str,
        subject: str,
        run: Callable[[], list[Line]],
        after: Set[Key] = frozenset(),
        needs: Set[Key] = frozenset(),
    ) -> None:
        self.tasks[stage, subject] = _Task(run, {*after, *needs}, {*needs})

    # doing it

    def _work_off(self) -> None:
        graph = TopologicalSorter({key: task.after & self.tasks.keys() for key, task in self.tasks.items()})
        graph.prepare()
        running: dict[Future[list[Line]], Key] = {}
        done = 0
        with ThreadPoolExecutor(self.options.at_once, "night") as pool:
            try:
                while graph.is_active():
                    for key in graph.get_ready():
                        running[pool.submit(self._attempt, key)] = key
                    ended = wait(running, LOOK_EVERY, FIRST_COMPLETED).done
                    for one in ended:
                        self.lines |= {(line.stage, line.subject): line for line in one.result()}
                        graph.done(running.pop(one))
                        done += 1
                    self.watch(Underway(self.night, done, len(self.tasks), tuple(self.active)))
            except BaseException:
                self.stopped.set()
                pool.shutdown(wait=False, cancel_futures=True)
                while not all(one.done() for one in running):
                    cancel_jobs()  # again and again: a step may have been between two of them
                    time.sleep(0.2)
                raise

    def _attempt(self, key: Key) -> list[Line]:
        stage, subject = key
        stopped = [
            f"{stage} {subject}" for stage, subject in sorted(self.tasks[key].needs) if self._lost((stage, subject))
        ]
        if stopped:
            return [Line(*key, "skipped", f"because of {stopped[0]}")]
        started, name = time.monotonic(), f"{stage} {subject}"
        self.active.append(name)
        try:
            if stage in UNTIL_THE_BUDGET:
                self._require_time()
            lines = self.tasks[key].run()
        except Exception as error:
            if self.stopped.is_set():  # its job was cancelled
                return [Line(*key, "skipped", "the night was stopped")]
            typed = typed_error(error, subject)
            lines = [Line(*key, "failed", typed.what, error=typed)]
        finally:
            self.active.remove(name)
        for line in lines:
            line.seconds = time.monotonic() - started
            log.info("%s %s: %s%s", line.stage, line.subject, f"{line.state}: " if line.error else "", line.what)
        return lines

    def _lost(self, key: Key) -> bool:
        line = self.lines.get(key)
        return line is not None and line.state in ("failed", "skipped")

    def _seconds_left(self) -> float | None:
        """Of the budget; None where there is none."""
        if self.options.budget is None:
            return None
        return max(0.0, self.started + self.options.budget.total_seconds() - time.monotonic())

    def _require_time(self) -> None:
        if self._seconds_left() == 0:
            raise WorkFailed(
                "the night's budget was used up before this began",
                where="night.budget in the environment",
                fix="nothing: the next night does it; give the night more time if this repeats",
            )

    def _of(self, days: Iterable[date]) -> Work:
        """The work of one stage: the same run, lake and registry."""
        part = copy(self.work)
        part.days = list(days)
        return part

    def _land(self, data_set: DataSet) -> list[Line]:
        name = f"{DATA}{data_set.name}"
        landed = _only(
            land(self._of(due.drops(self.work.lake, data_set, self.raw, self.night, self.options.lookback)), [name])
        )
        if due.is_missing(data_set, self.raw, self.night):
            raise DataRefused(
                f"no drop of {data_set.name} for {self.night}",
                where=f"{self.raw}: {data_set.source.path}",
                fix="deliver it: the next night lands it and makes up for this one",
            )
        if refused := due.refused_whole(self.work.lake, data_set, self.night):
            file, why = refused
            raise DataRefused(
                f"no file of the drop of {data_set.name} for {self.night} can be read: {why}",
                where=f"{self.raw}/{file}",
                fix="deliver it again: the next night lands it and makes up for this one",
            )
        new = landed.files or len(landed.refused) > landed.waiting
        said = f"{landed.records:,} records of {landed.files} files" if new else "all files had landed before"
        return [Line("land", name, "done" if new else "nothing", said, result=landed)]

    def _clean(self, data_set: DataSet) -> list[Line]:
        name = f"{DATA}{data_set.name}"
        cleaned = _only(clean(self._of([]), [name]))
        total = cleaned.total()
        said = f"{total.accepted:,} of {total.parsed:,} records accepted on {len(cleaned.days)} days"
        return [Line("clean", name, *(("done", said) if cleaned.days else ("nothing", "up to date")), result=cleaned)]

    def _features(self, use_case: UseCase) -> list[Line]:
        made = _only(features(self._of([]), [use_case.name]))
        said = f"{made.days} days made, {made.rows:,} rows in all"
        return [
            Line("features", use_case.name, *(("done", said) if made.days else ("nothing", "up to date")), result=made)
        ]

    def _train(self, wanted: dict[str, str]) -> list[Line]:
        lines = [
            Line("train", name, "skipped", f"because of features {name}")
            for name in wanted
            if self._lost(("features", name))
        ]
        names = [name for name in wanted if not self._lost(("features", name))]
        for name in list(names):
            if due.knows_all(self.work.lake, name, self.work.registry):
                names.remove(name)
                lines.append(Line("train", name, "nothing", "gold has nothing that its last model did not know"))
        found = train_apart(self.work, names, self._seconds_left, self.stopped) if names else {}
        for name, item in found.items():
            if isinstance(item, NightmillError):
                lines.append(Line("train", name, "failed", item.what, error=item))
            else:
                lines.append(Line("train", name, "done", f"candidate {item}, because {wanted[name]}", result=item))
        return lines

    def _evaluate(self, use_case: UseCase) -> list[Line]:
        if self.unreachable:
            raise self.unreachable
        if not due.to_judge(self.work.lake, use_case, self.work.registry):
            return [Line("evaluate", use_case.name, "nothing", "no new candidate")]
        self._require_time()
        verdict = _only(evaluate(self._of([self.night]), [use_case.name]))
        return [Line("evaluate", use_case.name, "done", verdict.reason, result=verdict)]

    def _score(self, use_case: UseCase) -> list[Line]:
        if self.unreachable:
            raise self.unreachable
        scored = []
        for day in due.unscored(self.work.lake, use_case, self.night, self.options.lookback):
            outcome = score(self._of([day]), [use_case.name])
            if day != self.night and any(isinstance(error, DataRefused) for error in outcome.failures.values()):
                continue  # too few rows of a day that is past
            scored += _only(outcome)
        if not scored:
            return [Line("score", use_case.name, "nothing", "up to date")]
        rows, days = sum(item.rows for item in scored), ", ".join(str(item.day) for item in scored)
        said = f"{rows:,} predictions by model {scored[-1].model_version} for {days}"
        return [Line("score", use_case.name, "done", said, result=scored)]

    def _monitor(self, subject: str) -> list[Line]:
        stopped = [
            line
            for line in list(self.lines.values())
            if line.subject == subject and line.state in ("failed", "skipped")
        ]
        why = "; ".join(f"{line.stage} {line.state}: {line.what}" for line in stopped)
        found = _only(monitor(self._of([self.night]), [subject], {subject: why}))
        up = sum(alarm.state != "cleared" for alarm in found.alarms)
        said = f"{len(found.figures)} figures, {up} alarms" + (f", {len(found.news)} told" if found.news else "")
        state: State = "done" if found.days or found.news else "nothing"
        return [Line("monitor", subject, state, said, result=found)]


def _only(outcome: Outcome) -> Any:
    """The one result of an outcome; raises its failure."""
    for error in outcome.failures.values():
        raise error
    return next(iter(outcome.results.values()))
