"""Lines for people on a terminal, JSON lines elsewhere, and no secret in any."""

from __future__ import annotations

import json
import logging

import pytest

from nightmill import logs
from nightmill.errors import DataRefused


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    """Logging in a form, and what was written."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level

    def speak(form: str) -> None:
        monkeypatch.setenv(logs.FORM, form)
        logs.speak(debug=False)

    yield speak, lambda: capsys.readouterr().err
    root.handlers[:] = handlers
    root.setLevel(level)
    logs.speak_of("")


def test_a_line_for_machines_is_json_with_the_run(said) -> None:
    speak, written = said
    speak("json")
    logs.speak_of("20260301T021500Z-nightly-a1b2c3")
    logging.getLogger("nightmill.clean").info("%d records\nof two lines", 3)
    logs.complain(DataRefused("too few", where="a.csv", fix="drop it again"), "data/city/air", "unused")
    line, error = (json.loads(text) for text in written().splitlines())
    assert line.pop("at").endswith("+00:00")
    assert line == {
        "level": "info",
        "run": "20260301T021500Z-nightly-a1b2c3",
        "logger": "nightmill.clean",
        "message": "3 records\nof two lines",
    }
    assert (error["level"], error["error"], error["subject"]) == ("error", "DataRefused", "data/city/air")
    assert (error["message"], error["where"], error["fix"]) == ("too few", "a.csv", "drop it again")


def test_a_line_for_people_is_text(said) -> None:
    speak, written = said
    speak("text")
    logging.getLogger("nightmill.clean").info("clean data/city/air")
    logs.complain(DataRefused("too few"), "data/city/air", "data/city/air: too few")
    first, second = written().splitlines()
    assert first.endswith(" clean data/city/air") and second == "nightmill: data/city/air: too few"


def test_off_a_terminal_lines_are_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(logs.FORM)
    assert logs.as_json()


@pytest.mark.parametrize("form", ["text", "json"])
def test_secrets_become_stars(said, monkeypatch: pytest.MonkeyPatch, form: str) -> None:
    speak, written = said
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv("NIGHTMILL_WEBHOOK", "https://hooks.example/T0/B1")
    speak(form)
    log = logging.getLogger("nightmill.ingest")
    log.warning("jdbc:postgresql://reader:hunter22@db/city with wJalrXUtnFEMI")
    log.warning("https://a/b?day=1&api_token=abcdef&x=2 and https://hooks.example/T0/B1")
    try:
        raise ValueError("https://user:hunter22@host failed")
    except ValueError:
        log.exception("it failed")
    text = written()
    for secret in ("hunter22", "wJalrXUtnFEMI", "abcdef", "T0/B1"):
        assert secret not in text
    assert "***@db/city" in text and "x=2" in text


@pytest.mark.parametrize(
    ("name", "text", "stars"),
    [
        ("AZURE_STORAGE_ACCOUNT_KEY", "with Geheim1", "with ***"),
        ("DB_PASS", "with Geheim1", "with ***"),
        ("DB_PASSPHRASE", "with Geheim1", "with ***"),
        ("SERVICE_APIKEY", "with Geheim1", "with ***"),
        ("COMPASS_PORT", "at Geheim1", "at Geheim1"),
        ("MYSQL_PWD", "with Geheim1", "with ***"),
        ("SIGNING_KEY", "with Geheim1", "with ***"),
        ("HOME_TOWN", "in Geheim1", "in Geheim1"),
        ("", "s3://u:p/w@h/x", "s3://***@h/x"),
        ("", "jdbc:sqlserver://h;user=sa;password=Geheim1;x=1", "jdbc:sqlserver://h;user=sa;password=***;x=1"),
        ("", "jdbc:oracle:thin:scott/tiger@host", "jdbc:oracle:thin:***@host"),
        ("", "s3://bucket/path/file.csv of a@b", "s3://bucket/path/file.csv of a@b"),
    ],
)
def test_what_is_a_secret(monkeypatch: pytest.MonkeyPatch, name: str, text: str, stars: str) -> None:
    if name:
        monkeypatch.setenv(name, "Geheim1")
    assert logs.without_secrets(text) == stars


def test_a_command_that_is_stopped_and_a_trace_say_so_in_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(logs.FORM, "json")
    logs.stopped()
    logs.trace(ValueError("https://user:hunter22@host failed"))
    stopped, trace = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert "takes it up again" in stopped["message"]
    assert trace["trace"].startswith("ValueError: https://***@host failed")
