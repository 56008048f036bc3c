"""The demo: three nights of a small city and plant, and what goes wrong in the last one is named."""

from __future__ import annotations

import csv
import io
import re
from datetime import timedelta
from pathlib import Path

import pytest
from rich.console import Console

from nightmill import demo
from nightmill.config import Configuration
from nightmill.lake.ops import events
from nightmill.lake.tables import Lake

LAST = demo.START + timedelta(days=demo.DAYS - 1)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.usefixtures("spark")
def test_what_goes_wrong_in_the_last_night_is_named_by_alarms_and_on_the_reports_first_screen(tmp_path: Path) -> None:
    told = io.StringIO()
    configuration = Configuration.load(raw=str(tmp_path / "demo/raw"), lake=str(tmp_path / "demo/lake"))
    demo.run(tmp_path / "demo", configuration, Console(file=told, width=200), lambda _: None)
    faults = {f["kind"]: f for f in csv.DictReader((tmp_path / f"demo/raw/truth/{LAST}/faults.csv").open())}
    assert set(faults) == {"drift", "wear", "format"}

    alarms = events(Lake.open(str(tmp_path / "demo/lake")), "alarms", day=LAST)
    raised = {(a["subject"], a["kind"], a["slice"]): a["what"] for a in alarms if a["state"] == "raised"}
    assert ("city/traffic", "drift", f"detectors.district={faults['drift']['name']}") in raised
    assert ("factory/machine_life", "level", f"entity={faults['wear']['name']}") in raised
    refused = raised["data/factory/failures", "unreadable", ""]
    assert faults["format"]["name"] in refused and "'component' is missing" in refused
    drifting = {a["slice"] for a in alarms if a["kind"] == "drift" and a["state"] != "cleared"}
    assert drifting == {f"detectors.district={faults['drift']['name']}"}, "no other district is suspected"

    page = (tmp_path / f"demo/lake/reports/{LAST}.html").read_text()
    overview = re.split(r'<section[^>]*id="ran"', page)[0]
    for fault in faults.values():
        assert fault["name"] in overview
    assert f"reports/{LAST}.html" in told.getvalue()
