"""A PostgreSQL server of its own for a test, from the distribution's packages."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

USER, PASSWORD = "plant", "a password of a test"


@dataclass(frozen=True)
class Postgres:
    """A running server."""

    programs: Path
    folder: Path
    port: int

    @property
    def url(self) -> str:
        return f"jdbc:postgresql://127.0.0.1:{self.port}/postgres"

    def run(self, sql: str) -> None:
        """Runs statements as the server's owner."""
        command = [str(self.programs / "psql"), "-X", "-q", "-v", "ON_ERROR_STOP=1"]
        command += ["-h", str(self.folder), "-p", str(self.port), "-U", USER, "-d", "postgres", "-c", sql]
        subprocess.run(command, check=True, env=os.environ | {"PGPASSWORD": PASSWORD}, timeout=60)


def _programs() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if found:
        return found[-1].parent
    on_path = shutil.which("initdb")
    if on_path is None:
        pytest.skip("PostgreSQL is not installed: on Debian `apt install postgresql`")
    return Path(on_path).parent


@contextmanager
def server(folder: Path) -> Iterator[Postgres]:
    """A server below the folder, which must be readable for the user who runs it; as root that is `postgres`."""
    programs = _programs()
    user = "postgres" if os.getuid() == 0 else None
    data, secret = folder / "data", folder / "secret"
    secret.write_text(PASSWORD)
    if user:
        shutil.chown(folder, user)
        shutil.chown(secret, user)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    login = ["-U", USER, "--auth=scram-sha-256", f"--pwfile={secret}"]
    made = [str(programs / "initdb"), "-D", str(data), "-E", "UTF8", "--locale=C", *login]
    subprocess.run(made, check=True, capture_output=True, user=user, timeout=120, cwd=folder)
    options = f"-h 127.0.0.1 -p {port} -k {folder}"
    control = [str(programs / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log")]
    subprocess.run([*control, "-o", options, "start"], check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder)
    try:
        yield Postgres(programs, folder, port)
    finally:
        subprocess.run([*control, "-m", "fast", "stop"], check=True, stdout=subprocess.DEVNULL, user=user, cwd=folder)
