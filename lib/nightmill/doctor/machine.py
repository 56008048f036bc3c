"""Processors, memory, temporary files and the loopback network, as far as this process may use them."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from pathlib import Path

import psutil

from nightmill.doctor.check import Check, State

GIB = 1 << 30
ENOUGH_MEMORY, LEAST_MEMORY = 4 * GIB, 2 * GIB
ENOUGH_DISK, LEAST_DISK = 5 * GIB, 1 * GIB
ENOUGH_SHARED = 256 << 20
SHARED = Path("/dev/shm")
CGROUPS = Path("/sys/fs/cgroup")
_HOSTS_FIX = "add `127.0.1.1 {host}` to /etc/hosts, or set SPARK_LOCAL_IP=127.0.0.1"


def processors() -> Check:
    """How many processors this process may use."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if count < 2:
        return Check("processors", "warn", "1", "two training workers will share it; set train.workers: 0")
    return Check("processors", "ok", str(count))


def memory(cgroups: Path = CGROUPS) -> Check:
    """Memory that is free for this process: the machine's, or less where a control group (a container) limits it."""
    free, limit = psutil.virtual_memory().available, container_memory(cgroups)
    where = "" if limit is None or limit >= free else " within the container's limit"
    free = min(free, limit) if limit is not None else free
    found = f"{_gib(free)} available{where}"
    return _enough("memory", free, ENOUGH_MEMORY, LEAST_MEMORY, found, "end other programs, or give the container more")


def container_memory(cgroups: Path = CGROUPS, own: Path = Path("/proc/self/cgroup")) -> int | None:
    """Bytes that the control groups of this process (version 1 or 2) still allow it; None without a limit."""
    if not own.is_file():
        return None
    left = []
    for line in own.read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            left += _left(cgroups, path, "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            left += _left(cgroups / "memory", path, *names)
    return min(left) if left else None


def _left(root: Path, path: str, limit_file: str, used_file: str, reclaimable: str) -> list[int]:
    """What each group from the process's own up to the root still allows."""
    group, left = root / path.strip("/"), []
    for folder in (group, *group.parents):
        try:
            limit, used = int((folder / limit_file).read_text()), int((folder / used_file).read_text())
            lines = (line.split() for line in (folder / "memory.stat").read_text().splitlines())
            left.append(limit - used + next((int(value) for key, value in lines if key == reclaimable), 0))
        except (OSError, ValueError):
            pass  # "max", or a container in which the group's own folder is the root
        if folder == root:
            break
    return left


def shared_memory(folder: Path = SHARED) -> Check:
    """Space for Ray's object store."""
    if not folder.is_dir():
        return Check("shared memory", "ok", f"no {folder} on this system; Ray uses temporary files")
    free = shutil.disk_usage(folder).free
    fix = "Ray falls back to slow files; give the container more, as in docker run --shm-size=1g"
    state: State = "ok" if free >= ENOUGH_SHARED else "warn"
    return Check("shared memory", state, f"{_gib(free)} in {folder}", "" if state == "ok" else fix)


def temporary_files() -> Check:
    """Space where Spark spills, Ray logs and the hand-off maps what exceeds memory."""
    folder = tempfile.gettempdir()
    with tempfile.TemporaryFile(dir=folder) as file:
        file.write(b"x")
    return disk("temporary files", Path(folder), "free space, or set TMPDIR to a roomier folder")


def disk(name: str, folder: Path, fix: str) -> Check:
    """Whether the disk under a folder has room for a night of the demo's size."""
    free = shutil.disk_usage(folder).free
    return _enough(name, free, ENOUGH_DISK, LEAST_DISK, f"{_gib(free)} free in {folder}", fix)


def loopback_ports() -> Check:
    """Whether processes of this machine can reach each other over 127.0.0.1, as Spark, Ray and gloo do."""
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            server.settimeout(5)
            with socket.create_connection(server.getsockname(), timeout=5):
                server.accept()[0].close()
    except OSError as error:
        fix = "let the firewall or the sandbox allow TCP on 127.0.0.1, and bring the interface lo up"
        return Check("loopback ports", "fail", f"127.0.0.1 cannot be used: {error}", fix)
    return Check("loopback ports", "ok", "can be bound and reached")


def host_name() -> Check:
    """Whether the host's name leads back to this machine; Java refuses to start a Spark session without it."""
    host = socket.gethostname()
    if chosen := os.environ.get("SPARK_LOCAL_IP"):
        return Check("host name", "ok", f"{host}; SPARK_LOCAL_IP is {chosen}")
    try:
        address = socket.gethostbyname(host)
    except OSError:
        return Check("host name", "fail", f"{host} has no address", _HOSTS_FIX.format(host=host))
    own = {entry.address for entries in psutil.net_if_addrs().values() for entry in entries}
    if address not in own and not address.startswith("127."):
        found = f"{host} leads to {address}, which is not this machine"
        return Check("host name", "warn", found, _HOSTS_FIX.format(host=host))
    return Check("host name", "ok", f"{host} is {address}")


def _enough(name: str, free: int, enough: int, least: int, found: str, fix: str) -> Check:
    if free >= enough:
        return Check(name, "ok", found)
    return Check(name, "warn" if free >= least else "fail", f"{found}; {_gib(enough)} are needed", fix)


def _gib(size: int) -> str:
    return f"{size / GIB:.1f} GiB"
