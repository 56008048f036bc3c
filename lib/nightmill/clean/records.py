"""Rules on single records as Spark expressions: typed values, the first rule that a record breaks, what was changed."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from pyspark.sql import functions as F

from nightmill.config import Column, DataSet
from nightmill.config.cleaning import SEQUENCE, AnyRule, Known, Matches, OneOf, Range, Related
from nightmill.config.contract import conversion
from nightmill.config.source import is_raw, landed_name
from nightmill.errors import ConfigError
from nightmill.lake.contract import TIMELESS, after_drop, present, raw_value, shown_time, utc_time
from nightmill.lake.relations import expression
from nightmill.lake.writes import quoted

if TYPE_CHECKING:
    from pyspark.sql import Column as Expression
    from pyspark.sql import DataFrame

BROKEN = "_broken"
"""Number of the first rule that a record breaks; null if none."""
TOLD = "_told"
"""What the quarantine would say of a record: reason, original and the hash of its file; null where nothing can."""
SERIES = "_series"
"""Sets refused records apart from the series that accepted ones make."""
_GROUPS = 1024
"""Parts that the refused records are spread over."""
ORIGINAL = "_original"
"""What a corrected record was; null for all others, and absent where nothing is corrected."""
CHANGED = "_changed"
"""What rules changed in a record, as in `speed stuck; flow range`; null if nothing."""


class Reason(NamedTuple):
    """Why a record is refused."""

    rule: str
    then: str
    """quarantine, drop or fail."""
    text: Expression


LINE = "_line"
"""Number of the record in its file where the source counts them, else null."""
_MALFORMED = {"csv": "more or fewer fields than columns", "json": "not a JSON object"}
_ALONG_TIME = {
    "stuck": "does not change for too long",
    "spike": "leaves the values before and after",
    "monotone": "falls",
}
_SPARK_TYPES = {"float": "double", "int": "bigint", "text": "string", "bool": "boolean", "array": "binary"}


Masters = dict[tuple[str, str], "DataFrame"]
"""Values that rules of kind known allow, by data set and column, each as a frame with one column `value`."""


def whole_series(data_set: DataSet) -> bool:
    """Whether rules along time see an entity's whole history instead of one local day of it: a series of a step of a
    day or longer has no neighbours within a day.
    """
    time = data_set.contract.time
    return time is not None and time.is_daily


def melted(data_set: DataSet, bronze: DataFrame) -> DataFrame:
    """One row per entity where the source has a column per entity; others as they are."""
    wide = data_set.source.wide
    if wide is None:
        return bronze
    beside = {landed_name(raw) for raws in data_set.recorded.values() for raw in raws} | {*data_set.source.constants}
    beside |= {data_set.source.row_number or ""}
    values = [name for name in bronze.columns if is_raw(name) and name not in beside]
    kept = [F.col(f"`{name}`") for name in bronze.columns if name not in values]
    # one text, because thousands of columns would be as many calls of the JVM
    cells = ", ".join(
        f"struct({quoted(name)} AS `{wide.entity}`, CAST(`{name}` AS STRING) AS `{wide.value}`, "
        f"'{position}' AS `{wide.position or '_position'}`)"
        for position, name in enumerate(values, start=1)
    )
    # null is no record: its file lacks the column
    told = F.expr(f"filter(array({cells}), _one -> _one.`{wide.value}` IS NOT NULL OR _corrupt IS NOT NULL)")
    melted_rows = bronze.select(*kept, F.explode(told).alias("_cell"))
    return melted_rows.select(*kept, "_cell.*").drop("_position")


class Judge:
    """The rules of a data set, compiled in their order: a later rule sees what the ones before it made.

    `columns` are those of the raw records.
    """

    def __init__(self, data_set: DataSet, columns: list[str], masters: Masters | None = None) -> None:
        self.data_set, self.columns, self.masters = data_set, columns, masters or {}
        self.values: dict[str, Expression] = {name: F.col(f"`{_value(name)}`") for name in data_set.kept}
        self.reasons: list[Reason] = []
        """Reasons for a refusal: `_broken` is a number of this list."""
        self.along_time: dict[int, int] = {}
        """Place of a rule along time among all rules -> the number of its reason; none for rules that set null."""
        self._breaks: list[Expression] = []
        self._effects: list[Expression] = []
        self._compile()

    def judged(self, raw: DataFrame) -> DataFrame:
        """Raw records with typed values and `_broken`."""
        data_set = self.data_set
        cast = {_value(name): _cast(data_set, name, self.columns) for name in data_set.kept}
        if data_set.contract.time:
            cast["_ts"] = utc_time(data_set, self.columns)
        # One step each, so that no cast is done twice. Spark moves a filter down as far as it can, and would there put
        # every cast in the place of every use; it does not move it below a column that depends on the order of rows.
        rows = raw.select("*", *[value.alias(name) for name, value in cast.items()])
        typed = {_value(name): _typed(data_set, name) for name in data_set.kept}
        kept = [F.col(f"`{name}`") for name in rows.columns if name not in typed]
        rows = rows.select(
            *kept, *[value.alias(name) for name, value in typed.items()], F.monotonically_increasing_id().alias("_n")
        )
        for rule in data_set.clean.rules:
            if isinstance(rule, Known):
                rows = _looked_up(rows, rule, self.masters)
        return rows.withColumn(BROKEN, F.when(F.col("_n") >= 0, F.coalesce(*self._breaks)))

    def records(self, judged: DataFrame) -> DataFrame:
        """All records with silver's columns, and what refused ones are told by.

        `_told` (reason, original, hash of the file) is null but for refused records and those that a rule along time
        may yet refuse: it goes through a shuffle with them. `_series` is an odd number for each entity and local day,
        and an even one for small groups of refused records, so that no neighbour sees them.
        """
        data_set, refused = self.data_set, F.col(BROKEN).isNotNull()
        line = data_set.source.row_number or ("line" if data_set.source.parser and "line" in self.columns else None)
        number = F.col(f"`{line}`").cast("bigint") if line else F.lit(None).cast("bigint")
        original = self.original()
        if ORIGINAL in judged.columns:
            original = F.coalesce(F.col(ORIGINAL), original)
            # what a person wrote comes after all that its file says
            number = F.when(F.col(ORIGINAL).isNotNull(), F.lit(2**62)).otherwise(number)
        # A lambda is evaluated for the records that have the one element, and not compiled: dozens of texts would make
        # the code of all other columns too long for the JVM.
        reason = F.get(F.transform(F.when(refused, F.array(F.lit(0))), lambda _: self._reason()), F.lit(0))
        told = F.struct(reason.alias("reason"), original.alias("original"), "_file_hash")
        # a step of its own, because in a lambda a name means the new column of that name, and not the raw one
        rows = judged.withColumn(TOLD, told if self.along_time else F.when(refused, told))
        return rows.select(
            *[value.alias(name) for name, value in self.values.items()],
            *self._placed(),
            BROKEN,
            TOLD,
            self.changed().alias(CHANGED),
            number.alias(LINE),
            F.when(refused, F.pmod(F.col("_n"), F.lit(_GROUPS)) * 2).otherwise(self._series()).alias(SERIES),
            *_identity(data_set, self._own()),
            "_file",
            "_drop_day",
        )

    def _series(self) -> Expression:
        entity = [self.values[name] for name in self.data_set.contract.entity]
        return F.xxhash64(*entity, *([] if whole_series(self.data_set) else [self._placed()[-1]])).bitwiseOR(1)

    def reason(self, numbers: list[int]) -> Expression:
        """What to say of a record that breaks one of these rules along time."""
        return F.coalesce(*[F.when(F.col(BROKEN) == number, self.reasons[number].text) for number in numbers])

    def _reason(self) -> Expression:
        cases = [F.when(F.col(BROKEN) == number, one.text) for number, one in enumerate(self.reasons)]
        return F.coalesce(*[case for number, case in enumerate(cases) if number not in self.along_time.values()])

    def _add(self, reason: Reason) -> int:
        self.reasons.append(reason)
        return len(self.reasons) - 1

    def _own(self) -> list[str]:
        return [name for name in self.columns if is_raw(name)]

    def _placed(self) -> list[Expression]:
        """`ts` and `day`."""
        if self.data_set.contract.time is None:
            return [F.lit(TIMELESS).alias("day")]
        return [F.col("_ts").alias("ts"), F.col("_record_day").alias("day")]

    def original(self) -> Expression:
        """The record as text."""
        record = F.to_json(F.struct(*[F.col(f"`{name}`") for name in self._own()]))
        return F.when(F.col("_corrupt").isNotNull(), F.col("_corrupt")).otherwise(record)

    def _compile(self) -> None:
        contract, source = self.data_set.contract, self.data_set.source
        self._refuse("malformed", F.col("_corrupt").isNotNull(), F.lit(_MALFORMED.get(source.format, "")))
        if contract.time is not None:
            shown = shown_time(self.data_set, self.columns)
            self._refuse("time", F.col("_ts").isNull(), _told("not a time", shown))
            if source.by_day:
                self._refuse("time", after_drop(self.data_set, F.col("_ts")), _told("lies after its drop", shown))
        for name in self.data_set.kept:
            self._column(name, contract.column(name))
        for place, rule in enumerate(self.data_set.clean.rules):
            if not isinstance(rule, SEQUENCE):
                self._rule(rule)
            elif rule.then != "null":
                shown = _told(f"{rule.of} {_ALONG_TIME[rule.kind]}", F.col(f"`{rule.of}`"))
                self.along_time[place] = self._add(Reason(rule.kind, rule.then, shown))
        events = self.data_set.clean.events
        if events and events.grid:
            self.values[events.grid.entity] = cell = _cell(self.data_set, self.values)
            inside = [self.values[axis.column] for axis in (events.grid.x, events.grid.y)]
            shown = F.concat_ws(", ", *[value.cast("string") for value in inside])
            self._refuse("grid", cell.isNull(), _told("the place lies outside the grid", shown), events.grid.outside)

    def changed(self) -> Expression:
        """`_changed`."""
        if not self._effects:
            return F.lit(None).cast("string")
        text = F.concat_ws("; ", *self._effects)
        return F.when(text != "", text)

    def _refuse(self, rule: str, broken: Expression, reason: Expression, then: str = "quarantine") -> None:
        self._breaks.append(F.when(broken, F.lit(self._add(Reason(rule, then, reason)))))

    def _column(self, name: str, column: Column) -> None:
        value, text = self.values[name], self._raw(name)
        if column.type == "array":
            wrong = F.length(value) != column.bytes
            size = F.length(value).cast("string")
            self._refuse("shape", wrong, F.concat(F.lit(f"{name} is not {column.bytes} bytes but "), size))
        elif column.type != "text":
            # what was read and means a missing value is not unread
            unread = (
                value.isNull()
                & present(self.data_set, text).isNotNull()
                & _cast(self.data_set, name, self.columns).isNull()
            )
            self._refuse("type", unread, _told(f"{name} is not of type {column.type}", text))
        if column.required:
            self._refuse("required", value.isNull(), F.lit(f"{name} is missing"))
        if column.between is not None:
            self._rule(Range(of=name, between=column.between), "between")
        if column.one_of is not None:
            self._rule(OneOf(of=name, values=column.one_of))
        if column.matches is not None:
            self._rule(Matches(of=name, pattern=column.matches))

    def _rule(self, rule: AnyRule, label: str | None = None) -> None:
        label = label or rule.kind
        broken, reason = self._broken(rule)
        if rule.then in ("quarantine", "drop", "fail"):
            self._refuse(label, broken, reason, rule.then)
            return
        name = rule.named[0]
        value = self.values[name]
        empty = F.lit(None).cast(_SPARK_TYPES[self.data_set.contract.column(name).type])
        moved = empty
        if isinstance(rule, Range) and rule.then == "clip":
            kind = _SPARK_TYPES[self.data_set.contract.column(name).type]
            low, high = rule.between if kind == "double" else (math.ceil(rule.between[0]), math.floor(rule.between[1]))
            moved = F.greatest(F.lit(low).cast(kind), F.least(F.lit(high).cast(kind), value))
        self.values[name] = F.when(broken, moved).otherwise(value)
        self._effects.append(F.when(broken, f"{name} {label}"))

    def _broken(self, rule: AnyRule) -> tuple[Expression, Expression]:
        """Whether a record breaks a rule, and what to say."""
        if isinstance(rule, Related):
            values = {name: self.values[name] for name in rule.relation.columns}
            shown = F.to_json(F.struct(*[value.alias(name) for name, value in values.items()]))
            return ~expression(rule.relation, values), _told(f"{rule.that} does not hold", shown)
        name = rule.named[0]
        value, text = self.values[name], self._raw(name)
        if isinstance(rule, Range):
            low, high = rule.between
            return (value < low) | (value > high), _told(f"{name} is outside {low:g} … {high:g}", text)
        if isinstance(rule, OneOf):
            return ~value.isin(rule.values), _told(f"{name} is none of the allowed texts", text)
        if isinstance(rule, Matches):
            return ~value.rlike(f"^(?:{rule.pattern})$"), _told(f"{name} does not match {rule.pattern}", text)
        assert isinstance(rule, Known)
        missing = value.isNotNull() & F.col(f"`{_found(rule)}`").isNull()
        return missing, _told(f"{name} is unknown to {rule.in_}", text)

    def _raw(self, name: str) -> Expression:
        return raw_value(self.data_set, self.data_set.contract.raw(name), self.columns)


def _cast(data_set: DataSet, name: str, columns: list[str]) -> Expression:
    """The raw value in silver's type, null where it is of another."""
    kind = data_set.contract.column(name).type
    raw = raw_value(data_set, data_set.contract.raw(name), columns)
    if kind == "array":
        return raw.cast("binary")
    if kind == "text":
        return F.trim(raw.cast("string"))
    if data_set.source.decimal == ",":
        text = raw.cast("string")
        raw = F.when(~F.contains(text, F.lit(".")), F.replace(text, F.lit(","), F.lit(".")))
    value = raw.try_cast(_SPARK_TYPES[kind])
    if kind != "float":
        return value
    # Java's letters for float and double are no digits, and what is beyond all numbers is none
    typed = F.typeof(raw).isin("string") & F.lower(F.right(F.rtrim(raw.cast("string")), F.lit(1))).isin("f", "d")
    return F.when(~typed & (F.abs(value) != math.inf), value)


def _typed(data_set: DataSet, name: str) -> Expression:
    """The cast value in silver's unit, null where it means missing."""
    column, value = data_set.contract.column(name), F.col(f"`{_value(name)}`")
    if column.type == "text":
        return F.when(~value.isin(["", *data_set.source.missing]), value)
    if column.type in ("array", "bool"):
        return value
    numbers = [number for text in data_set.source.missing if (number := _number(text)) is not None]
    none = value.isin(numbers) if numbers else F.lit(False)
    if column.type == "float":
        none = none | F.isnan(value)
    value = F.when(~none, value)
    if column.from_unit:
        factor, offset = conversion(column.from_unit, column.unit)
        # neither factor nor offset is exact: a billionth is below what any sensor tells
        value = F.round(value * F.lit(factor) + F.lit(offset), 9) if offset else value * F.lit(factor)
    return value


def _number(text: str) -> float | None:
    try:
        found = float(text)
    except ValueError:
        return None
    return found if math.isfinite(found) else None


def _identity(data_set: DataSet, own: list[str]) -> list[Expression]:
    """What tells one event from another."""
    events = data_set.clean.events
    if events is None:
        return []
    named = [landed_name(name) for name in events.identity or own]
    if strange := sorted(set(named) - set(own)):
        what = f"{data_set.name}: clean.events.identity names '{strange[0]}', which the records lack"
        raise ConfigError(what, where=f"conf/data/{data_set.name}.yaml", fix=f"they have {', '.join(own)}")
    return [F.xxhash64(*[F.col(f"`{name}`") for name in named]).alias("_identity")]


def _looked_up(rows: DataFrame, rule: Known, masters: Masters) -> DataFrame:
    """Adds a column that is null where the master has no such value."""
    values = masters[rule.master, rule.column].select(F.col("value").alias(_found(rule)))
    found = F.col(f"`{_found(rule)}`")
    return rows.join(F.broadcast(values), F.col(f"`{_value(rule.of)}`").cast("string") == found, "left")


def _found(rule: Known) -> str:
    return f"_known_{rule.of}_{rule.master}_{rule.column}"


def _cell(data_set: DataSet, values: dict[str, Expression]) -> Expression:
    """Name of the grid's cell in which a place lies, null outside; the outer edges belong to the last cells."""
    events = data_set.clean.events
    assert events is not None and events.grid is not None
    parts = []
    for axis in (events.grid.x, events.grid.y):
        value = values[axis.column]
        width = (axis.to - axis.from_) / axis.parts
        part = F.least(F.floor((value - axis.from_) / width), F.lit(axis.parts - 1))
        parts.append(F.when((value >= axis.from_) & (value <= axis.to), part.cast("int").cast("string")))
    return F.when(parts[0].isNotNull() & parts[1].isNotNull(), F.concat_ws("-", *parts))


def _value(name: str) -> str:
    """Where a typed value stands while the raw columns are still there."""
    return f"_v_{name}"


def _told(reason: str, text: Expression) -> Expression:
    shown = F.coalesce(F.substring(text.cast("string"), 1, 100), F.lit(""))
    return F.concat(F.lit(f"{reason}: '"), shown, F.lit("'"))
