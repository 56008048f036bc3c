"""Where figures and alarms go beside the ops tables: a webhook, and a file for Prometheus."""

from __future__ import annotations

import json
import logging
import os
import time
import urllib.request
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from nightmill.monitor.stage import Monitored, said

log = logging.getLogger(__name__)

WEBHOOK = "NIGHTMILL_WEBHOOK"
"""Environment variable with the address that receives alarms: such addresses hold secrets."""
ATTEMPTS, PATIENCE = 3, 10.0
"""How often sending is tried, and seconds that each answer may take."""


def to_webhook(run_id: str, monitored: Iterable[Monitored]) -> bool:
    """Posts the alarms that began or ended as JSON; returns whether something was sent.

    `text` says them in words, as chat systems show it. What cannot be sent is logged and fails nothing.
    """
    address = os.environ.get(WEBHOOK, "")
    told = [(m, alarm) for m in monitored for alarm in m.news]
    if not address or not told:
        return False
    if urlsplit(address).scheme not in ("http", "https"):
        log.warning("alarms were not sent: %s is no http address", WEBHOOK)
        return False
    lines = [f"{'alarm' if alarm.state == 'raised' else 'over'}: {said(alarm)}" for _, alarm in told]
    body = {
        "text": "\n".join(lines),
        "night": str(told[0][0].night),
        "run": run_id,
        "alarms": [_plain(alarm) for _, alarm in told],
    }
    return _posted(address, json.dumps(body).encode())


def _posted(address: str, body: bytes) -> bool:
    request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
    for attempt in range(ATTEMPTS):
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE):
                return True
        except OSError as error:
            if attempt == ATTEMPTS - 1:
                # never the address itself, which may hold a secret
                log.warning("alarms could not be sent to %s: %s", urlsplit(address).hostname, error)
            else:
                time.sleep(2**attempt)
    return False


def _plain(alarm: Any) -> dict[str, Any]:
    figure = alarm.figure
    kept = {name: getattr(figure, name) for name in ("subject", "kind", "slice", "value", "limit", "what")}
    return kept | {"state": alarm.state, "since": str(alarm.since)}


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
