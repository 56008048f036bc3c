"""Alarms reach a webhook and Prometheus; what cannot be sent fails nothing and gives nothing away."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from datetime import date, timedelta
from http.client import BadStatusLine
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from nightmill.lake.lease import Lease
from nightmill.lake.run import Step
from nightmill.lake.tables import Lake
from nightmill.monitor import tell
from nightmill.monitor.alarms import Alarm, Figure
from nightmill.monitor.stage import Monitored
from nightmill.web import request

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


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """One alarm was raised in the night, another stayed."""
    lake = Lake.open(str(tmp_path))
    row = {"kind": "error", "value": 2.0, "limit": 1.5, "what": FIGURE.what, "since": NIGHT, "calm": 0, "day": NIGHT}
    row |= {"subject": "city/traffic", "slice": FIGURE.slice}
    _step(lake).alarms([row | {"state": "raised"}, row | {"state": "stays", "kind": "drift"}])
    return lake


def _step(lake: Lake) -> Step:
    return Step(lake, "run-1", "nightly", "nightly", Lease(lake, "nightly", "run-1", timedelta(minutes=1)))


def test_new_and_ended_alarms_are_posted_and_tried_again(
    lake: Lake, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, posted, answers = server
    assert not tell.to_webhook(lake, "run-1", NIGHT), "nobody wants to know"
    monkeypatch.setenv(tell.WEBHOOK, address)
    monkeypatch.setattr(tell.time, "sleep", lambda _: None)
    answers += [503]
    assert tell.to_webhook(lake, "run-1", NIGHT)
    assert len(posted) == 2 and posted[1]["night"] == "2026-03-02" and posted[1]["run"] == "run-1"
    assert [alarm["slice"] for alarm in posted[1]["alarms"]] == ['road="7"'] and "2 is usual" in posted[1]["text"]
    _step(lake).event(tell.POSTED)
    assert not tell.to_webhook(lake, "run-2", NIGHT), "nobody is called twice"


def test_what_could_not_be_posted_in_a_night_is_posted_with_the_next(
    lake: Lake, server: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    address, posted, answers = server
    monkeypatch.setenv(tell.WEBHOOK, address)
    monkeypatch.setattr(tell.time, "sleep", lambda _: None)
    _step(lake).event(tell.POSTED)
    for night in (NIGHT + timedelta(days=1), NIGHT + timedelta(days=2)):
        row = {"kind": "late", "value": 2.0, "limit": 1.5, "what": "x", "since": night, "calm": 0, "day": night}
        _step(lake).alarms([row | {"subject": "data/town/x", "slice": "", "state": "raised"}])
    answers += [500] * tell.ATTEMPTS
    assert not tell.to_webhook(lake, "run-2", NIGHT + timedelta(days=1))
    assert tell.to_webhook(lake, "run-3", NIGHT + timedelta(days=2))
    assert [alarm["since"] for alarm in posted[-1]["alarms"]] == ["2026-03-03", "2026-03-04"]


def test_the_login_of_an_address_is_sent_as_servers_expect_it() -> None:
    asked = request("https://bot:pa%3Ass@chat.example:8443/hook?x=1", b"{}")
    assert asked.full_url == "https://chat.example:8443/hook?x=1"
    assert asked.get_header("Authorization") == "Basic Ym90OnBhOnNz" and asked.get_method() == "POST"
    assert request("http://h/x").get_header("Authorization") is None


@pytest.mark.parametrize("wrong", ["", "file:///etc/passwd", "http://localhost:abc/secret", "http://ho st/secret"])
def test_what_cannot_be_sent_is_logged_without_the_address_and_sent_by_the_next_run(
    lake: Lake, server: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    address, posted, answers = server
    monkeypatch.setattr(tell.time, "sleep", lambda _: None)
    answers += [500] * (0 if wrong else tell.ATTEMPTS)
    monkeypatch.setenv(tell.WEBHOOK, wrong or address)
    with caplog.at_level(logging.WARNING):
        assert not tell.to_webhook(lake, "run-1", NIGHT)
    assert len(caplog.records) == 1 and "secret" not in caplog.text and "passwd" not in caplog.text
    monkeypatch.setenv(tell.WEBHOOK, address)
    assert tell.to_webhook(lake, "run-2", NIGHT) and posted[-1]["alarms"]


def test_a_server_that_speaks_no_http_fails_nothing(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    def nonsense(*_: Any, **__: Any) -> None:
        raise BadStatusLine("220 smtp.example ready")

    monkeypatch.setenv(tell.WEBHOOK, "http://127.0.0.1:25/")
    monkeypatch.setattr(tell.time, "sleep", lambda _: None)
    monkeypatch.setattr(tell.urllib.request, "urlopen", nonsense)
    assert not tell.to_webhook(lake, "run-1", NIGHT)


def test_figures_and_alarms_are_written_for_prometheus(tmp_path: Path) -> None:
    path = tmp_path / "metrics" / "nightmill.prom"
    tell.to_prometheus(path, 12.5, ["score city/traffic"], _monitored())
    lines = path.read_text().splitlines()
    name = ['subject="city/traffic"', 'kind="error"', 'slice="road=\\"7\\""']
    (value,) = (line for line in lines if line.startswith("nightmill_figure{") and all(part in line for part in name))
    assert value.endswith(" 2.0")
    assert any(line.startswith("nightmill_alarm{") and line.endswith(" 1.0") for line in lines)
    assert "nightmill_night_failed 1.0" in lines and "nightmill_night_seconds 12.5" in lines
