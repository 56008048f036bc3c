"""Alarms reach a webhook and Prometheus; what cannot be sent fails nothing and gives nothing away."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import date
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from nightmill.monitor import tell
from nightmill.monitor.alarms import Alarm, Figure
from nightmill.monitor.stage import Monitored

NIGHT = date(2026, 3, 2)
FIGURE = Figure("city/traffic", "error", 'road="7"', 2.0, 1.5, "mean absolute error 4 on 2026-03-01, 2 is usual")


def _monitored(state: Any = "raised") -> list[Monitored]:
    alarms = [Alarm(FIGURE, state, NIGHT)]
    return [Monitored("city/traffic", NIGHT, [], [FIGURE], alarms, alarms if state != "stays" else [])]


@pytest.fixture
def server() -> Iterator[tuple[str, list[Any], list[int]]]:
    """Address, what was posted there, and the answers to give: 200 where none is left."""
    posted: list[Any] = []
    answers: list[int] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            posted.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(answers.pop(0) if answers else 200)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    found = HTTPServer(("127.0.0.1", 0), Handler)
    Thread(target=found.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{found.server_port}/secret", posted, answers
    found.shutdown()


def test_new_and_ended_alarms_are_posted_and_tried_again(server: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    address, posted, answers = server
    monkeypatch.setenv(tell.WEBHOOK, address)
    monkeypatch.setattr(tell.time, "sleep", lambda _: None)
    answers += [503]
    assert tell.to_webhook("run-1", _monitored())
    assert len(posted) == 2 and posted[1]["night"] == "2026-03-02" and posted[1]["run"] == "run-1"
    assert posted[1]["alarms"][0]["slice"] == 'road="7"' and "2 is usual" in posted[1]["text"]
    assert not tell.to_webhook("run-2", _monitored("stays")), "nobody is called twice"


def test_what_cannot_be_sent_is_logged_without_the_address(
    server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    address, _, answers = server
    monkeypatch.setattr(tell.time, "sleep", lambda _: None)
    answers += [500] * tell.ATTEMPTS
    for wrong in (address, "file:///etc/passwd"):
        monkeypatch.setenv(tell.WEBHOOK, wrong)
        with caplog.at_level(logging.WARNING):
            assert not tell.to_webhook("run-1", _monitored())
    assert len(caplog.records) == 2 and "secret" not in caplog.text and "passwd" not in caplog.text


def test_figures_and_alarms_are_written_for_prometheus(tmp_path: Path) -> None:
    path = tmp_path / "metrics" / "nightmill.prom"
    tell.to_prometheus(path, 12.5, ["score city/traffic"], _monitored())
    lines = path.read_text().splitlines()
    name = ['subject="city/traffic"', 'kind="error"', 'slice="road=\\"7\\""']
    (value,) = (line for line in lines if line.startswith("nightmill_figure{") and all(part in line for part in name))
    assert value.endswith(" 2.0")
    assert any(line.startswith("nightmill_alarm{") and line.endswith(" 1.0") for line in lines)
    assert "nightmill_night_failed 1.0" in lines and "nightmill_night_seconds 12.5" in lines
