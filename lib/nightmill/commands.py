"""What each command does: configuration in, one call per stage and target, results out."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nightmill.config import Configuration, DataSet, Time, UseCase
from nightmill.config.values import DATA
from nightmill.errors import ConfigError, NightmillError, WorkFailed
from nightmill.lake.faults import translate
from nightmill.lake.run import RUN, Step, new_run_id, step
from nightmill.lake.tables import Lake
from nightmill.logs import speak_of
from nightmill.spark import require_engine, session

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

    from nightmill.lake.registry import Registry

log = logging.getLogger(__name__)
SPARK_STAGES = ("land", "clean", "migrate", "features", "score")
Result = TypeVar("Result")


@dataclass
class Outcome:
    """What came of each target: a result or the error that stopped it; one failure never stops the others."""

    results: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, NightmillError] = field(default_factory=dict)

    @property
    def exit_code(self) -> int:
        """0, 1 for a bug, the error's own code where everything failed for one reason, 4 where some failed."""
        if not self.failures:
            return 0
        codes = {error.exit_code for error in self.failures.values()}
        if NightmillError.exit_code in codes:
            return NightmillError.exit_code  # a bug is a bug, whatever else went well
        return codes.pop() if not self.results and len(codes) == 1 else WorkFailed.exit_code


def is_data(target: str) -> bool:
    """Whether a target names a data set, and not a use case."""
    return target.startswith(DATA) or f"/{DATA}" in target


def typed_error(error: Exception, where: str) -> NightmillError:
    """The typed error that a failure stands for; of a bug it says so."""
    typed = error if isinstance(error, NightmillError) else translate(error, where)
    if typed is None:
        kind, text = type(error).__name__, (str(error).strip().splitlines() or [""])[0]
        typed = NightmillError(f"a bug stopped the command: {kind}: {text}", fix="run it again with --debug")
    if typed is not error:
        typed.__cause__ = error
    return typed


@dataclass
class Work:
    """What one command works with."""

    configuration: Configuration
    command: str
    days: list[date] = field(default_factory=list)
    seeds: int | None = None
    replay: bool = False
    """Whether cleaning judges refused records again."""
    corrections: Path | None = None
    """File of refused records that a person has edited."""

    @cached_property
    def run_id(self) -> str:
        """One id for all that the command does."""
        run = os.environ.get(RUN) or new_run_id(self.command)
        speak_of(run)
        return run

    @cached_property
    def lake(self) -> Lake:
        """The lake of the environment; only commands that begin with raw data may create it."""
        return Lake.open(self.configuration.environment.lake, create=self.command in ("land", "backtest", "nightly"))

    def spark(self) -> SparkSession:
        """The Spark session, started by the first call; Spark names the jobs of this thread by the run."""
        spark = session(self.configuration.environment)
        spark.sparkContext.setJobGroup(self.run_id, self.command)
        return spark

    @cached_property
    def registry(self) -> Registry:
        """The model registry of the environment."""
        from nightmill.lake.registry import Registry

        return Registry.open(self.lake, self.configuration.environment.mlflow.uri)

    def use_cases(self, targets: Iterable[str]) -> list[UseCase]:
        """The use cases named, or all; checked together with their data sets before any work starts."""
        names = self.configuration.use_case_names() if list(targets) == ["all"] else list(dict.fromkeys(targets))
        found = [self.configuration.use_case(name) for name in names]
        for use_case in found:
            self.configuration.inputs(use_case)
        return found

    def data_sets(self, targets: Iterable[str]) -> list[DataSet]:
        """The data sets named, those of the use cases named, or all; each once."""
        names = list(targets)
        if names == ["all"]:
            names = self.configuration.data_set_names()
        found: dict[str, DataSet] = {}
        for name in names:
            some = [self.configuration.data_set(name)] if is_data(name) else self._inputs(name)
            found |= {data_set.name: data_set for data_set in some}
        return _masters_first(found)

    def _inputs(self, name: str) -> list[DataSet]:
        """The data sets of a use case, and those that their rules of kind known look into."""
        inputs = self.configuration.use_case(name).inputs.values()
        found = [self.configuration.data_set(item.from_) for item in inputs]
        for data_set in found:  # grows as masters have masters
            names = {one.name for one in found}
            found += [self.configuration.data_set(f"{DATA}{master}") for master in sorted(_masters(data_set) - names)]
        return found

    def step(self, name: str, subject: str) -> Any:
        """A leased step of this run."""
        expires = self.configuration.environment.lease.expires
        return step(self.lake, self.run_id, name, subject, expires, tuple(self.days))


def land(work: Work, targets: list[str]) -> Outcome:
    """Raw files -> bronze, for each data set."""
    data_sets, raw = work.data_sets(targets), require_raw(work)
    for data_set in data_sets:
        if data_set.source.by_day and not work.days:
            raise ConfigError(
                f"data set {data_set.name} has a drop per day", fix="pass --day D, or --from A --to B", where="--day"
            )
    days = work.days or [datetime.now(UTC).date()]

    def one(current: Step, data_set: DataSet) -> Any:
        from nightmill.ingest import land as stage

        return stage(work.spark, current, data_set, raw, days)

    return _each(work, "land", {f"{DATA}{d.name}": d for d in data_sets}, one)


def require_raw(work: Work) -> str:
    """The folder of raw drops; raises ConfigError where there is none."""
    raw = work.configuration.raw()
    if "://" not in raw and not Path(raw).is_dir():
        raise ConfigError("there is no folder of raw drops", where=raw, fix="check --raw PATH")
    return raw


def require_come(night: date, known: Callable[[], bool]) -> None:
    """Raises ConfigError for a day that has not begun anywhere on earth, unless data of it are `known`."""
    if night > datetime.now(UTC).date() + timedelta(days=1) and not known():
        raise ConfigError(f"the night of {night} has not come yet", where="--day", fix="name a day up to today")


def clean(work: Work, targets: list[str]) -> Outcome:
    """Bronze -> silver and quarantine, for each data set."""
    data_sets = work.data_sets(targets)
    if work.corrections is not None and (len(data_sets) > 1 or not work.replay):
        what = "a file of corrections is of one data set" if work.replay else "corrections are for a replay"
        raise ConfigError(
            what, where="--corrections", fix="as in `nightmill clean data/city/air --replay --corrections F`"
        )

    def one(current: Step, data_set: DataSet) -> Any:
        from nightmill.clean import Replay
        from nightmill.clean import clean as stage

        again = Replay(work.corrections) if work.replay else None
        return stage(work.spark, current, data_set, set(work.days), again)

    return _each(work, "clean", {f"{DATA}{d.name}": d for d in data_sets}, one)


def migrate(work: Work, targets: list[str]) -> Outcome:
    """Tables of older versions and contracts are brought up to date, for each data set."""

    def one(current: Step, data_set: DataSet) -> Any:
        from nightmill.migrate import migrate as stage

        return stage(work.spark, current, data_set)

    return _each(work, "migrate", {f"{DATA}{d.name}": d for d in work.data_sets(targets)}, one)


def show(work: Work, targets: list[str], refused: Path | None) -> Outcome:
    """How each use case stands, and what the tables of each data set hold.

    With `refused` the refused records of a data set go into that file.
    """
    from nightmill.show import describe
    from nightmill.standing import standing

    data_sets = work.data_sets(targets)
    if refused is not None and len(data_sets) > 1:
        raise ConfigError("a file of refused records is of one data set", where="--refused", fix="name one data set")
    if refused is not None:
        from nightmill.clean import write_refused

        log.info("%s: %d refused records", refused, write_refused(work.lake, data_sets[0], refused))
    cases = [name for name in targets if not is_data(name)]
    found = {u.name: standing(work.lake, work.registry, u) for u in (work.use_cases(cases) if cases else [])}
    return Outcome(found | {f"{DATA}{data_set.name}": describe(work.lake, data_set) for data_set in data_sets})


def explain(work: Work, targets: list[str], entity: str) -> Outcome:
    """Where the predictions of an entity came from: model, tables, files."""
    from nightmill.explain import explain as find

    if len(work.days) > 1:
        raise ConfigError("a prediction has one day", where="--from", fix="pass --day D, or none for the last one")
    outcome = Outcome()
    for use_case in work.use_cases(targets):
        inputs = work.configuration.inputs(use_case)
        try:
            day = work.days[0] if work.days else None
            outcome.results[use_case.name] = find(work.lake, work.registry, use_case, inputs, entity, day)
        except NightmillError as error:
            outcome.failures[use_case.name] = error
    return outcome


def features(work: Work, targets: list[str]) -> Outcome:
    """Silver -> gold, for each use case."""

    def one(current: Step, use_case: UseCase) -> Any:
        from nightmill.features.stage import engineer

        inputs = work.configuration.inputs(use_case)
        return engineer(work.spark, current, use_case, inputs, set(work.days))

    return _each(work, "features", {u.name: u for u in work.use_cases(targets)}, one)


def train(work: Work, targets: list[str], progress: Callable[[Any], None]) -> Outcome:
    """Gold -> candidate models, all use cases in one worker group."""
    use_cases = work.use_cases(targets)
    from nightmill.train.run import train as stage

    return _in_group(work, stage, use_cases, progress)


def search(work: Work, targets: list[str], trials: int | None, progress: Callable[[Any], None]) -> Outcome:
    """Options of use cases tried on validation, all trials in one worker group. Registers nothing.

    With `all` those that say what to search.
    """
    use_cases, everything = work.use_cases(targets), list(targets) == ["all"]
    use_cases = [use_case for use_case in use_cases if use_case.search is not None or not everything]
    for place, use_case in enumerate(use_cases):
        if use_case.search is None:
            fix = "add search: {space: {train.learning_rate: {low: 0.0005, high: 0.01, log: true}}} to its file"
            raise ConfigError(f"{use_case.name} says nothing of what to search", where=use_case.name, fix=fix)
        if trials is not None:
            more = use_case.search.model_copy(update={"trials": trials})
            use_cases[place] = use_case.model_copy(update={"search": more})
    from nightmill.train.run import search as stage

    return _in_group(work, stage, use_cases, progress)


def _in_group(
    work: Work, stage: Callable[..., list[Any]], use_cases: list[UseCase], progress: Callable[[Any], None]
) -> Outcome:
    run_id = work.run_id  # from here on lines name it
    log.info("%s %s", work.command, ", ".join(use_case.name for use_case in use_cases))
    wanted = [_wanted(work, use_case, None) for use_case in use_cases]
    found = stage(work.lake, run_id, wanted, work.configuration.environment, work.registry, progress)
    outcome = Outcome()
    for use_case, item in zip(use_cases, found, strict=True):
        (outcome.failures if isinstance(item, NightmillError) else outcome.results)[use_case.name] = item
    return outcome


def reproduce(work: Work, targets: list[str], version: int | None, progress: Callable[[Any], None]) -> Outcome:
    """Registered models trained again from their version of gold, and compared digit by digit."""
    from nightmill.train.reproduce import reproduce as stage

    outcome = Outcome()
    for name in dict.fromkeys(targets):
        use_case = work.configuration.use_case(name).name
        log.info("reproduce %s", use_case)
        try:
            environment = work.configuration.environment
            found = stage(work.lake, work.registry, use_case, version, work.run_id, environment, progress)
            outcome.results[use_case] = found
            if not found.same:
                what = f"version {found.version} came out with other weights, by up to {found.largest_difference:.3g}"
                fix = "the same digits need the same machine, packages and devices as the training had"
                raise WorkFailed(what, where=use_case, fix=fix)
        except NightmillError as error:
            outcome.failures[use_case] = error
    return outcome


def evaluate(work: Work, targets: list[str]) -> Outcome:
    """Candidates against champions and baselines; promotion."""

    def one(current: Step, use_case: UseCase) -> Any:
        from nightmill.evaluate.judge import evaluate as stage

        return stage(
            current, use_case, series_time(work, use_case), work.registry, work.configuration.environment.handoff
        )

    return _each(work, "evaluate", {u.name: u for u in work.use_cases(targets)}, one)


def score(work: Work, targets: list[str]) -> Outcome:
    """Gold and champions -> predictions, day by day."""

    def one(current: Step, use_case: UseCase) -> Any:
        from nightmill.score import score as stage

        time = series_time(work, use_case)
        days: list[date | None] = list(work.days) or [None]
        return [stage(work.spark, current, use_case, time, work.registry, day) for day in days]

    return _each(work, "score", {u.name: u for u in work.use_cases(targets)}, one)


def monitor(work: Work, targets: list[str], failed: Mapping[str, str] | None = None) -> Outcome:
    """What the tables say of the data sets and use cases after a night: figures and alarms.

    `failed` says what stopped them in the night, by subject; None where no night says anything.
    """
    from nightmill.monitor import Figure, monitor_data, monitor_predictions

    if len(work.days) != 1:
        raise ConfigError("monitoring looks back from one night", where="--day", fix="pass --day D")
    (night,) = work.days
    if failed is None:
        require_come(night, lambda: any(_has(work, data_set, night) for data_set in work.data_sets(targets)))
    lookback = work.configuration.environment.night.lookback
    cases = [name for name in targets if not is_data(name)]
    use_cases = {u.name: u for u in work.use_cases(cases)} if cases else {}
    data_sets = {f"{DATA}{d.name}": d for d in work.data_sets(targets)} if failed is None or not cases else {}

    def one(current: Step, item: Any) -> Any:
        subject, more = current.subject, []
        if failed is not None:
            why = failed.get(subject, "")
            more = [Figure(subject, "failed", "", float(bool(why)), 0.5, why or "all stages ended well")]
        if isinstance(item, DataSet):
            return monitor_data(current, item, night, more)
        inputs = work.configuration.inputs(item)
        return monitor_predictions(current, item, inputs, work.registry, night, lookback, more)

    return _each(work, "monitor", data_sets | use_cases, one)


def report(work: Work, targets: list[str], file: str | None = None, use_registry: bool = True) -> Outcome:
    """The morning report of a night as one HTML file, `<lake>/reports/<day>.html` or `file`; read from tables alone.

    Systems that were never used are only named. A report of some needs a file of its own.
    """
    from nightmill.report import write_report

    if len(work.days) != 1:
        raise ConfigError("a report is of one night", where="--day", fix="pass --day D")
    if list(targets) != ["all"] and file is None:
        what = "the report of a night is of all systems; one of some would take its place"
        raise ConfigError(what, where=" ".join(targets), fix="pass all, or another --file")
    (night,) = work.days
    cases = [(u, work.configuration.inputs(u)) for u in work.use_cases(targets)]
    data_sets = work.data_sets([u.name for u, _ in cases])
    registry = work.registry if use_registry else None
    return Outcome({str(night): write_report(work.lake, registry, cases, data_sets, night, file)})


def backtest(work: Work, targets: list[str], progress: Callable[[Any], None]) -> Outcome:
    """Raw files -> metrics on the test part, several seeds, against baselines. Promotes nothing."""
    outcome = Outcome()
    for use_case in work.use_cases(targets):
        try:
            for stage in (land, clean, features):
                _raise_first(stage(work, [use_case.name]))
            outcome.results[use_case.name] = _backtest(work, use_case, progress)
        except NightmillError as error:
            outcome.failures[use_case.name] = error
    return outcome


def series_time(work: Work, use_case: UseCase) -> Time:
    """Time of the series that a use case predicts."""
    return work.configuration.inputs(use_case)[next(iter(use_case.inputs))].clock


def _backtest(work: Work, use_case: UseCase, progress: Callable[[Any], None]) -> Any:
    from nightmill.evaluate.backtest import summarise
    from nightmill.train.run import backtest_models

    seeds = range(use_case.train.seed, use_case.train.seed + (work.seeds or use_case.evaluate.seeds))
    with work.step("backtest", use_case.name) as current:
        current.begin()
        folds = range(use_case.evaluate.split.count)
        wanted = [_wanted(work, use_case, seed, fold) for seed in seeds for fold in folds]
        trained = backtest_models(current, wanted, work.configuration.environment, progress)
        inputs = work.configuration.inputs(use_case)
        return summarise(current, use_case, inputs, trained, work.configuration.environment.handoff)


def _wanted(work: Work, use_case: UseCase, seed: int | None, fold: int = 0) -> Any:
    from nightmill.train.run import Wanted

    series = work.configuration.inputs(use_case)[next(iter(use_case.inputs))]
    return Wanted(use_case, series, tuple(use_case.feature_names), seed, fold)


def _has(work: Work, data_set: DataSet, day: date) -> bool:
    bronze = work.lake.table("bronze", data_set.name)
    return bronze.exists() and day in bronze.days()


def _each(work: Work, name: str, subjects: dict[str, Any], one: Callable[[Step, Any], Result]) -> Outcome:
    outcome = Outcome()
    if name in SPARK_STAGES:
        require_engine()  # said before anything is written, and before Spark takes its ten seconds to start
    for subject, item in subjects.items():
        log.info("%s %s", name, subject)
        try:
            with work.step(name, subject) as current:
                outcome.results[subject] = one(current, item)
        except Exception as error:
            outcome.failures[subject] = typed_error(error, subject)
    return outcome


def _masters_first(data_sets: dict[str, DataSet]) -> list[DataSet]:
    """The same, so that each comes after those that its rules of kind known look into."""
    waits = TopologicalSorter({name: _masters(d) & data_sets.keys() for name, d in data_sets.items()})
    try:
        return [data_sets[name] for name in waits.static_order()]
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        raise ConfigError(f"rules of kind known go in a circle: {circle}", fix="take one of them out") from None


def _masters(data_set: DataSet) -> set[str]:
    return {rule.master for rule in data_set.clean.rules if rule.kind == "known"}


def _raise_first(outcome: Outcome) -> None:
    for error in outcome.failures.values():
        raise error
