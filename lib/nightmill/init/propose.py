"""Writes the YAML of a data set and a use case for a CSV file, with a remark wherever the data left a choice."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pandas as pd
import yaml

from nightmill.config.source import landed_name
from nightmill.config.values import Months, parse_step
from nightmill.errors import ConfigError
from nightmill.init import guess
from nightmill.init.sniff import Sniffed, sniff

_FEW = 20
"""Texts of at most so many kinds are taken for a category."""


@dataclass
class Proposed:
    """The files that were written, and what to look at in them."""

    data_set: Path
    use_case: Path | None
    remarks: list[str] = field(default_factory=list)


def propose(folder: Path, name: str, path: Path, *, force: bool = False) -> Proposed:
    """Writes `folder/data/NAME.yaml`, and `folder/NAME.yaml` where the file is a series with a number to predict.

    `name` is domain/name; columns get names of small letters. Raises ConfigError where files of that name are there
    already, DataRefused for a file that is no table.
    """
    if not re.fullmatch(r"[a-z][a-z0-9_]*/[a-z][a-z0-9_]*", name):
        raise ConfigError(
            f"'{name}' is no name", where="NAME", fix="write domain/name in small letters, as city/parking"
        )
    targets = [folder / "data" / f"{name}.yaml", folder / f"{name}.yaml"]
    if not force and (there := [target for target in targets if target.exists()]):
        raise ConfigError(
            "there is such a file already", where=str(there[0]), fix="choose another name, or pass --force"
        )
    found = _Table(sniff(path), path)
    written = [(targets[0], found.data_set(name))]
    if found.target is not None:
        written.append((targets[1], found.use_case(name)))
    for target, text in written:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    return Proposed(targets[0], targets[1] if found.target is not None else None, found.remarks)


def _with_points(sniffed: Sniffed) -> pd.DataFrame:
    """The rows with decimal points where they have decimal commas."""
    rows = sniffed.rows
    like = {n: rows[n].dropna() for n in rows.columns}
    numbers = [n for n, texts in like.items() if len(texts) and texts.str.fullmatch(r"[+-]?\d+(,\d+)?").all()]
    commas = [n for n in numbers if like[n].str.contains(",").any()]
    if commas and sniffed.separator != ",":
        sniffed.decimal = ","
        rows = rows.assign(**{n: rows[n].str.replace(",", ".") for n in commas})
    return rows


class _Table:
    """What was found out about a file."""

    def __init__(self, sniffed: Sniffed, path: Path) -> None:
        self.sniffed, self.path, self.remarks = sniffed, path, list[str]()
        rows = sniffed.rows = _with_points(sniffed)
        self.names = _names(list(rows.columns))
        self.time = guess.find_parts(rows, guess.find_time(rows))
        told = {self.time.column, *self.time.parts.values()} if self.time else set()
        others = [str(n) for n in rows.columns if n not in told]
        self.entity = guess.find_entity(rows, self.time.ts, others) if self.time else _unique(rows, others)
        if self.time and not self.entity:  # a sample of one entity may name it all the same
            texts = [n for n in others if not guess.is_number(rows[n])]
            self.entity = [n for n in texts if rows[n].nunique() == 1 and rows[n].notna().all()][:1]
        if self.time is None and not self.entity:
            raise ConfigError(
                "neither a column of times in a known form nor one that names each row was found",
                where=str(path),
                fix="known are ISO 8601, as 31.12.2026 23:59 and 12/31/2026 11:59 PM, and seconds since 1970 in a "
                "column called time; others are written by hand with time.format: docs/add-a-system.md",
            )
        self.columns = [n for n in others if n not in self.entity]
        self.numbers = [n for n in self.columns if guess.is_number(rows[n])]
        self.every, self.regular = guess.find_step(self.time.ts, self._joined) if self.time else ("", False)
        self.counters = [n for n in self.numbers if self.time and guess.is_counter(rows[n], self.time.ts, self._joined)]
        self.zone = guess.find_zone(self.time, self._joined) if self.time else ("UTC", "", False)
        self.target = self._target()

    @property
    def _joined(self) -> pd.Series | None:
        """One text per entity."""
        if not self.entity:
            return None
        return self.sniffed.rows[self.entity].astype(str).agg("/".join, axis=1)

    def _target(self) -> str | None:
        """The column to predict: the number that changes most often; none for a table without time."""
        if not self.regular or not self.numbers or isinstance(parse_step(self.every), Months):
            return None
        values = self.sniffed.rows[self.numbers]
        named = [
            n
            for n in self.numbers
            if not re.search(r"(^|_|\s)(no|nr|id|index|instant|lat|lon|latitude|longitude)$", n, re.I)
        ]
        changing = [n for n in named if n not in self.counters]
        best = max(changing or named or self.numbers, key=lambda n: values[n].nunique())
        return best if values[best].nunique() > 1 else None

    def data_set(self, name: str) -> str:
        """The YAML of the data set."""
        sniffed, lines = self.sniffed, [f"title: {self.path.stem}, proposed from {len(self.sniffed.rows):,} rows of it"]
        lines += ["source:", "  format: csv", f'  path: "${{raw}}/{self.path.name}"']
        if sniffed.separator != ",":
            lines.append(f"  separator: {_quoted(sniffed.separator)}")
        if sniffed.encoding != "UTF-8":
            lines.append(f"  encoding: {sniffed.encoding}")
        if sniffed.decimal != ".":
            lines.append(f"  decimal: {_quoted(sniffed.decimal)}")
        if sniffed.missing:
            lines.append(f"  missing: [{', '.join(map(_quoted, sniffed.missing))}]")
        if self.time is not None and not self.entity:
            lines.append(
                f"  constants: {{series: {name.split('/')[1]}}}      # the file is of one entity, which gets this name"
            )
            self.remarks.append("no column tells entities apart: all rows are taken for one series")
        if self.zone[2]:
            lines.append("  row_number: line      # tells the first pass of an hour that stands twice from the second")
        lines += ["contract:", f"  key: [{', '.join(self._key())}]"]
        if self.time is not None:
            lines += self._time()
        lines.append("  columns:")
        lines += [line for column in [*self.entity, *self.columns] for line in self._column(column)]
        return "\n".join(lines + self._rules()) + "\n"

    def use_case(self, name: str) -> str:
        """The YAML of a forecast of the target, short enough to train in minutes."""
        assert self.target is not None and self.time is not None
        column, every = _quoted(self.names[self.target]), self.every
        daily = parse_step(every).days >= 1
        calendar = "weekday" if daily else "minute_of_week"
        return "\n".join(
            [
                f"title: {self.names[self.target]} of {name}, up to 12 steps of {every} ahead",
                "task: forecast",
                "inputs:",
                f"  series: data/{name}",
                f"target: {{column: {column}, horizon: 12}}",
                "features:",
                f"  - columns: [{column}]",
                f"  - calendar: [{calendar}]",
                "model: {family: stid, window: 12, hidden: 32, blocks: 1, embedding: 8, dropout: 10 %}",
                "train: {epochs: 5, batch: 512, learning_rate: 0.003}",
                "evaluate:",
                "  split: {time: {validation: 10 %, test: 20 %}}",
                "  metrics: [mae, rmse]",
                "  baselines: [last_value]",
                "",
            ]
        )

    def _key(self) -> list[str]:
        own = [_quoted(self.names[n]) for n in self.entity] or (["series"] if self.time else [])
        return [*own, *(["ts"] if self.time else [])]

    def _time(self) -> list[str]:
        assert self.time is not None
        zone, why, _ = self.zone
        parts = ["column: ts"]
        if self.time.parts:
            parts.append(
                f"parts: {{{', '.join(f'{part}: {_quoted(name)}' for part, name in self.time.parts.items())}}}"
            )
        elif self.time.column != "ts":
            parts.append(f"from: {_quoted(self.time.column)}")
        parts += [f"every: {self.every}"]
        parts += [f"format: {_quoted(self.time.format)}"] if self.time.format else []
        parts += [f"zone: {zone}"] + (["repeated_hour: in_order"] if self.zone[2] else [])
        self.remarks.append(f"zone {zone}: {why}")
        if not self.regular:
            self.remarks.append("rows come in no fixed step, as events do: no use case is proposed for them")
        elif isinstance(parse_step(self.every), Months):
            self.remarks.append("steps of a calendar month: no use case is proposed for them")
        return [f"  # zone: {why}", f"  time: {{{', '.join(parts)}}}"]

    def _column(self, raw: str) -> list[str]:
        values, name = self.sniffed.rows[raw], self.names[raw]
        parts = [] if name == raw else [f"from: {_quoted(raw)}"]
        unit = guess.find_unit(raw)
        if raw in self.entity:
            parts += ["type: text", "required: true"]
        elif raw in self.numbers:
            numbers = pd.to_numeric(values, errors="coerce").dropna()
            whole = bool(
                (numbers == numbers.round()).all()
                and numbers.abs().max() < 2**63
                and not values.dropna().str.contains(r"[.eE]").any()
            )
            low, high = guess.plausible(values)
            parts += ["type: int"] if whole else []
            parts += [f"unit: {_quoted(unit)}"] if unit else []
            parts.append(f"between: [{low:g}, {high:g}]")
        else:
            kinds = sorted(values.dropna().unique())
            is_bool = bool(kinds) and {kind.lower() for kind in kinds} <= {"true", "false"}
            parts.append("type: bool" if is_bool else "type: text")
            if not is_bool and 1 < len(kinds) <= _FEW and len(values) > 10 * len(kinds):
                parts.append(f"one_of: [{', '.join(map(_quoted, kinds))}]")
        if raw not in self.entity and values.notna().all():
            parts.append("required: true")
        return [f"    {_quoted(name)}: {{{', '.join(parts)}}}"]

    def _rules(self) -> list[str]:
        """Counters may not fall, and short gaps of a series are filled."""
        if self.time is None:
            return []
        lines = ["clean:"]
        if self.counters:
            lines += [
                "  rules:",
                *(
                    f"    - monotone: {{of: {_quoted(self.names[n])}}}      # it never falls here"
                    for n in self.counters
                ),
            ]
        every = self.every
        if self.regular and not isinstance(parse_step(every), Months):
            number, unit = every.split()
            lines.append(f"  gaps: {{fill: forward, at_most: {int(number) * 2} {unit}}}")
        return lines if len(lines) > 1 else []


def _unique(rows: pd.DataFrame, names: list[str]) -> list[str]:
    """The first column whose values name each row."""
    return next(([n] for n in names if rows[n].notna().all() and rows[n].is_unique), [])


def _names(raw: list[str]) -> dict[str, str]:
    """Raw names -> names of small letters, digits and underscores, each once; the time column is called ts."""
    taken, names = {"ts", "day", "series"}, {}
    for one in raw:
        plain = re.sub(r"\s*[\[(][^\])]*[\])]\s*$", "", one) or one
        name = re.sub(r"[^a-z0-9]+", "_", plain.lower()).strip("_") or "column"
        name = f"n_{name}" if name[0].isdigit() else name
        number = 2
        while name in taken:
            name, number = f"{name.rstrip('0123456789_')}_{number}", number + 1
        taken.add(name)
        names[one] = name
    assert all(landed_name(name) == name for name in names.values())
    return names


def _quoted(text: str) -> str:
    """As YAML needs it inside a flow mapping."""
    if re.fullmatch(r"[A-Za-z_][A-Za-z0-9_./°µ³*-]*", text) and yaml.safe_load(text) == text:
        return text
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\t", "\\t") + '"'
