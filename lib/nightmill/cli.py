"""The commands: arguments -> configuration -> one call per stage -> exit code."""

from __future__ import annotations

import inspect
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from dataclasses import is_dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from nightmill import __version__, commands, logs
from nightmill.apart import on_a_leash
from nightmill.commands import Outcome, Work
from nightmill.config import Configuration
from nightmill.config.load import find_folder
from nightmill.config.values import DATA
from nightmill.errors import ConfigError, NightmillError

WIDE = 160
"""Columns of tables that go into a file or a pipe."""
app = typer.Typer(
    name="nightmill",
    help="Nightly jobs for cities and factories: raw drops -> Delta tables -> models -> predictions.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Targets = Annotated[list[str], typer.Argument(help="Use cases (city/traffic), data sets (data/city/traffic), or all.")]
Day = Annotated[str | None, typer.Option("--day", help="One day, as 2026-03-01.")]
From = Annotated[str | None, typer.Option("--from", help="First of several days.")]
To = Annotated[str | None, typer.Option("--to", help="Last of several days.")]
Raw = Annotated[str | None, typer.Option("--raw", help="Folder of the raw drops.")]
LakePath = Annotated[str | None, typer.Option("--lake", help="Folder or URI of the tables.")]
Env = Annotated[str, typer.Option("--env", help="Environment: local, cluster, or a YAML file.")]
Conf = Annotated[Path | None, typer.Option("--conf", help="Configuration folder; ./conf without it.")]
Sets = Annotated[list[str] | None, typer.Option("--set", help="Override one key, as train.epochs=3; may be repeated.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print results as JSON.")]
Debug = Annotated[bool, typer.Option("--debug", help="Show stack traces.")]
Seeds = Annotated[int | None, typer.Option("--seeds", min=1, help="How many seeds; evaluate.seeds without it.")]
Replay = Annotated[bool, typer.Option("--replay", help="Judge refused records again.")]
Corrections = Annotated[
    Path | None,
    typer.Option("--corrections", help="With --replay: refused records, as `show --refused` wrote them, edited."),
]
Refused = Annotated[Path | None, typer.Option("--refused", help="Write the refused records into this csv file.")]
Entity = Annotated[str, typer.Option("--entity", help="A sensor, machine or cell, as predictions name it.")]
Version = Annotated[int | None, typer.Option("--version", help="A registered version; the champion without it.")]
Trials = Annotated[int | None, typer.Option("--trials", min=1, help="How many; search.trials without it.")]
Results = Annotated[Path | None, typer.Option("--results", help="Folder that receives the table as Markdown.")]


COMMON: dict[str, tuple[Any, Any]] = {
    "day": (Day, None),
    "from_": (From, None),
    "to": (To, None),
    "raw": (Raw, None),
    "lake": (LakePath, None),
    "env": (Env, "local"),
    "conf": (Conf, None),
    "sets": (Sets, None),
    "as_json": (AsJson, False),
    "debug": (Debug, False),
}
"""Options of every command that works on targets: name -> type and default."""


def _command(
    name: str,
    text: str,
    run: Callable[..., Outcome],
    *,
    by_day: bool = True,
    more: dict[str, tuple[Any, Any]] | None = None,
    targets: tuple[Any, Any] = (Targets, inspect.Parameter.empty),
) -> None:
    """Registers a command on targets; `run` gets work, targets and the values of `more`."""
    options = (more or {}) | COMMON

    def command(**given: Any) -> None:
        def work() -> Outcome:
            asked = _work(name, *(given[key] for key in ("day", "from_", "to", "raw", "lake", "env", "conf", "sets")))
            if asked.days and not by_day:
                raise ConfigError(
                    f"{name} takes no day: it rests on all that is there",
                    where="--day" if given["day"] else "--from",
                    fix="leave it out",
                )
            return run(asked, given["targets"], **{key: given[key] for key in more or {}})

        _run(work, given["as_json"], given["debug"])

    kind = inspect.Parameter.KEYWORD_ONLY
    parameters = [inspect.Parameter("targets", kind, annotation=targets[0], default=targets[1])]
    parameters += [inspect.Parameter(key, kind, default=value, annotation=a) for key, (a, value) in options.items()]
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    app.command(name, help=text)(command)


_command(
    "land",
    "Raw files -> bronze: new and corrected files of a drop, each record once.",
    lambda w, t: commands.land(w, t),
)


def _clean(work: Work, targets: list[str], replay: bool, corrections: Path | None) -> Outcome:
    work.replay, work.corrections = replay, corrections
    return commands.clean(work, targets)


_command(
    "clean",
    "Bronze -> silver and quarantine: the days given and all that bronze changed.",
    _clean,
    more={"replay": (Replay, False), "corrections": (Corrections, None)},
)
_command(
    "migrate",
    "Tables that an older version or another contract wrote -> tables of this one.",
    lambda w, t: commands.migrate(w, t),
    by_day=False,
)
_command(
    "features", "Silver -> gold: the days given and all that silver changed.", lambda w, t: commands.features(w, t)
)
_command(
    "train",
    "Gold -> candidate models, all targets in one Ray worker group; an interrupted training continues.",
    lambda w, t: commands.train(w, t, _progress),
    by_day=False,
)
_command(
    "search",
    "Options of search: tried in one Ray worker group and judged on validation; prints the best, registers nothing.",
    lambda w, t, trials: commands.search(w, t, trials, _progress),
    by_day=False,
    more={"trials": (Trials, None)},
)
_command(
    "reproduce",
    "A registered model trained again from its version of gold, and its weights compared digit by digit.",
    lambda w, t, version: commands.reproduce(w, t, version, _progress),
    by_day=False,
    more={"version": (Version, None)},
)
_command(
    "evaluate",
    "Candidates against champions and naive baselines on the test part; the better one is promoted.",
    lambda w, t: commands.evaluate(w, t),
    by_day=False,
)
_command(
    "score",
    "Gold and champion -> predictions: replaces the days given, or gold's last day.",
    lambda w, t: commands.score(w, t),
)
_command(
    "show",
    "How a use case stands (models, steps, alarms), and what tables hold (rows, gaps, refusals, freshness).",
    lambda w, t, refused: commands.show(w, t, refused),
    by_day=False,
    more={"refused": (Refused, None)},
)


_command(
    "explain",
    "Where the predictions of an entity came from: model, tables and their versions, raw files.",
    lambda w, t, entity: commands.explain(w, t, entity),
    more={"entity": (Entity, inspect.Parameter.empty)},
)
_command(
    "monitor",
    "Predictions against what came true, intervals, drift, and the state of the drops: figures and alarms of a night.",
    lambda w, t: commands.monitor(w, t),
)


def _report(work: Work, targets: list[str] | None, file: str | None) -> Outcome:
    return commands.report(work, targets or ["all"], file)


_command(
    "report",
    "The morning report of a night, one HTML file: what ran, what was refused, alarms, forecasts against truth.",
    _report,
    more={"file": (Annotated[str | None, typer.Option("--file", help="Write it here, not into the lake.")], None)},
    targets=(Annotated[list[str] | None, typer.Argument(help="Use cases; all without.")], None),
)


def _nightly(work: Work, targets: list[str] | None) -> Outcome:
    from nightmill.nightly import nightly
    from nightmill.terminal import night_shown

    with night_shown() as watch:
        return nightly(work, targets or ["all"], watch)


_command(
    "nightly",
    "All that is due for a day, from raw files to predictions: what is missing, and nothing twice.",
    _nightly,
    targets=(Annotated[list[str] | None, typer.Argument(help="Use cases; all without.")], None),
)


def _backtest(work: Work, targets: list[str], seeds: int | None, results: Path | None) -> Outcome:
    work.seeds = seeds
    outcome = commands.backtest(work, targets, _progress)
    for name, table in outcome.results.items():
        if results is not None:
            results.mkdir(parents=True, exist_ok=True)
            (results / f"backtest-{name.replace('/', '-')}.md").write_text(table.to_markdown(), encoding="utf-8")
    return outcome


_command(
    "backtest",
    "Raw files -> metrics on the test part against baselines, mean over several seeds.",
    _backtest,
    more={"seeds": (Seeds, None), "results": (Results, None)},
)


@app.command()
def simulate(
    targets: Annotated[
        list[str] | None, typer.Argument(help="Data sets as city/air, or domains as city; all without.")
    ] = None,
    *,
    day: Annotated[str, typer.Option("--day", help="First day, as 2026-03-01.")],
    days: Annotated[int, typer.Option("--days", min=1, help="How many days.")] = 1,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same drops.")] = 0,
    size: Annotated[list[str] | None, typer.Option("--size", help="A system's size, as traffic=1000.")] = None,
    fault: Annotated[
        list[str] | None,
        typer.Option("--fault", help="What goes wrong from a day on: drift, wear or format, as drift=2026-03-15."),
    ] = None,
    raw: Raw = None,
    env: Env = "local",
    conf: Conf = None,
    sets: Sets = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Writes raw drops of a simulated city and its plants, with known dirt."""

    def run() -> Outcome:
        from nightmill.simulate import check_faults, chosen, parse_faults, parse_sizes, sized
        from nightmill.simulate import simulate as stage

        first, sizes, faults = parse_days(day, None, None)[0], parse_sizes(size or []), parse_faults(fault or [])
        sized(sizes)  # before Spark takes its time to start
        check_faults(faults, chosen(targets or []), first, days)
        work = Work(Configuration.load(conf, env, sets or (), raw), "simulate")
        folder = work.configuration.raw()
        made = stage(
            work.spark(), folder, start=first, days=days, seed=seed, sizes=sizes, only=targets or (), faults=faults
        )
        return Outcome({"simulate": made})

    _run(run, as_json, debug)


@app.command()
def init(
    name: Annotated[str, typer.Argument(help="Domain and name of the new system, as city/parking.")],
    from_: Annotated[Path, typer.Option("--from", help="A csv file with a header and a row per entity and time.")],
    conf: Conf = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite files of that name.")] = False,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Proposes the YAML of a data set and a use case for a csv file."""

    def run() -> Outcome:
        from nightmill.init import propose

        found = propose(conf or find_folder(), name, from_, force=force)
        Configuration.load(conf).data_set(f"{DATA}{name}")  # what is written must load
        return Outcome({name: found})

    _run(run, as_json, debug)


@app.command()
def demo(
    folder: Annotated[Path, typer.Option("--folder", help="Receives raw drops and lake.")] = Path("demo"),
    env: Env = "local",
    conf: Conf = None,
    debug: Debug = False,
) -> None:
    """Simulates a small city and plant, and runs three nights on them."""

    def run() -> Outcome:
        from nightmill.demo import run as story
        from nightmill.terminal import night_shown

        configuration = Configuration.load(conf, env, raw=str(folder / "raw"), lake=str(folder / "lake"))
        with night_shown() as watch:
            story(folder, configuration, Console(markup=False), watch)
        return Outcome()

    _run(run, False, debug)


@app.command()
def doctor(
    raw: Raw = None,
    lake: LakePath = None,
    env: Env = "local",
    conf: Conf = None,
    sets: Sets = None,
    as_json: AsJson = False,
    debug: Debug = False,
) -> None:
    """Says what this machine lacks and how to get it."""

    def run() -> Outcome:
        from nightmill.doctor import examine, render

        checks = examine(Configuration.load(conf, env, sets or (), raw, lake))
        if as_json:
            print(json.dumps([_plain(check) for check in checks], indent=1))
        else:
            render(checks)
        if any(check.state == "fail" for check in checks):
            raise typer.Exit(2)
        return Outcome()

    _run(run, False, debug)


@app.callback(invoke_without_command=True)
def _root(version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False) -> None:
    if version:
        print(f"nightmill {__version__}")
        raise typer.Exit


def main(arguments: list[str] | None = None) -> int:
    """Runs one command and returns its exit code; entry points pass it to sys.exit."""
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    on_a_leash()
    _received.clear()
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGINT):  # schedulers and terminals stop so: leases are given back
            signal.signal(number, _stop)
    try:
        code = app(args=arguments, standalone_mode=False)
    except typer.Exit as ended:
        return int(ended.exit_code)
    except typer.Abort:
        return 130
    except Exception as error:
        if hasattr(error, "format_message"):  # a usage error: unknown command, option or value
            _complain(ConfigError(error.format_message(), fix="see `nightmill --help`"))
            return 2
        raise
    return code if isinstance(code, int) else 0


def _work(
    command: str,
    day: str | None,
    from_: str | None,
    to: str | None,
    raw: str | None,
    lake: str | None,
    env: str,
    conf: Path | None,
    sets: list[str] | None,
) -> Work:
    days = parse_days(day, from_, to)
    return Work(Configuration.load(conf, env, sets or (), raw, lake), command, days)


def parse_days(day: str | None, from_: str | None, to: str | None) -> list[date]:
    """The days of --day or --from/--to, oldest first; empty where none is given. Raises ConfigError."""
    if day is not None and (from_ is not None or to is not None):
        raise ConfigError("--day and --from/--to exclude each other", where="--day")
    if day is not None:
        return [_day("--day", day)]
    if from_ is None and to is None:
        return []
    if from_ is None or to is None:
        raise ConfigError("--from and --to go together", where="--from" if to is None else "--to")
    first, last = _day("--from", from_), _day("--to", to)
    if last < first:
        raise ConfigError(f"--to {last} lies before --from {first}", where="--to")
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


def _day(option: str, text: str) -> date:
    try:
        found = date.fromisoformat(text)
        if found.isoformat() != text or not 1900 <= found.year <= 2200:
            raise ValueError(text)
        return found
    except ValueError:
        raise ConfigError(
            f"{option} {text} is not a day of the calendar", where=option, fix="as in 2026-03-01"
        ) from None


def _run(command: Callable[[], Outcome], as_json: bool, debug: bool) -> None:
    """Runs a command, prints what came of it, and exits with its code."""
    logs.speak(debug)
    try:
        outcome = command()
        if outcome.failures:
            _end_stopped()
    except typer.Exit:
        raise
    except (KeyboardInterrupt, SystemExit) as stopped:  # while Ray starts, a signal's handler is Ray's, which exits
        _received.append(stopped.args[0] if stopped.args else signal.SIGINT)
        _end_stopped()
    except Exception as error:
        _end_stopped()
        typed = commands.typed_error(error, "")
        if debug:
            logs.trace(error)
        if as_json:
            print(json.dumps(_as_json(Outcome(failures={"command": typed})), indent=1))
        _complain(typed)
        raise typer.Exit(typed.exit_code) from None
    if as_json:
        print(json.dumps(_as_json(outcome), indent=1, default=str))
    else:
        from nightmill.tables import show

        # nobody reads columns cut to 80 signs out of a file
        show(outcome, Console(markup=False, width=None if sys.stdout.isatty() else WIDE))
    for subject, failure in outcome.failures.items():
        if debug:
            logs.trace(failure)
        _complain(failure, subject)
    if outcome.exit_code:
        raise typer.Exit(outcome.exit_code)


_received: list[int] = []
"""Signals that asked this process to stop. What they raise may be lost in a callback, or meet another error first."""


def _stop(number: int, _: Any) -> None:
    _received.append(number)
    raise KeyboardInterrupt(number)


def _end_stopped() -> None:
    """Ends the command as a stopped one where a signal asked for it."""
    if _received:
        logs.stopped()
        raise typer.Exit(128 + _received[0]) from None


def _complain(error: NightmillError, subject: str = "") -> None:
    prefix = "" if subject.removeprefix(DATA) in error.what else f"{subject}: "
    logs.complain(error, subject, f"{prefix}{error}")


def _progress(line: dict[str, Any]) -> None:
    which = f"trial {line['trial']}" if "trial" in line else f"seed {line['seed']}"
    logging.getLogger("nightmill").info(
        "%s %s, %s: epoch %d of at most %d, loss %.4f, validation %.4f, %.1f s, %s samples/s",
        *("search" if "trial" in line else "train", line["use_case"], which),
        *(line[name] for name in ("epoch", "of", "loss", "validation_loss", "seconds")),
        f"{line['samples_per_second']:,.0f}",
    )


def _as_json(outcome: Outcome) -> dict[str, Any]:
    failures = {
        name: {"error": type(error).__name__}
        | {key: logs.without_secrets(getattr(error, key)) for key in ("what", "where", "fix")}
        for name, error in outcome.failures.items()
    }
    return {"results": {name: _plain(item) for name, item in outcome.results.items()}, "failures": failures}


def _plain(item: Any) -> Any:
    """Results as plain values for JSON; keys of mappings become text, models are left out."""
    if is_dataclass(item) and not isinstance(item, type):
        hidden = ("trained", "bundle")
        shallow = {name: getattr(item, name) for name in item.__dataclass_fields__ if name not in hidden}
        return {name: _plain(value) for name, value in shallow.items()}
    if isinstance(item, dict):
        return {str(key): _plain(value) for key, value in item.items()}
    if isinstance(item, list | tuple):
        return [_plain(value) for value in item]
    return item


def entry() -> None:
    """The `nightmill` script."""
    sys.exit(main())
