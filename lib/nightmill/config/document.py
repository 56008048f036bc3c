"""YAML files that remember where each key stands, so that an error can name file and line."""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from nightmill.errors import ConfigError

Location = tuple[Hashable, ...]
Checked = TypeVar("Checked", bound=BaseModel)


@dataclass
class Document:
    """A YAML mapping with the place of every key and item; `--set` values have the place `--set`."""

    path: Path
    data: dict[str, Any]
    places: dict[Location, str] = field(default_factory=dict)

    def place(self, location: Iterable[Hashable]) -> str:
        """`file:line` of the nearest enclosing key that stands in a file."""
        walked = self._present(location)
        while walked and walked not in self.places:
            walked = walked[:-1]
        return self.places.get(walked, str(self.path))

    def merged_over(self, base: Document) -> Document:
        """This document's values over those of `base`: mappings merge, unless of another family; the rest replaces."""
        places = {k: v for k, v in base.places.items() if not _replaced(k, self.data, base.data)}
        return Document(self.path, _merge(base.data, self.data), places | self.places)

    def with_value(self, dotted: str, text: str) -> Document:
        """One `--set a.b=text`; the text is read as YAML."""
        try:
            value = yaml.safe_load(text)
        except yaml.YAMLError:
            value = text
        location = tuple(dotted.split("."))
        data: Any = value
        for part in reversed(location):
            data = {part: data}
        new = [location[:length] for length in range(1, len(location)) if not self._is_mapping(location[:length])]
        places: dict[Location, str] = {at: f"--set {dotted}" for at in (*new, location)}
        return Document(self.path, data, places).merged_over(self)

    def check(self, model: type[Checked]) -> Checked:
        """The typed model of this document; raises ConfigError naming every wrong key with its place."""
        try:
            return model.model_validate(self.data)
        except ValidationError as error:
            problems = [self._problem(model, item) for item in _told(model, error.errors())]
        raise ConfigError(
            "\n".join(f"{place}: {text}" for place, text, _ in problems),
            where=problems[0][0],
            fix=problems[0][2],
        ) from None

    def _present(self, location: Iterable[Hashable]) -> Location:
        """A location without the parts that the file lacks, as the names of models that pydantic chose on the way."""
        walked: Location = ()
        node: Any = self.data
        for part in location:
            inside = isinstance(node, Mapping) and part in node
            if inside or (isinstance(node, list) and part in range(len(node))):
                node = node[part]
                walked += (part,)
        return walked

    def _shown(self, location: Location) -> str:
        return ".".join(str(part) for part in self._present(location)) or "the file"

    def _is_mapping(self, location: Location) -> bool:
        node: Any = self.data
        for part in location:
            node = node.get(part) if isinstance(node, Mapping) else None
        return isinstance(node, Mapping)

    def _problem(self, model: type[BaseModel], item: Any) -> tuple[str, str, str]:
        location, name = item["loc"], str(item["loc"][-1]) if item["loc"] else ""
        inside = self._shown(location[:-1])
        place = self.place(location)
        if item["type"] == "extra_forbidden":
            known = [*keys_at(model, location[:-1]), *(["extends"] if len(location) == 1 else [])]
            near = _nearest(name, known)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            fix = f"write '{near[0]}'" if near else f"known keys: {', '.join(known)}"
            return place, f"unknown key '{name}' in {inside}{hint}", fix
        if item["type"] == "missing" and isinstance(location[-1], int):
            return place, f"{inside} needs {location[-1] + 1} values", f"write all values of '{location[-2]}'"
        if item["type"] == "missing":
            return place, f"key '{name}' is missing in {inside}", f"add '{name}:'"
        shown = self._shown(location)
        if item["type"] == "union_tag_invalid":
            tag, known = item["ctx"]["tag"], [word.strip(" '") for word in item["ctx"]["expected_tags"].split(",")]
            near = _nearest(tag, known)
            hint = f"; did you mean '{near[0]}'?" if near else ""
            fix = f"write '{near[0]}'" if near else f"known: {', '.join(known)}"
            return place, f"{shown}: there is no '{tag}'{hint}", fix
        if item["type"] == "union_tag_not_found":
            key = item["ctx"]["discriminator"].strip("'")
            return place, f"key '{key}' is missing in {shown}", f"add '{key}:'"
        message = item["msg"].removeprefix("Value error, ")
        if item["type"] == "literal_error":
            known = re.findall(r"'([^']*)'", item["ctx"]["expected"])
            if near := _nearest(item["input"], known):
                return place, f"{shown}: there is no '{item['input']}'; did you mean '{near[0]}'?", f"write '{near[0]}'"
        return place, f"{shown}: {message}", "docs/reference.md lists every key, its type and its default"


def _told(model: type[BaseModel], errors: list[Any]) -> list[Any]:
    """Unknown keys first, and without the missing keys that they were meant to be."""
    unknown = [item for item in errors if item["type"] == "extra_forbidden"]
    others = [item for item in errors if item["type"] != "extra_forbidden"]
    meant = {
        (*item["loc"][:-1], near)
        for item in unknown
        for near in _nearest(item["loc"][-1], keys_at(model, item["loc"][:-1]))
    }
    return unknown + [item for item in others if item["type"] != "missing" or item["loc"] not in meant]


def _nearest(name: Any, known: list[str]) -> list[str]:
    """The known name that was probably meant, if any."""
    return difflib.get_close_matches(str(name), known, 1, 0.5)


def read(path: Path) -> Document:
    """Reads a YAML mapping, following `extends:` (a path beside the file, `.yaml` may be left out)."""
    return _read(path, ())


def _read(path: Path, seen: tuple[Path, ...]) -> Document:
    if path.resolve() in [former.resolve() for former in seen]:
        circle = " -> ".join(map(str, (*seen, path)))
        raise ConfigError("extends goes in a circle", where=circle, fix="take one extends: out")
    try:
        text = path.read_text(encoding="utf-8")
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except OSError as error:
        raise ConfigError(f"cannot read {path}: {error.strerror}", where=str(seen[-1]) if seen else "") from None
    except UnicodeDecodeError as error:
        reason = f"{path} is not UTF-8 text: {error.reason} at byte {error.start}"
        raise ConfigError(reason, where=str(path), fix="save the file as UTF-8") from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{path}:{mark.line + 1}" if mark else str(path)
        raise ConfigError(f"{where}: not YAML: {getattr(error, 'problem', error)}", where=where) from None
    if not isinstance(node, yaml.MappingNode):
        raise ConfigError(f"{path}: expected `key: value` lines", where=str(path))
    document = Document(path, {})
    try:
        document.data = _construct(node, (), document)
    except RecursionError:
        raise ConfigError(f"{path}: an alias leads back into itself", where=str(path), fix="write it out") from None
    where = document.place(["extends"])
    extends = document.data.pop("extends", None)
    if extends is None:
        return document
    if not isinstance(extends, str):
        raise ConfigError(f"{where}: extends names one file", where=where, fix="as in extends: traffic")
    name = extends if extends.endswith((".yaml", ".yml")) else f"{extends}.yaml"
    parent = (path.parent / name).resolve()
    if not parent.is_file():
        near = _nearest(parent.name, [found.name for found in parent.parent.glob("*.y*ml") if found != path.resolve()])
        fix = f"did you mean '{near[0]}'?" if near else f"name a file by its path from {path.parent}"
        raise ConfigError(f"extends names '{extends}', but there is no {parent}", where=where, fix=fix)
    return document.merged_over(_read(parent, (*seen, path)))


def _construct(node: yaml.Node, at: Location, document: Document) -> Any:
    document.places.setdefault(at, f"{document.path}:{node.start_mark.line + 1}")
    if isinstance(node, yaml.MappingNode):
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key, line = str(key_node.value), key_node.start_mark.line + 1
            if key in result:
                raise ConfigError(f"{document.path}:{line}: key '{key}' appears twice", where=f"{document.path}:{line}")
            document.places[(*at, key)] = f"{document.path}:{line}"
            result[key] = _construct(value_node, (*at, key), document)
        return result
    if isinstance(node, yaml.SequenceNode):
        return [_construct(item, (*at, index), document) for index, item in enumerate(node.value)]
    if node.tag == "tag:yaml.org,2002:str":
        return node.value
    if node.tag == "tag:yaml.org,2002:null":
        return None
    try:
        return yaml.safe_load(yaml.serialize(node))
    except (yaml.YAMLError, ValueError):  # a tag of its own, or a date that does not exist
        place = f"{document.path}:{node.start_mark.line + 1}"
        kind = node.tag.rpartition(":")[2]
        fix = "put it into quotes if it is a text"
        raise ConfigError(f"{place}: '{node.value}' is no {kind}", where=place, fix=fix) from None


def _merge(base: Any, over: Any) -> Any:
    if _alike(base, over):
        return base | {key: _merge(base.get(key), value) for key, value in over.items()}
    return over


def _replaced(location: Location, over: Any, base: Any) -> bool:
    """Whether `over` puts another value where `base` had `location`, or above it."""
    for part in location:
        if not _alike(base, over):
            return True
        if part not in over:
            return False
        over, base = over[part], base.get(part)
    return not _alike(base, over)


def _alike(base: Any, over: Any) -> bool:
    """Whether one mapping only changes another: of models of different families no option means the same."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return False
    return "family" not in over or base.get("family", over["family"]) == over["family"]


def keys_at(annotation: Any, location: Location) -> list[str]:
    """Keys that the model allows at a location of a pydantic error (which also names union members)."""
    annotation = _strip(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        names = {f.alias or name: f.annotation for name, f in annotation.model_fields.items()}
        if not location:
            return [name for name in names if name not in ("kind", "name")]
        return keys_at(names.get(str(location[0]), object), location[1:])
    arguments = get_args(annotation)
    if get_origin(annotation) in (typing.Union, UnionType):
        members = [m for m in arguments if m is not type(None)]
        if location and len(members) > 1:
            chosen = [m for m in members if location[0] in _tags(_strip(m))]
            return keys_at(chosen[0], location[1:]) if chosen else []
        return keys_at(members[0], location) if members else []
    if get_origin(annotation) in (list, dict) and location:
        return keys_at(arguments[-1], location[1:])
    return []


def _strip(annotation: Any) -> Any:
    while get_origin(annotation) is typing.Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _tags(model: Any) -> set[Any]:
    fields = getattr(model, "model_fields", {})
    literal = next((fields[name].annotation for name in ("kind", "family") if name in fields), None)
    return {*get_args(literal), getattr(model, "__name__", "")}
