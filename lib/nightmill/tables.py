"""Results of commands as tables for people."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from functools import partial
from statistics import mean
from typing import Any

import yaml
from rich.console import Console
from rich.table import Column, Table

from nightmill.commands import Outcome

LEVERS = 10
"""Levers at most that a backtest prints; its page has all."""


def show(outcome: Outcome, console: Console) -> None:
    """Prints one table per kind of result."""
    kinds: dict[str, list[tuple[str, Any]]] = {}
    for subject, result in outcome.results.items():
        for item in result if isinstance(result, list) else [result]:
            kinds.setdefault(type(item).__name__, []).append((subject, item))
    for kind, items in kinds.items():
        if kind in _WHOLE:
            for _, item in items:
                _WHOLE[kind](item, console)
            continue
        head, row = _SHAPES[kind]
        table = headed(*head)
        for subject, item in items:
            for cells in row(subject, item):
                table.add_row(*[_cell(cell) for cell in cells])
        console.print(table)


def headed(*head: str, title: str | None = None) -> Table:
    """An empty table; the first column's names stay whole as long as anything else can give way."""
    first, *others = head
    columns = [Column(first, no_wrap=True), *(Column(name, overflow="fold", min_width=_word(name)) for name in others)]
    return Table(*columns, title=title)


def _word(text: str) -> int:
    return max(map(len, text.split()))


def _landed(subject: str, item: Any) -> list[list[Any]]:
    return [[subject, item.records, item.files, item.corrected, item.known, len(item.refused), item.version]]


def _cleaned(subject: str, item: Any) -> list[list[Any]]:
    total = item.total()
    refused = ", ".join(f"{rule} {n}" for rule, n in total.refused.most_common()) or 0
    return [[subject, len(item.days), total.parsed, total.accepted, refused, total.duplicates, item.version]]


def _engineered(subject: str, item: Any) -> list[list[Any]]:
    return [[subject, item.days, item.rows, ", ".join(item.features), item.version]]


def _candidate(subject: str, item: Any) -> list[list[Any]]:
    trained = item.trained
    metrics = ", ".join(f"{name} {value:.4g}" for name, value in trained.bundle.metrics.items())
    return [[subject, item.version, trained.samples, len(trained.history), f"{trained.seconds:.1f} s", metrics]]


def _verdict(subject: str, item: Any) -> list[list[Any]]:
    return [
        [subject, score.of, score.metric, "all" if score.horizon is None else score.horizon, score.value]
        for score in item.scores
    ]


def _monitored(subject: str, item: Any) -> list[list[Any]]:
    states = {alarm.figure.name: alarm.state for alarm in item.alarms}
    return [
        [subject, figure.kind, figure.slice, figure.value, figure.limit, states.get(figure.name, ""), figure.what]
        for figure in item.figures
    ]


def _migrated(subject: str, item: Any) -> list[list[Any]]:
    return [[subject, done] for done in item.done or ["nothing to do"]]


def _scored(subject: str, item: Any) -> list[list[Any]]:
    notes = ["hindsight"] if item.hindsight else []
    notes += [f"{item.fallbacks:,} by fallback"] if item.fallbacks else []
    notes += [f"{item.missing:,} origins without"] if item.missing else []
    return [[subject, item.day, item.rows, item.entities, item.model_version, ", ".join(notes), item.version]]


def _reported(item: Any, console: Console) -> None:
    console.print(f"night of {item.day}: {item.steps} steps, {item.failed} failed, {item.alarms} alarms")
    console.print(f"report: {item.path}", soft_wrap=True)  # to be copied


def _simulated(subject: str, item: Any) -> list[list[Any]]:
    return [
        [name, n, ", ".join(f"{kind} {k}" for kind, k in item.dirt.get(name, {}).items() if k)]
        for name, n in item.records.items()
    ]


_SHAPES: dict[str, tuple[tuple[str, ...], Any]] = {
    "Simulated": (("data set", "records", "planted dirt"), _simulated),
    "Landed": (("data set", "records", "files", "corrected", "landed before", "unreadable", "version"), _landed),
    "Cleaned": (("data set", "days", "parsed", "accepted", "refused", "duplicates", "version"), _cleaned),
    "Monitored": (("of", "figure", "part", "value", "limit", "alarm", "what"), _monitored),
    "Migrated": (("data set", "what was done"), _migrated),
    "Engineered": (("use case", "days", "rows in gold", "features", "version"), _engineered),
    "Candidate": (("use case", "candidate", "samples", "epochs", "training", "on validation"), _candidate),
    "Verdict": (("use case", "of", "metric", "steps ahead", "on test"), _verdict),
    "Scored": (("use case", "day", "predictions", "entities", "model", "note", "version"), _scored),
}


def _backtest(item: Any, console: Console) -> None:
    table = headed("of", "metric", "steps ahead", "mean", "spread", title=f"{item.use_case}, seeds {item.seeds}")
    for row in item.rows:
        table.add_row(row.of, row.metric, str(row.horizon or "all"), f"{row.mean:.4f}", f"{row.spread:.4f}")
    console.print(table)
    stressed, relied = "How the model stands bad inputs", "How much worse it is with a lever's values dealt out anew"
    levers = dict(list(item.levers.items())[:LEVERS])
    for title, what, figures in ((stressed, "inputs", item.stress), (relied, "lever", levers)):
        if figures:
            table = headed(what, item.metric, "spread", title=title)
            for name, values in figures.items():
                table.add_row(name, f"{mean(values):.4f}", f"{max(values) - min(values):.4f}")
            console.print(table)
    seconds = ", ".join(f"{s:.0f} s" for s in item.train_seconds)
    console.print(f"{item.test_samples} test samples; training {seconds}; commit {item.commit}; {item.machine}")


def _described(item: Any, console: Console) -> None:
    table = headed("of", item.data_set, title=item.title)
    if item.bronze is None:
        console.print(f"{item.data_set}: nothing has landed yet; run `nightmill land data/{item.data_set}`")
        return
    table.add_row("raw records", f"{item.bronze:,} of {item.files:,} files, last landed {_when(item.landed_at)}")
    series = item.silver
    if series is None:
        table.add_row("silver", "not made yet; run `nightmill clean`")
    else:
        table.add_row("rows", f"{series.rows:,} of {series.entities:,} entities, made {_when(item.cleaned_at)}")
        if series.first is not None:
            table.add_row("time", f"{_when(series.first)} to {_when(series.last)}, {series.days:,} days with rows")
            steps = (
                f"{series.missing:,} missing steps, {series.filled:,} filled"
                if series.regular
                else "fewer than half of the steps have rows"
            )
            table.add_row("gaps", steps)
    for fate, records in sorted(item.fates.items()):
        table.add_row(fate, f"{records:,}")
    for day, records, rule in item.worst:
        table.add_row("most refused", f"{day}: {records:,}, first of all {rule}")
    for file, why in item.unread[:10]:
        table.add_row("refused file", f"{file}: {why}")
    if len(item.unread) > 10:
        table.add_row("refused files", f"{len(item.unread) - 10} more")
    console.print(table)


def _when(time: datetime | None) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC" if time else "never"


def _proposed(item: Any, console: Console) -> None:
    say = partial(console.print, soft_wrap=True)
    say(f"wrote {item.data_set}" + (f" and {item.use_case}" if item.use_case else ""))
    for remark in item.remarks:
        say(f"  look at: {remark}")
    name = f"{item.data_set.parent.name}/{item.data_set.stem}"
    say(f"try it: nightmill land data/{name} --raw FOLDER && nightmill clean data/{name} && nightmill show data/{name}")


def _night(item: Any, console: Console) -> None:
    if item.idle:
        console.print(f"night of {item.day}: nothing was left to do ({item.seconds:.0f} s)")
        return
    table = headed("stage", "of", "came to", "what", "seconds", title=f"Night of {item.day}")
    for line in item.lines:
        if line.state != "nothing":
            table.add_row(line.stage, line.subject, line.state, line.what, f"{line.seconds:.1f}")
    console.print(table)
    idle = sum(line.state == "nothing" for line in item.lines)
    console.print(
        f"{len(item.lines) - idle} steps, {idle} more had nothing to do; {item.seconds:.0f} s; run {item.run_id}"
    )
    for line in item.lines:
        if line.stage == "report" and line.result is not None:
            console.print(f"report: {line.result.path}", soft_wrap=True)


def _standing(item: Any, console: Console) -> None:
    table = headed("of", item.use_case, title=item.title)
    if item.registry:
        table.add_row("models", item.registry)
    else:
        since = f"version {item.champion} since {_when(item.since)}" if item.champion else "none: `nightmill train`"
        table.add_row("champion", since)
        table.add_row("why", item.why or "")
        table.add_row("candidate", f"version {item.candidate}" if item.candidate else "none")
    table.add_row("predictions", f"up to {item.last_day}" if item.last_day else "none yet")
    if item.tested:
        table.add_row("test part", ", ".join(f"{name.replace('_', ' ')} {v:.4g}" for name, v in item.tested.items()))
    for day, value in sorted(item.live.items())[-7:]:
        table.add_row("live error", f"{day}: mean absolute error {value:.4g}")
    for ran in item.steps:
        table.add_row(ran.step, f"{ran.status}, {_when(ran.at)}, run {ran.run}" + (f": {ran.what}" if ran.what else ""))
    for alarm in item.alarms or ["none"]:
        table.add_row("alarm", alarm)
    console.print(table)


def _explained(item: Any, console: Console) -> None:
    say = partial(console.print, soft_wrap=True, highlight=False)  # names are there to be copied
    say(f"{item.use_case}: {item.target} of {item.entity} on {item.day}", style="bold")
    say(f"  from rows up to {_when(item.origin)}" + (", in hindsight" if item.hindsight else ""))
    for one in item.values:
        bounds = f" ({one['lo']:.4g} to {one['hi']:.4g})" if "lo" in one else ""
        when = f"{_when(one['target_ts'])}: " if "target_ts" in one else ""
        why = f", by the fallback ({one['fallback']})" if "fallback" in one else ""
        say(f"    {when}{one['value']:.4g} {item.unit}{bounds}{why}")
    say(f"  scored {_when(item.scored_at)} by {item.run}")
    model = item.model
    say(f"  model version {model.version}" + (f", trained by {model.run}" if model.run else ""))
    if model.gone:
        say(f"    cannot be read any more: {model.gone}")
    else:
        say(f"    trained on gold version {model.gold_version}, on rows up to {_when(model.seen_until)}")
    if model.promoted_at:
        say(f"    champion since {_when(model.promoted_at)}: {model.reason}")
    for depth, line in _origins(item.gold, 1):
        say("  " * depth + line)


def _origins(origin: Any, depth: int) -> Iterator[tuple[int, str]]:
    said = "cannot be read any more" if origin.gone else f"written {_when(origin.written_at)} by {origin.run}"
    yield depth, f"{origin.table} version {origin.version}, {said}"
    for file, rows in origin.files.items():
        yield depth + 1, f"{file}: {rows:,} rows"
    for one in origin.inputs:
        yield from _origins(one, depth + 1)


def _reproduced(item: Any, console: Console) -> None:
    say = partial(console.print, soft_wrap=True, highlight=False)
    say(f"{item.use_case} version {item.version}", style="bold")
    on = f"{item.workers} workers" if item.workers > 1 else "one worker"
    say(f"  trained again on gold version {item.gold_version} by {on} in {item.seconds:.0f} s")
    if item.same:
        say(f"  the same weights: {item.parameters:,} numbers, every digit")
        return
    say(f"  other weights: {len(item.differing)} of its tensors, by up to {item.largest_difference:.3g}")
    for name in item.differing[:5]:
        say(f"    {name}")


def _searched(item: Any, console: Console) -> None:
    say = partial(console.print, soft_wrap=True, highlight=False)
    ranked = item.ranked
    states = Counter(trial.state for trial in item.trials)
    say(f"{item.use_case}: {len(item.trials)} trials on gold version {item.gold_version}", style="bold")
    say("  " + ", ".join(f"{number} {state}" for state, number in states.items()))
    table = headed("trial", "validation loss", "epochs", "seconds", "options")
    for trial in ranked[:10]:
        options = ", ".join(f"{name}={value}" for name, value in trial.options.items()) or "as they stand"
        cells = trial.number, trial.loss, len(trial.losses), round(trial.seconds, 1), options
        table.add_row(*[_cell(cell) for cell in cells])
    console.print(table)
    if not ranked[0].options:
        say("no other options are better than those that stand")
        return
    sections: dict[str, dict[str, Any]] = {}
    for name, value in ranked[0].options.items():
        section, _, option = name.partition(".")
        sections.setdefault(section, {})[option] = value
    say("the best, for the use case's file:")
    say(yaml.safe_dump(sections, sort_keys=False).rstrip())


_WHOLE = {
    "Searched": _searched,
    "Reproduced": _reproduced,
    "Backtest": _backtest,
    "Described": _described,
    "Standing": _standing,
    "Explained": _explained,
    "Proposed": _proposed,
    "Night": _night,
    "Reported": _reported,
}
"""Results that are a table each."""


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
