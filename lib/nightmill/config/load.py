"""Finds the files of a configuration folder by name and turns them into typed models."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from nightmill.config.check import check_data_set
from nightmill.config.dataset import DataSet
from nightmill.config.document import Document, keys_at, read
from nightmill.config.environment import Environment
from nightmill.config.usecase import Input, UseCase
from nightmill.config.values import DATA, Options
from nightmill.errors import ConfigError

Named = TypeVar("Named", UseCase, DataSet)


@dataclass(frozen=True)
class Configuration:
    """A configuration folder with the environment and the overrides of one command."""

    folder: Path
    environment: Environment
    overrides: tuple[tuple[str, str], ...] = ()
    env: Path = Path()
    """The environment's file."""
    documents: dict[str, Document] = field(default_factory=dict, compare=False, repr=False)
    """The use cases read so far, by name: an error found later still knows their lines."""

    @classmethod
    def load(
        cls,
        folder: Path | None = None,
        env: str = "local",
        sets: Sequence[str] = (),
        raw: str | None = None,
        lake: str | None = None,
    ) -> Configuration:
        """The folder given, `$NIGHTMILL_CONF`, `./conf`, or the one beside the sources; `env` is a name or a file."""
        if folder is not None and not folder.is_dir():
            raise ConfigError("there is no configuration folder", where=str(folder), fix="check --conf PATH")
        folder = folder or find_folder()
        overrides = tuple(_split(item) for item in sets)
        path = Path(env) if env.endswith((".yaml", ".yml")) else folder / "env" / f"{env}.yaml"
        known = sorted(p.stem for p in (folder / "env").glob("*.yaml"))
        if path.is_file():
            document = read(path)
        elif env == "local" and not known:
            document = Document(path, {})  # a folder without environments is used on this machine as it is
        else:
            fix = f"known: {', '.join(known)}" if known else "name one's file, as in --env /etc/nightmill/cluster.yaml"
            raise ConfigError(f"there is no environment '{env}'", where=str(path), fix=fix)
        document = _override(document, Environment, overrides)
        for key, value in (("raw", raw), ("lake", lake)):
            if value is not None:
                document = document.with_value(key, json.dumps(value, ensure_ascii=False))
        for key, _ in overrides:
            owners = [*Environment.model_fields, *UseCase.model_fields, *DataSet.model_fields]
            if key.split(".")[0] not in owners:
                near = difflib.get_close_matches(key.split(".")[0], owners, 1, 0.5)
                raise ConfigError(
                    f"--set {key}: unknown key '{key.split('.')[0]}'",
                    where=f"--set {key}",
                    fix=f"write '{near[0]}'" if near else f"known first keys: {', '.join(sorted(set(owners)))}",
                )
        return cls(folder, document.check(Environment), overrides, path)

    def arguments(self) -> list[str]:
        """The options by which another process of this machine gets the same, but for raw and lake."""
        sets = [part for key, value in self.overrides for part in ("--set", f"{key}={value}")]
        return ["--conf", str(self.folder.resolve()), "--env", str(self.env.resolve()), *sets]

    def use_case_names(self) -> list[str]:
        """All use cases of the folder, sorted."""
        return sorted(
            f"{p.parent.name}/{p.stem}" for p in self.folder.glob("*/*.yaml") if p.parent.name not in ("data", "env")
        )

    def data_set_names(self) -> list[str]:
        """All data sets of the folder as `data/city/traffic`, sorted."""
        return sorted(f"{DATA}{p.parent.name}/{p.stem}" for p in self.folder.glob("data/*/*.yaml"))

    def use_case(self, name: str) -> UseCase:
        """The use case of that name, or of a YAML file, which its name means from then on.

        Raises ConfigError with the nearest name.
        """
        return self._read(self._path(name, "use case", self.use_case_names()), UseCase)

    def data_set(self, name: str) -> DataSet:
        """The data set `data/city/traffic`; its tables are named city/traffic."""
        return self._read(self._path(name, "data set", self.data_set_names()), DataSet)

    def inputs(self, use_case: UseCase) -> dict[str, DataSet]:
        """The data sets of a use case by the names of its inputs, as it reads them; checks what it asks of them.

        A series of events with a step of its own has that step.
        """
        found = {name: _stepped(self.data_set(item.from_), item) for name, item in use_case.inputs.items()}
        document = self.documents.get(use_case.name) or Document(Path(f"conf/{use_case.name}.yaml"), {})
        _check_columns(use_case, found, document)
        _check_keys(use_case, found, document)
        _check_arrays(use_case, found, document)
        _check_holidays(use_case, found, document)
        _check_slices(use_case, found, document)
        return found

    def raw(self) -> str:
        """Folder of the raw drops; raises ConfigError where none is given."""
        if self.environment.raw is None:
            raise ConfigError("no folder of raw drops is given", fix="pass --raw PATH, or set raw: in the environment")
        return self.environment.raw.rstrip("/")

    def _path(self, name: str, kind: str, known: list[str]) -> Path:
        if name.endswith((".yaml", ".yml")):
            path = Path(name)
            if not path.is_file():
                raise ConfigError(f"there is no file {name}", where=name, fix=f"name a {kind}, or the path of its file")
            return path
        if name in self.documents:
            return self.documents[name].path  # that of a file which was named before
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.4)
            fix = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known) or 'none'}"
            raise ConfigError(f"there is no {kind} '{name}'", where=str(self.folder), fix=fix)
        return self.folder / f"{name}.yaml"

    def _read(self, path: Path, model: type[Named]) -> Named:
        name = f"{path.resolve().parent.name}/{path.stem}"
        document = _override(read(path), model, self.overrides)
        if "name" in document.data:
            where = document.place(["name"])
            raise ConfigError("a file's name is its place", where=where, fix="remove the key 'name'")
        document.data["name"] = name
        checked = document.check(model)
        if isinstance(checked, DataSet):
            check_data_set(checked, document)
        else:
            self.documents[name] = document
        return checked


def find_folder() -> Path:
    """The configuration folder: `$NIGHTMILL_CONF`, else `./conf`, else the one beside the sources."""
    named = os.environ.get("NIGHTMILL_CONF")
    candidates = [Path(named)] if named else [Path("conf"), Path(__file__).parents[3] / "conf"]
    for folder in candidates:
        if folder.is_dir():
            return folder
    raise ConfigError(
        "there is no configuration folder", where=str(candidates[0]), fix="pass --conf PATH or set NIGHTMILL_CONF"
    )


def digest(*options: Options) -> str:
    """A short hash of options' content, the same for the same values whatever their order in the file."""
    text = json.dumps([o.model_dump(mode="json") for o in options], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _split(item: str) -> tuple[str, str]:
    key, equals, value = item.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"--set {item}: expected KEY=VALUE", where="--set", fix="as in --set train.epochs=3")
    return key.strip(), value.strip()


def _override(document: Document, model: type[Options], overrides: tuple[tuple[str, str], ...]) -> Document:
    for key, value in overrides:
        if _is_of(key, model):
            document = document.with_value(key, value)
    return document


def _is_of(key: str, model: type[Options]) -> bool:
    """Whether a dotted key is of that model; one that none of them knows is of all that have its section."""
    section, *rest = key.split(".")
    owners = [owner for owner in (Environment, UseCase, DataSet) if section in owner.model_fields]
    knowing = [owner for owner in owners if rest and rest[0] in keys_at(owner, (section,))]
    return model in (knowing or owners)


def _stepped(data_set: DataSet, item: Input) -> DataSet:
    time = data_set.contract.time
    if item.every is None or time is None:
        return data_set
    contract = data_set.contract.model_copy(update={"time": time.model_copy(update={"every": item.every})})
    return data_set.model_copy(update={"contract": contract})


def _check_columns(use_case: UseCase, inputs: dict[str, DataSet], document: Document) -> None:
    first = next(iter(use_case.inputs))
    series = inputs[first]
    if series.contract.time is None and use_case.task == "forecast":
        what = f"{use_case.name}: its first input {series.name} has no time, so nothing lies ahead in it"
        raise ConfigError(what, where=document.place(["inputs", first]), fix="put an input with contract.time first")
    for name, location in _named_columns(use_case):
        source, _, column = name.rpartition(".")
        data_set = inputs[source or first]
        columns = sorted({*data_set.contract.columns, *data_set.contract.key})
        if column not in columns:
            raise _no_column(use_case, data_set, column, columns, document.place(location))


def _check_keys(use_case: UseCase, inputs: dict[str, DataSet], document: Document) -> None:
    """Inputs beside the series belong to its entities by key columns of the same names."""
    first = next(iter(use_case.inputs))
    series, key = inputs[first], inputs[first].contract.entity
    if use_case.inputs[first].every and series.contract.time is None:
        what = f"{use_case.name}: {series.name} has no time, so no row of it says when its entities begin"
        raise ConfigError(what, where=document.place(["inputs", first, "every"]), fix="name a data set of events")
    for name in use_case.statics:
        if not set(inputs[name].contract.entity) <= set(key):
            what = f"{use_case.name}: {inputs[name].name} has a row for each {'/'.join(inputs[name].contract.entity)}"
            fix = f"its key may only have columns of {series.name}'s: {', '.join(key)}"
            raise ConfigError(what, where=document.place(["inputs", name]), fix=fix)
    for name in [name for name, item in use_case.inputs.items() if item.as_ == "boxes"]:
        wanted = [*key, "xmin", "ymin", "xmax", "ymax"]
        for column in wanted:
            if column not in inputs[name].contract.kept:
                raise _no_column(
                    use_case, inputs[name], column, inputs[name].contract.kept, document.place(["inputs", name])
                )
    told = [(f.of, f.by, ("features", n, f.kind)) for n, f in enumerate(use_case.features) if f.kind == "events"]
    event = use_case.target.event
    for name, by, at in [*told, *([(event.of, None, ("target", "event"))] if event else [])]:
        if by is not None and by not in inputs[name].contract.kept:
            raise _no_column(use_case, inputs[name], by, inputs[name].contract.kept, document.place([*at, "by"]))
        if by is not None and inputs[name].contract.column(by).type != "text":
            what = f"{use_case.name}: '{by}' of {inputs[name].name} is no text"
            raise ConfigError(what, where=document.place([*at, "by"]), fix="name a column of type text")
        if not (set(inputs[name].contract.entity) - {by}) & set(key):
            what = f"{use_case.name}: events of {inputs[name].name} say nothing of which {'/'.join(key)} they are"
            fix = f"name one of its key columns as {series.name} does: {', '.join(key)}"
            raise ConfigError(what, where=document.place(at), fix=fix)


def _check_slices(use_case: UseCase, inputs: dict[str, DataSet], document: Document) -> None:
    for number, item in enumerate(use_case.monitor.by):
        name, column = item.split(".")
        columns = inputs[name].contract.kept
        if column not in columns:
            raise _no_column(use_case, inputs[name], column, columns, document.place(["monitor", "by", number]))


def _no_column(use_case: UseCase, data_set: DataSet, name: str, known: Sequence[str], where: str) -> ConfigError:
    near = difflib.get_close_matches(name, known, 1, 0.5)
    fix = f"did you mean '{near[0]}'?" if near else f"its columns: {', '.join(known)}"
    return ConfigError(f"{use_case.name}: data set {data_set.name} has no column '{name}'", where=where, fix=fix)


def _check_arrays(use_case: UseCase, inputs: dict[str, DataSet], document: Document) -> None:
    """Features of arrays read arrays, and all others, as the target, something else."""
    series = inputs[next(iter(use_case.inputs))]
    for name, place in _named_columns(use_case):
        number = place[1] if place[0] == "features" else None
        feature = use_case.features[number] if isinstance(number, int) else None
        wanted = feature is not None and feature.kind in ("array", "waveform", "spectrum") and name == feature.of
        column = series.contract.columns.get(name)
        if wanted != (column is not None and column.type == "array"):
            what = "is no array" if wanted else "is an array"
            fix = (
                "name a column of type array" if wanted else "take it by a feature of kind array, waveform or spectrum"
            )
            raise ConfigError(
                f"{use_case.name}: '{name}' of {series.name} {what}", where=document.place(place), fix=fix
            )


def _check_holidays(use_case: UseCase, inputs: dict[str, DataSet], document: Document) -> None:
    series = inputs[next(iter(use_case.inputs))]
    for number, feature in enumerate(use_case.features):
        asked = feature.kind == "calendar" and "holiday" in feature.of
        asked |= feature.kind == "similar_days" and any("holiday" in group for group in feature.groups)
        if asked and series.contract.time and series.contract.time.holidays is None:
            raise ConfigError(
                f"{use_case.name}: holidays need a country, and data set {series.name} names none",
                where=document.place(["features", number]),
                fix=f"add holidays: to contract.time of conf/data/{series.name}.yaml, as in holidays: US-CA",
            )


def _named_columns(use_case: UseCase) -> Iterator[tuple[str, tuple[Hashable, ...]]]:
    """Columns of the series that a use case names, and where."""
    if use_case.target.column:
        yield use_case.target.column, ("target", "column")
    for number, feature in enumerate(use_case.features):
        at = ("features", number, feature.kind, "of")
        for place, name in enumerate(feature.reads):
            yield name, (*at, place) if isinstance(feature.of, list) else at
    for name, item in use_case.inputs.items():
        if item.by:
            yield item.by, ("inputs", name, "by")
