"""What the suite says while it works: lines for people on a terminal, JSON lines for machines elsewhere.

Secrets that a URI or the environment holds never get into a line.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import traceback
from datetime import UTC, datetime
from typing import TextIO

from nightmill.errors import NightmillError

FORM = "NIGHTMILL_LOG"
"""Environment variable: text or json; without it text on a terminal and json elsewhere."""
_SECRET = re.compile(
    r"SECRET|PASSW|PASSPHRASE|(^|_)PASS(_|$)|_PWD$|TOKEN|CREDENTIAL|API_?KEY|(^|_)KEY(_|$)|PRIVATE|WEBHOOK",
    re.IGNORECASE,
)
_LEAST = 6
"""Shorter values of the environment are words that may stand anywhere."""
_NAMED = r"[\w.-]*(?:token|key|secret|password|passwd|pwd|signature|sig)"
_IN_URI = (
    (re.compile(r"(?<=://)[^/@:\s]+:[^@\s]+@"), "***@"),  # a password may have slashes
    (re.compile(r"(?<=://)[^/@\s]+@"), "***@"),
    (re.compile(r"(?i)(?<=jdbc:oracle:thin:)[^@\s]+@"), "***@"),
    (re.compile(rf"(?i)([?&;]{_NAMED}=)[^&;\s]+"), r"\1***"),
)

_run = ""


def speak(debug: bool) -> None:
    """Sets up logging: Nightmill's own from INFO on; of libraries, whose errors are raised, warnings with `debug`."""
    handler = _ToStderr()
    handler.setFormatter(_Json() if as_json() else _Text("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(handlers=[handler], level=logging.WARNING if debug else logging.CRITICAL, force=True)
    logging.getLogger("nightmill").setLevel(logging.INFO)


def speak_of(run_id: str) -> None:
    """Puts the run's id into each line from here on."""
    global _run
    _run = run_id


def as_json() -> bool:
    """Whether lines are for machines."""
    return os.environ.get(FORM, "text" if sys.stderr.isatty() else "json") == "json"


def complain(error: NightmillError, subject: str, told: str) -> None:
    """Says what stopped a command, or one of its targets; `told` is how people read it."""
    if not as_json():
        print(f"nightmill: {without_secrets(told)}", file=sys.stderr)
        return
    more = {"error": type(error).__name__, "subject": subject, "where": error.where, "fix": error.fix}
    print(_line("error", "nightmill", error.what, more), file=sys.stderr, flush=True)


def stopped() -> None:
    """Says that the command was stopped from outside."""
    what = "stopped; the same command takes it up again"
    print(_line("warning", "nightmill", what, {}) if as_json() else f"nightmill: {what}", file=sys.stderr, flush=True)


def trace(error: BaseException) -> None:
    """Shows where an error came from."""
    text = without_secrets("".join(traceback.format_exception(error)))
    said = _line("error", "nightmill", str(error), {"trace": text}) if as_json() else text
    print(said, file=sys.stderr, flush=True)


def without_secrets(text: str) -> str:
    """The text with stars in place of passwords and keys: those of URIs, and values of the environment's secrets."""
    for pattern, stars in _IN_URI:
        text = pattern.sub(stars, text)
    for name, value in os.environ.items():
        if len(value) >= _LEAST and _SECRET.search(name) and value in text:
            text = text.replace(value, "***")
    return text


class _ToStderr(logging.StreamHandler[TextIO]):
    """Writes to what standard error is now: progress on a terminal takes its place for a time."""

    def emit(self, record: logging.LogRecord) -> None:
        self.stream = sys.stderr
        super().emit(record)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return without_secrets(super().format(record))


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        trace = "".join(traceback.format_exception(*record.exc_info)) if record.exc_info else ""
        more = {"trace": trace} if trace else {}
        return _line(record.levelname.lower(), record.name, record.getMessage(), more)


def _line(level: str, logger: str, message: str, more: dict[str, str]) -> str:
    fields = {"at": datetime.now(UTC).isoformat(timespec="milliseconds"), "level": level, "run": _run}
    fields |= {"logger": logger, "message": message, **more}
    return json.dumps({name: without_secrets(value) for name, value in fields.items() if value}, ensure_ascii=False)
