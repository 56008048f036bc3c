from __future__ import annotations

import errno
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from nightmill.errors import MachineError, WorkFailed
from nightmill.handoff.cache import Cache, Mapped
from nightmill.handoff.columns import Field, Values, numbers

FIELDS = [numbers("x", ["a", "b", "c"]), numbers("y", ["t"]), Field("image", ("i",), "uint8", 5, array=True)]
ROWS = 1000
BYTES = ROWS * (12 + 4 + 5)


def filled(arrays: dict[str, Values], done: Callable[[], None]) -> None:
    for number, array in enumerate(arrays.values()):
        array[:] = np.arange(array.size).reshape(array.shape) % 200 + number
        done()


def right(found: Mapped) -> bool:
    return all(
        np.array_equal(a, (np.arange(a.size).reshape(a.shape) % 200 + n).astype(a.dtype))
        for n, a in enumerate(found.arrays.values())
    )


def never(arrays: dict[str, Values], done: Callable[[], None]) -> None:
    raise AssertionError("it was there")


def test_what_was_made_once_is_found_again_by_any_process(tmp_path: Path):
    cache = Cache(str(tmp_path / "cache"), 10 * BYTES)
    made = cache.fetch("a" * 32, FIELDS, ROWS, filled)
    assert right(made) and {name: a.shape for name, a in made.arrays.items()} == {
        "x": (ROWS, 3), "y": (ROWS, 1), "image": (ROWS, 5)
    }  # fmt: skip
    assert right(cache.fetch("a" * 32, FIELDS, ROWS, never))
    made.release()
    assert right(made)


def test_a_file_is_an_arrow_file_that_everybody_can_read(tmp_path: Path):
    Cache(str(tmp_path), 10 * BYTES).fetch("a" * 32, FIELDS, ROWS, filled)
    table = pa.ipc.open_file(pa.memory_map(str(tmp_path / f"{'a' * 32}.arrow"))).read_all()
    assert table.schema.names == ["x", "y", "image"] and table.num_rows == ROWS
    assert table["x"][1].as_py() == [3.0, 4.0, 5.0]


def test_the_one_used_longest_ago_is_evicted_and_its_reader_keeps_it(tmp_path: Path):
    cache = Cache(str(tmp_path), 5 * BYTES // 2)
    keys = [letter * 32 for letter in "abc"]
    first = cache.fetch(keys[0], FIELDS, ROWS, filled)
    for age, key in ((300, keys[0]), (200, keys[1])):
        cache.fetch(key, FIELDS, ROWS, filled)
        os.utime(tmp_path / f"{key}.arrow", (time.time() - age,) * 2)
    cache.fetch(keys[0], FIELDS, ROWS, never)  # used now
    cache.fetch(keys[2], FIELDS, ROWS, filled)
    assert sorted(path.stem for path in tmp_path.glob("*.arrow")) == [keys[0], keys[2]]
    cache.fetch(keys[1], FIELDS, ROWS, filled)
    assert right(first)


def test_what_fails_while_it_is_made_leaves_nothing(tmp_path: Path):
    def fails(arrays: dict[str, Values], done: Callable[[], None]) -> None:
        raise ValueError("of the reader")

    with pytest.raises(ValueError, match="of the reader"):
        Cache(str(tmp_path), 10 * BYTES).fetch("a" * 32, FIELDS, ROWS, fails)
    assert not [path for path in tmp_path.iterdir() if not path.name.startswith("lock-")]


@pytest.mark.parametrize("damage", ["empty", "half", "zeros", "other rows"])
def test_a_file_that_cannot_be_read_is_made_anew(tmp_path: Path, damage: str):
    cache, path = Cache(str(tmp_path), 10 * BYTES), tmp_path / f"{'a' * 32}.arrow"
    cache.fetch("a" * 32, FIELDS, ROWS, filled)
    whole = path.read_bytes()
    if damage == "other rows":
        path.unlink()
        Cache(str(tmp_path), 10 * BYTES).fetch("a" * 32, FIELDS, ROWS // 2, filled)
    else:
        path.write_bytes({"empty": b"", "half": whole[: len(whole) // 2], "zeros": bytes(len(whole))}[damage])
    assert right(cache.fetch("a" * 32, FIELDS, ROWS, filled))
    assert right(cache.fetch("a" * 32, FIELDS, ROWS, never))


def test_what_is_in_use_is_not_evicted_and_where_no_room_is_left_it_is_said(tmp_path: Path):
    cache = Cache(str(tmp_path), 5 * BYTES // 2)
    first, second = (cache.fetch(letter * 32, FIELDS, ROWS, filled) for letter in "ab")
    with pytest.raises(WorkFailed, match="are in use, and"):
        cache.fetch("c" * 32, FIELDS, ROWS, never)
    assert right(first)
    del second
    assert right(cache.fetch("c" * 32, FIELDS, ROWS, filled))
    assert sorted(path.stem[0] for path in tmp_path.glob("*.arrow")) == ["a", "c"]


def test_many_fields_with_long_names_are_kept_too(tmp_path: Path):
    fields = [
        Field(f"array {'waveform' * 4}-{number}", (f"w{number}",), "uint8", 5, array=True) for number in range(80)
    ]
    cache = Cache(str(tmp_path), 2**30)
    cache.fetch("a" * 32, fields, ROWS, filled)
    assert right(cache.fetch("a" * 32, fields, ROWS, never))


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path):
    (tmp_path / "file").write_text("")
    for place in ("file", "file/below"):
        with pytest.raises(MachineError, match="the cache cannot be written"):
            Cache(str(tmp_path / place), 10 * BYTES).fetch("a" * 32, FIELDS, ROWS, never)


def test_rows_that_the_cache_cannot_hold_are_refused(tmp_path: Path):
    with pytest.raises(WorkFailed, match="the cache may hold"):
        Cache(str(tmp_path), BYTES // 2).fetch("a" * 32, FIELDS, ROWS, filled)


def test_a_full_disk_is_said_before_anything_is_mapped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(WorkFailed, match="disk of the cache is full"):
        Cache(str(tmp_path), 10 * BYTES).fetch("a" * 32, FIELDS, ROWS, never)
    assert not list(tmp_path.glob("*.partial"))


def test_leftovers_of_the_killed_are_swept_and_replaced(tmp_path: Path):
    old, own = tmp_path / f"{'b' * 32}.partial", tmp_path / f"{'a' * 32}.partial"
    for path in (old, own):
        path.write_bytes(b"half")
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    assert right(Cache(str(tmp_path), 10 * BYTES).fetch("a" * 32, FIELDS, ROWS, filled))
    assert not list(tmp_path.glob("*.partial"))


MAKE = """
import sys, time
from pathlib import Path
sys.path.insert(0, {tests!r})
from test_cache import FIELDS, ROWS, Cache, filled, right

def make(arrays, done):
    with open({log!r}, "a") as log:
        log.write("made\\n")
    time.sleep(0.5)
    filled(arrays, done)

assert right(Cache({folder!r}, 10**8).fetch("a" * 32, FIELDS, ROWS, make))
"""


def test_of_two_processes_one_makes_it_and_the_other_waits(tmp_path: Path):
    code = MAKE.format(tests=str(Path(__file__).parent), log=str(tmp_path / "log"), folder=str(tmp_path / "cache"))
    both = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [one.wait() for one in both] == [0, 0]
    assert (tmp_path / "log").read_text() == "made\n"


PAGES = """
import sys, psutil
sys.path.insert(0, {tests!r})
from test_cache import Cache, numbers

rows, process = 2_000_000, psutil.Process()

def pss():
    return process.memory_full_info().pss // 2**20

def fill(arrays, done):
    for first in range(0, rows, 100_000):
        arrays["x"][first : first + 100_000] = first
        done()

before = pss()
found = Cache({folder!r}, 10**9).fetch("a" * 32, [numbers("x", ["a", "b", "c", "d"])], rows, fill)
filled = pss() - before
assert found.arrays["x"].max() == rows - 100_000
used = pss() - before
found.release()
print(filled, used, pss() - before)
"""


def test_pages_handed_back_are_no_memory_of_the_process(tmp_path: Path):
    code = PAGES.format(tests=str(Path(__file__).parent), folder=str(tmp_path))
    told = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    filled, used, released = map(int, told.split())
    assert filled < 10 and used > 25 and released < 10, told
