"""The files of a drop: found by the data set's path, hashed by content."""

from __future__ import annotations

import codecs
import hashlib
import logging
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.fs as pafs

from nightmill.config import DataSet
from nightmill.errors import DataRefused, MachineError

if TYPE_CHECKING:
    from pyspark.sql import Column

log = logging.getLogger(__name__)

_CHUNK = 4 << 20
_NOTHING = hashlib.sha256().hexdigest()
"""Hash of a file without a byte, which Spark leaves out without a word."""
_DAY = re.compile(r"(?=(\d{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12]\d|3[01])))")
_PACKED = (".gz", ".bz2", ".zst", ".lz4")
"""Endings by which files are unpacked."""


@dataclass(frozen=True)
class RawFile:
    """One file of a drop."""

    uri: str
    """Where Spark reads it."""
    name: str
    """Path below the raw folder: the name by which a later file of the same name is a correction."""
    hash: str
    """SHA-256 of its bytes."""
    day: date
    """Day of the drop."""
    damaged: str = ""
    """Why its bytes cannot be unpacked, or are no text in the data set's encoding; empty where all is well."""


def file_uri(column: str) -> Column:
    """A path as Spark names it, as the URI that RawFile has."""
    from pyspark.sql import functions as F

    path = F.url_decode(F.replace(F.col(column), F.lit("+"), F.lit("%2B")))
    return F.regexp_replace(path, "^file:/+", "file:///")


def decoded(column: str, charset: str) -> Column:
    """Lines as text: Spark's reader of lines takes their bytes as they are."""
    from pyspark.sql import functions as F

    return F.col(column) if charset == "UTF-8" else F.decode(F.col(column).cast("binary"), charset)


def find_days(data_set: DataSet, raw: str, days: list[date]) -> list[RawFile]:
    """The files of these days' drops; raises DataRefused where there is none at all, and logs the days without."""
    if not data_set.source.by_day:
        return find(data_set, raw, max(days))
    found: list[RawFile] = []
    without: dict[date, DataRefused] = {}
    for day in days:
        try:
            found += find(data_set, raw, day)
        except DataRefused as error:
            without[day] = error
    if without and not found:
        raise without[min(without)]
    if without:
        several = f" to {max(without)}" if len(without) > 1 else ""
        log.warning("%s: no drop on %d of %d days, %s%s", data_set.name, len(without), len(days), min(without), several)
    return found


def days_of_drops(data_set: DataSet, raw: str) -> set[date]:
    """All days of which a drop lies there, by names alone; empty for data sets whose path has no day."""
    if not data_set.source.by_day:
        return set()
    return set(names_of_drops(data_set, raw).values()) - {None}  # type: ignore[return-value]


def names_of_drops(data_set: DataSet, raw: str) -> dict[str, date | None]:
    """Name of each file of a data set -> day of its drop, None where its path has no day; nothing is opened."""
    source = data_set.source
    if source.is_pulled:
        return {}
    pattern = source.path.replace("${raw}", "").lstrip("/")
    filesystem, root = _open(raw)
    before = pattern.split("{day}")[0]
    fixed = re.split(r"[*?\[]", before)[0].rpartition("/")[0]
    selector = pafs.FileSelector(f"{root}/{fixed}".rstrip("/"), recursive=True, allow_not_found=True)
    prefix = root.rstrip("/") + "/"
    found: dict[str, date | None] = {}
    for info in filesystem.get_file_info(selector):
        name = info.path.removeprefix(prefix)
        if info.type != pafs.FileType.File:
            continue
        if not source.by_day and _matches(name, pattern):
            found[name] = None
        for text in set(_DAY.findall(name)) if source.by_day else ():
            if _matches(name, pattern.replace("{day}", text)):
                found[name] = date.fromisoformat(text)
    return found


def find(data_set: DataSet, raw: str, day: date) -> list[RawFile]:
    """The files of that day's drop, sorted by name; raises DataRefused where there is none."""
    pattern = data_set.source.path.replace("${raw}", "").replace("{day}", day.isoformat()).lstrip("/")
    filesystem, root = _open(raw)
    fixed = pattern.split("*")[0].split("?")[0].split("[")[0].rpartition("/")[0]
    selector = pafs.FileSelector(f"{root}/{fixed}".rstrip("/"), recursive=True, allow_not_found=True)
    infos = [i for i in filesystem.get_file_info(selector) if i.type == pafs.FileType.File]
    prefix = root.rstrip("/") + "/"
    matching = sorted(
        (i for i in infos if _matches(i.path.removeprefix(prefix), pattern)), key=lambda info: str(info.path)
    )
    if not matching:
        raise DataRefused(
            f"no drop of {data_set.name}: no file matches {pattern}",
            where=f"{raw}/{pattern}",
            fix="check --raw and --day" if data_set.source.by_day else "check --raw",
        )
    scheme = raw.split("://", 1)[0] + "://" if "://" in raw else "file://"
    source = data_set.source
    encoding = source.encoding if source.is_text else None
    with ThreadPoolExecutor(8) as pool:
        found = pool.map(lambda info: _examined(filesystem, info.path, encoding), matching)
        return [
            RawFile(scheme + info.path, info.path.removeprefix(prefix), digest, day, damaged)
            for info, (digest, said) in zip(matching, found, strict=True)
            for damaged in [said or ("has no content" if source.parser and digest == _NOTHING else "")]
        ]


def first_line(file: RawFile, encoding: str) -> str:
    """The first line of a text file without its line end; empty for an empty file."""
    filesystem, path = opened(file)
    with filesystem.open_input_stream(path) as stream:
        head = b""
        while b"\n" not in head and b"\r" not in head and (chunk := stream.read(1 << 16)):
            head += chunk
    text = codecs.getincrementaldecoder(encoding)("replace").decode(head)
    return re.split("\r\n|\r|\n", text.removeprefix("\ufeff"), maxsplit=1)[0]


def opened(file: RawFile) -> tuple[pafs.FileSystem, str]:
    """The file system that has the file, and its path there."""
    if file.uri.startswith("file://"):
        return pafs.LocalFileSystem(), file.uri.removeprefix("file://")
    filesystem, path = pafs.FileSystem.from_uri(file.uri)
    return filesystem, path


def _open(raw: str) -> tuple[pafs.FileSystem, str]:
    if "://" in raw:
        filesystem, root = pafs.FileSystem.from_uri(raw)
        return filesystem, root.rstrip("/")
    root_path = Path(raw).expanduser().resolve()
    if not root_path.is_dir():
        raise DataRefused("there is no folder of raw drops", where=str(root_path), fix="check --raw PATH")
    return pafs.LocalFileSystem(), str(root_path)


def _matches(name: str, pattern: str) -> bool:
    """Like a shell: `*` stays within one folder, `**` stands for any number of them.

    Hidden files and unfinished uploads are not part of a drop.
    """
    parts = name.split("/")
    return not parts[-1].startswith((".", "_")) and _fits(parts, pattern.split("/"))


def _fits(parts: list[str], wanted: list[str]) -> bool:
    if not wanted or not parts:
        return not wanted and not parts
    if wanted[0] == "**":
        return _fits(parts, wanted[1:]) or _fits(parts[1:], wanted)
    return fnmatchcase(parts[0], wanted[0]) and _fits(parts[1:], wanted[1:])


def _examined(filesystem: pafs.FileSystem, path: str, encoding: str | None) -> tuple[str, str]:
    """Hash of a file, and what is wrong with it: Spark would put � for what it cannot decode."""
    digest, text, packed = hashlib.sha256(), _Text(encoding) if encoding else None, path.endswith(_PACKED)
    try:
        with filesystem.open_input_stream(path, compression=None) as stream:
            for chunk in _chunks(stream):
                digest.update(chunk)
                if text and not packed:
                    text.add(chunk)
        if text and packed:
            text.add_unpacked(filesystem, path)
    except PermissionError:
        raise MachineError("no right to read a raw file", where=path, fix="grant read access") from None
    return digest.hexdigest(), text.end() if text else ""


class _Text:
    """Whether bytes are text of an encoding, chunk by chunk."""

    def __init__(self, encoding: str) -> None:
        self._encoding, self._offset, self._damage = encoding, 0, ""
        self._decoder = codecs.getincrementaldecoder(encoding)()

    def add(self, chunk: bytes, *, final: bool = False) -> None:
        if self._damage:
            return
        try:
            self._decoder.decode(chunk, final)
        except UnicodeDecodeError as error:
            self._damage = f"not {self._encoding}: {error.reason} near byte {self._offset + error.start}"
        self._offset += len(chunk)

    def add_unpacked(self, filesystem: pafs.FileSystem, path: str) -> None:
        """The content of a packed file."""
        try:
            with filesystem.open_input_stream(path) as stream:
                for chunk in _chunks(stream):
                    self.add(chunk)
        except PermissionError:
            raise
        except OSError as error:
            self._damage = f"cannot be unpacked: {str(error).splitlines()[0]}"

    def end(self) -> str:
        """What is wrong; empty where all is well."""
        self.add(b"", final=True)
        return self._damage


def _chunks(stream: pa.NativeFile) -> Iterator[bytes]:
    while chunk := stream.read(_CHUNK):
        yield chunk


def name_groups(pattern: str, name: str) -> dict[str, str] | None:
    """The named groups of a regular expression over the file's own name, or with a slash in it over its whole path.

    None where it does not match.
    """
    found = re.search(pattern, name if "/" in pattern else name.rsplit("/", 1)[-1])
    return {key: value or "" for key, value in found.groupdict().items()} if found else None
