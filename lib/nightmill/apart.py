"""Training in a process of its own: Spark's memory and Ray's stay apart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

from nightmill.commands import Work
from nightmill.errors import NightmillError, WorkFailed
from nightmill.lake.run import RUN
from nightmill.logs import FORM, as_json

LEASH = "NIGHTMILL_LEASH"
"""Environment variable of a process that is to end when its input does."""
LOOK_EVERY = 0.25
"""Seconds between looks at the process."""
GRACE = 60.0
"""Seconds that a training which is stopped has to write its checkpoint."""


def train_apart(
    work: Work,
    use_cases: Sequence[str],
    seconds_left: Callable[[], float | None],
    stopped: threading.Event,
) -> dict[str, int | NightmillError]:
    """Trains in one worker group; use case -> version of the candidate, or what stopped it.

    When no seconds are left, or `stopped` is set, the training is stopped: another one goes on from its checkpoint. The
    process ends with this one, however this one ends.
    """
    command = [sys.executable, "-m", "nightmill", "train", *use_cases, "--json"]
    command += ["--lake", work.lake.root, *work.configuration.arguments()]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {RUN: work.run_id, LEASH: "1", FORM: "json" if as_json() else "text"},
    )
    answer: list[str] = []
    reader = threading.Thread(target=lambda: answer.append(process.stdout.read()), daemon=True)  # type: ignore[union-attr]
    reader.start()
    threading.Thread(target=_pass_on, args=(process,), daemon=True).start()
    while process.poll() is None and not stopped.wait(LOOK_EVERY) and seconds_left() != 0:
        pass
    if process.poll() is None:
        _stop(process)
        late = WorkFailed(
            "training was stopped before it had ended",
            where="night.budget in the environment",
            fix="nothing: the next night goes on from its checkpoint; give the night more time if this repeats",
        )
        return dict.fromkeys(use_cases, late)
    reader.join()
    return _understood(answer[0], use_cases, process.returncode)


def _pass_on(process: subprocess.Popen[str]) -> None:
    """What the process says is said here."""
    for line in process.stderr or ():
        print(line, end="", file=sys.stderr, flush=True)


def _stop(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _understood(told: str, use_cases: Sequence[str], code: int) -> dict[str, int | NightmillError]:
    try:
        answer: dict[str, Any] = json.loads(told)
    except ValueError:
        answer = {"results": {}, "failures": {}}
    found: dict[str, int | NightmillError] = {}
    everything = answer["failures"].get("command")
    for name in use_cases:
        failure = answer["failures"].get(name, everything)
        if name in answer["results"]:
            found[name] = int(answer["results"][name]["version"])
        elif failure is not None:
            found[name] = _error(failure)
        else:
            found[name] = WorkFailed(f"the training process ended with code {code}", fix="look at memory and disk")
    return found


def _error(failure: dict[str, str]) -> NightmillError:
    kinds = {kind.__name__: kind for kind in _all_kinds(NightmillError)}
    kind = kinds.get(failure["error"], NightmillError)
    return kind(failure["what"], where=failure["where"], fix=failure["fix"])


def _all_kinds(kind: type[NightmillError]) -> list[type[NightmillError]]:
    return [kind, *(deeper for one in kind.__subclasses__() for deeper in _all_kinds(one))]


def on_a_leash() -> None:
    """In a process that was started so: ends it when its parent ended, which its input tells."""
    if os.environ.pop(LEASH, None) is None:
        return

    def watch() -> None:
        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="leash", daemon=True).start()
