"""Writes docs/reference.md out of the types: `python -m nightmill.config.reference [--check] [FILE]`."""

from __future__ import annotations

import sys
import typing
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import UnionType
from typing import Any, Literal, NamedTuple, get_args, get_origin

import yaml
from pydantic import BaseModel, BeforeValidator
from pydantic.fields import FieldInfo

from nightmill.config.dataset import DataSet
from nightmill.config.environment import Environment
from nightmill.config.usecase import Input, UseCase
from nightmill.config.values import format_duration, format_size, parse_duration, parse_fraction, parse_size, parse_step

ROOT = Path(__file__).parents[3]
_LISTS = ("features", "rules", "filters")
HIDDEN = ("name", "kind")
COMMAND = "python -m nightmill.config.reference"
_HEAD = f"""# Configuration reference

Generated from the types in `lib/nightmill/config` by `{COMMAND}`; `make format` writes it anew.

There are three kinds of file. A wrong key, type or value is refused before any work starts, with file, line and the
nearest right key. Every file may begin with `extends: other.yaml`: its own values then stand over those of that file,
mapping by mapping. `--set a.b=value` overrides a key for one command.

| a person writes | for |
|---|---|
| `5 min`, `1 h`, `60 d` | a duration: a number and one of ms, s, min, h, d, w |
| `20 %` or `0.2` | a share |
| `500 MiB`, `4 GiB` | a size: a number and one of KiB, MiB, GiB, TiB |
"""


class Kind(NamedTuple):
    """One kind of file, where it lies, and a file of conf/ that shows it."""

    title: str
    model: type[BaseModel]
    place: str
    example: str


KINDS = (
    Kind("Data set", DataSet, "`conf/data/{domain}/{name}.yaml`", "conf/data/factory/turbofan_fd001_rest.yaml"),
    Kind("Use case", UseCase, "`conf/{domain}/{name}.yaml`", "conf/city/traffic_los_loop.yaml"),
    Kind("Environment", Environment, "`conf/base.yaml` and `conf/env/{name}.yaml`", "conf/env/cluster.yaml"),
)
_NOTES: dict[type[BaseModel], str] = {
    Input: "Where only `from` is wanted, its value may stand alone: `speed: data/city/traffic`.",
}


def reference(root: Path = ROOT) -> str:
    """The whole page in Markdown."""
    return "\n".join([_HEAD, *(line for kind in KINDS for line in _kind(kind, root))]).rstrip() + "\n"


def sections(model: type[BaseModel], path: str = "") -> Iterator[tuple[str, type[BaseModel]]]:
    """The model and all below it, each with its path in the YAML, as in `contract.columns.<name>`."""
    yield path, model
    for name, field in _fields(model):
        for step, nested in _nested(field.annotation):
            yield from sections(nested, f"{path}.{name}{step}".lstrip("."))


def _kind(kind: Kind, root: Path) -> Iterator[str]:
    yield f"## {kind.title}\n"
    yield f"{kind.model.__doc__} Lies in {kind.place}, as `{kind.example}`:\n"
    yield f"```yaml\n{(root / kind.example).read_text(encoding='utf-8').rstrip()}\n```\n"
    for path, model in sections(kind.model):
        if path:
            yield f'<a id="{_anchor(kind.model, path)}"></a>\n'
            yield f"### `{path}`\n"
            yield f"{model.__doc__}\n"
        if note := _NOTES.get(model) or _short_form(path, model):
            yield f"{note}\n"
        yield "| key | value | default | meaning |\n|---|---|---|---|"
        yield from (_row(kind.model, path, name, field) for name, field in _fields(model))
        yield ""


def _row(root: type[BaseModel], path: str, name: str, field: FieldInfo) -> str:
    value = _value(field.annotation, tuple(field.metadata))
    nested = list(_nested(field.annotation))
    if nested:
        below = [f"{path}.{name}{step}".lstrip(".") for step, _ in nested]
        links = ", ".join(f"[`{target}`](#{_anchor(root, target)})" for target in below)
        value = f"{value}: {links}" if value else links
    cells = (f"`{name}`", value, _default(field), field.description or _choice(field))
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _choice(field: FieldInfo) -> str:
    """What a key means that only chooses one of several models."""
    return "Chooses these options." if len(get_args(field.annotation)) == 1 else ""


def _fields(model: type[BaseModel]) -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if name not in HIDDEN:
            yield field.alias or name, field


def _nested(annotation: Any) -> Iterator[tuple[str, type[BaseModel]]]:
    """Models in a field's type, with the step that leads to each: `.<name>` in a mapping, ` (stid)` in a choice."""
    annotation = _plain(annotation)
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield "", annotation
    elif get_origin(annotation) is dict:
        yield from ((f".<name>{step}", model) for step, model in _nested(get_args(annotation)[1]))
    elif get_origin(annotation) is list:
        yield from _nested(get_args(annotation)[0])
    elif _is_union(annotation):
        members = [member for member in map(_plain, get_args(annotation)) if member is not type(None)]
        for member in members:
            model = isinstance(member, type) and issubclass(member, BaseModel)
            step = f" ({_tag(member)})" if len(members) > 1 and model else ""
            yield from ((step + deeper, model) for deeper, model in _nested(member))


def _tag(model: type[BaseModel]) -> str:
    """The text by which one of several models is chosen: `- calendar: …`, `family: stid`."""
    for name in ("kind", "family"):
        if name in model.model_fields:
            tag = get_args(model.model_fields[name].annotation)[0]
            return str(tag) if name == "kind" else f"{name}: {tag}"
    return model.__name__


def _short_form(path: str, model: type[BaseModel]) -> str:
    if "kind" not in model.model_fields:
        return ""
    tag, needed = _tag(model), [name for name, field in _fields(model) if field.is_required()]
    dash = "- " if path.split(" ")[0].split(".")[-1] in _LISTS else ""
    if not needed:
        return f"Written `{dash}{tag}`."
    long = ", ".join(f"{name}: …" for name in needed)
    short = f", or for short `{dash}{tag}: …`." if needed in (["of"], ["that"]) else "."
    return f"Written `{dash}{tag}: {{{long}}}`" + short


def _value(annotation: Any, metadata: tuple[Any, ...] = ()) -> str:
    """What a person writes for a type; empty for a model, which is described in a section of its own."""
    if get_origin(annotation) is typing.Annotated:
        return _value(get_args(annotation)[0], (*metadata, *get_args(annotation)[1:]))
    parsers = [item.func for item in metadata if isinstance(item, BeforeValidator)]
    if parse_duration in parsers:
        return "duration"
    if any(getattr(item, "func", None) is parse_step for item in metadata):
        return "duration, or months as `1 month`"
    if parse_fraction in parsers:
        return "share"
    if parse_size in parsers:
        return "size"
    arguments = get_args(annotation)
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{item}`" for item in arguments)
    if get_origin(annotation) is list:
        return f"list of {_value(arguments[0])}".removesuffix(" of ")
    if get_origin(annotation) is dict:
        return f"mapping of {_value(arguments[1])}".removesuffix(" of ")
    if get_origin(annotation) is tuple:
        return f"[{', '.join(_value(item) for item in arguments)}]"
    if _is_union(annotation):
        return " or ".join(filter(None, (_value(item, metadata) for item in arguments if item is not type(None))))
    plain = {str: "text", int: "whole number", float: "number", bool: "`true` or `false`", datetime: "date and time"}
    return " ".join(filter(None, [plain.get(annotation, ""), _bounds(metadata)]))


def _bounds(metadata: tuple[Any, ...]) -> str:
    words = {"gt": "above", "ge": "from", "lt": "below", "le": "up to"}
    found = [(word, getattr(item, name, None)) for item in metadata for name, word in words.items()]
    return " ".join(f"{word} {limit:g}" for word, limit in found if limit is not None)


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "**required**"
    value = field.get_default(call_default_factory=True)
    if value is None or value in ([], {}):
        return ""
    if isinstance(value, timedelta):
        return f"`{format_duration(value)}`"
    if isinstance(value, float) and any(getattr(item, "func", None) is parse_fraction for item in field.metadata):
        return f"`{value * 100:g} %`"
    if any(getattr(item, "func", None) is parse_size for item in field.metadata):
        return f"`{format_size(value)}`"
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json", exclude_unset=True)
        if not value:
            return ""
    text = yaml.safe_dump(value, default_flow_style=True, width=1000).removesuffix("...\n").strip()
    return f"`{text}`"


def _anchor(root: type[BaseModel], path: str) -> str:
    words = "".join(character if character.isalnum() else " " for character in f"{root.__name__} {path}")
    return "-".join(words.lower().split())


def _plain(annotation: Any) -> Any:
    while get_origin(annotation) is typing.Annotated:
        annotation = get_args(annotation)[0]
    return annotation


def _is_union(annotation: Any) -> bool:
    return get_origin(annotation) in (typing.Union, UnionType)


def main(arguments: list[str]) -> int:
    """Writes the page to FILE or standard output; with --check compares, and returns 1 where they differ."""
    files = [argument for argument in arguments if not argument.startswith("-")]
    page = reference()
    if "--check" in arguments:
        path = Path(files[0]) if files else ROOT / "docs" / "reference.md"
        if path.is_file() and path.read_text(encoding="utf-8") == page:
            return 0
        print(f"{path} does not match the types in lib/nightmill/config; run `make format`", file=sys.stderr)
        return 1
    if files:
        Path(files[0]).write_text(page, encoding="utf-8")
    else:
        sys.stdout.write(page)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
