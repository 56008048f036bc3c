"""Where figures and alarms go beside the ops tables: a webhook, and a file for Prometheus."""

from __future__ import annotations

import json
import logging
import os
import time
import urllib.request
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from http.client import HTTPException
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nightmill.lake.ops import events
from nightmill.lake.tables import Lake
from nightmill.monitor.alarms import in_words
from nightmill.monitor.stage import Monitored
from nightmill.web import request

log = logging.getLogger(__name__)

WEBHOOK = "NIGHTMILL_WEBHOOK"
"""Environment variable with the address that receives alarms: such addresses hold secrets."""
POSTED = "posted alarms"
"""The event of ops.runs that says that all alarms up to its time were posted."""
ATTEMPTS, PATIENCE = 3, 10.0
"""How often sending is tried, and seconds that each answer may take."""


def to_webhook(lake: Lake, run_id: str, night: date) -> bool:
    """Posts as JSON the alarms that began or ended and were not posted yet; returns whether that was done.

    `text` says them in words, as chat systems show it. What cannot be sent is logged, fails nothing, and is sent with
    the next night; where nothing was ever posted these are the night's alone.
    """
    address = os.environ.get(WEBHOOK, "")
    if not address:
        return False
    before = max((row["at"] for row in events(lake, "runs", event=POSTED)), default=None)
    told = events(lake, "alarms") if before else events(lake, "alarms", day=night)
    rows = [row for row in told if row["state"] != "stays" and (before is None or row["at"] > before)]
    if not rows:
        return False
    lines = [f"{'over' if row['state'] == 'cleared' else 'alarm'}: {in_words(row)}" for row in rows]
    body = {"text": "\n".join(lines), "night": str(night), "run": run_id, "alarms": [_plain(row) for row in rows]}
    return _posted(address, json.dumps(body).encode())


def _posted(address: str, body: bytes) -> bool:
    try:
        asked = request(address, body)
    except ValueError:
        log.warning("alarms were not sent: %s is no http address", WEBHOOK)
        return False
    for attempt in range(ATTEMPTS):
        try:
            with urllib.request.urlopen(asked, timeout=PATIENCE):
                return True
        except (OSError, HTTPException, ValueError) as error:  # what addresses and servers get wrong
            if attempt == ATTEMPTS - 1:
                # never the address itself, which may hold a secret
                log.warning("alarms could not be sent to %s: %s", _host(address), type(error).__name__)
            else:
                time.sleep(2**attempt)
    return False


def _host(address: str) -> str:
    try:
        return urlsplit(address).hostname or WEBHOOK
    except ValueError:
        return WEBHOOK


def _plain(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("subject", "kind", "slice", "value", "limit", "what", "state")
    return {name: row[name] for name in names} | {"since": str(row["since"])}


def to_prometheus(path: Path, seconds: float, failed: Sequence[str], monitored: Iterable[Monitored]) -> None:
    """Writes the night's figures in Prometheus' text format, as its node exporter collects them from files."""
    from prometheus_client import CollectorRegistry, Gauge, write_to_textfile

    registry = CollectorRegistry()
    names = ("subject", "kind", "slice")
    value = Gauge("nightmill_figure", "A figure of the last night", names, registry=registry)
    limit = Gauge("nightmill_figure_limit", "What the figure may be at most", names, registry=registry)
    alarm = Gauge("nightmill_alarm", "1 where an alarm is up", names, registry=registry)
    Gauge("nightmill_night_seconds", "How long the last night took", registry=registry).set(seconds)
    Gauge("nightmill_night_failed", "Stages that failed in the last night", registry=registry).set(len(failed))
    Gauge("nightmill_night_ended", "When the last night ended", registry=registry).set_to_current_time()
    for one in monitored:
        up = {a.figure.name for a in one.alarms if a.state != "cleared"}
        for figure in one.figures:
            value.labels(*figure.name).set(figure.value)
            limit.labels(*figure.name).set(figure.limit)
        for name in {figure.name for figure in one.figures} | up:
            alarm.labels(*name).set(float(name in up))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_to_textfile(str(path), registry)
