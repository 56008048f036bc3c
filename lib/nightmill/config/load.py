"""Finds the files of a configuration folder by name and turns them into typed models."""

from __future__ import annotations

import difflib
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from nightmill.config.dataset import DataSet
from nightmill.config.document import Document, read
from nightmill.config.environment import Environment
from nightmill.config.usecase import UseCase
from nightmill.config.values import Options
from nightmill.errors import ConfigError

DATA = "data/"
Named = TypeVar("Named", UseCase, DataSet)


@dataclass(frozen=True)
class Configuration:
    """A configuration folder with the environment and the overrides of one command."""

    folder: Path
    environment: Environment
    overrides: tuple[tuple[str, str], ...] = ()

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
        folder = folder or find_folder()
        overrides = tuple(_split(item) for item in sets)
        path = Path(env) if env.endswith((".yaml", ".yml")) else folder / "env" / f"{env}.yaml"
        if not path.is_file():
            known = sorted(p.stem for p in (folder / "env").glob("*.yaml"))
            raise ConfigError(f"there is no environment '{env}'", where=str(path), fix=f"known: {', '.join(known)}")
        document = _override(read(path), Environment, overrides)
        for key, value in (("raw", raw), ("lake", lake)):
            if value is not None:
                document = document.with_value(key, json.dumps(value))
        for key, _ in overrides:
            owners = [*Environment.model_fields, *UseCase.model_fields, *DataSet.model_fields]
            if key.split(".")[0] not in owners:
                near = difflib.get_close_matches(key.split(".")[0], owners, 1, 0.5)
                raise ConfigError(
                    f"--set {key}: unknown key '{key.split('.')[0]}'",
                    where=f"--set {key}",
                    fix=f"write '{near[0]}'" if near else f"known first keys: {', '.join(sorted(set(owners)))}",
                )
        return cls(folder, document.check(Environment), overrides)

    def use_case_names(self) -> list[str]:
        """All use cases of the folder, sorted."""
        return sorted(
            f"{p.parent.name}/{p.stem}" for p in self.folder.glob("*/*.yaml") if p.parent.name not in ("data", "env")
        )

    def data_set_names(self) -> list[str]:
        """All data sets of the folder as `data/city/traffic`, sorted."""
        return sorted(f"{DATA}{p.parent.name}/{p.stem}" for p in self.folder.glob("data/*/*.yaml"))

    def use_case(self, name: str) -> UseCase:
        """The use case of that name, or of a YAML file; raises ConfigError with the nearest name."""
        path = self._path(name, self.use_case_names())
        return self._read(path, UseCase, f"{path.resolve().parent.name}/{path.stem}")

    def data_set(self, name: str) -> DataSet:
        """The data set `data/city/traffic`; its tables are named city/traffic."""
        path = self._path(name, self.data_set_names())
        return self._read(path, DataSet, f"{path.resolve().parent.name}/{path.stem}")

    def inputs(self, use_case: UseCase) -> dict[str, DataSet]:
        """The data sets of a use case by the names of its inputs; checks the columns that the use case names."""
        found = {name: self.data_set(item.from_) for name, item in use_case.inputs.items()}
        _check_columns(use_case, found)
        return found

    def raw(self) -> str:
        """Folder of the raw drops; raises ConfigError where none is given."""
        if self.environment.raw is None:
            raise ConfigError("no folder of raw drops is given", fix="pass --raw PATH, or set raw: in the environment")
        return self.environment.raw.rstrip("/")

    def _path(self, name: str, known: list[str]) -> Path:
        if name.endswith((".yaml", ".yml")):
            path = Path(name)
            if not path.is_file():
                raise ConfigError(f"there is no file {name}")
            return path
        if name not in known:
            near = difflib.get_close_matches(name, known, 1, 0.4)
            kind = "data set" if name.startswith(DATA) else "use case"
            fix = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known) or 'none'}"
            raise ConfigError(f"there is no {kind} '{name}'", where=str(self.folder), fix=fix)
        return self.folder / f"{name}.yaml"

    def _read(self, path: Path, model: type[Named], name: str) -> Named:
        document = _override(read(path), model, self.overrides)
        if "name" in document.data:
            raise ConfigError("a file's name is its place; remove the key 'name'", where=document.place(["name"]))
        document.data["name"] = name
        return document.check(model)


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
        if key.split(".")[0] in model.model_fields:
            document = document.with_value(key, value)
    return document


def _check_columns(use_case: UseCase, inputs: dict[str, DataSet]) -> None:
    series = inputs[next(iter(use_case.inputs))]
    if series.contract.time is None:
        raise ConfigError(f"{use_case.name}: its first input {series.name} has no time, so it is no series")
    columns = sorted({*series.contract.columns, *series.contract.key})
    named = [use_case.target.column] if use_case.target.column else []
    for feature in use_case.features:
        if feature.kind == "columns":
            named += feature.of
        elif feature.kind in ("neighbours", "network_mean"):
            named.append(feature.of)  # type: ignore[arg-type]
    for item in use_case.inputs.values():
        named += [item.by] if item.by else []
    for name in named:
        if name not in columns:
            near = difflib.get_close_matches(name, columns, 1, 0.5)
            raise ConfigError(
                f"{use_case.name}: data set {series.name} has no column '{name}'",
                where=f"conf/{use_case.name}.yaml",
                fix=f"did you mean '{near[0]}'?" if near else f"its columns: {', '.join(columns)}",
            )
