"""The page is one whole, whatever names and reasons say, and however little is known."""

from __future__ import annotations

import json
import math
import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from mornings import NIGHT, Mornings

from nightmill.report import write_report
from nightmill.report.gather import gather
from nightmill.report.render import asset, policy, render, verdict
from nightmill.report.told import Alarm, DataPage, DayCounts, Entities, Morning, Plan, Ran, Refusal, Spot

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def mornings(tmp_path_factory: pytest.TempPathFactory) -> Mornings:
    return Mornings(tmp_path_factory.mktemp("mornings")).written()


@pytest.fixture(scope="module")
def morning(mornings: Mornings) -> Morning:
    models: Any = mornings.models
    return gather(mornings.lake, models, mornings.use_cases(), mornings.data_sets(), NIGHT)


def _empty(**more: Any) -> Morning:
    made = datetime(2026, 3, 6, tzinfo=UTC)
    parts: dict[str, Any] = {"steps": [], "alarms": [], "plans": [], "use_cases": [], "data": [], "run_ids": []}
    parts |= {"began": None, "seconds": None, "lake": "lake", "version": "0", "made": made}
    return Morning(day=NIGHT, **(parts | more))


def _island(page: str) -> dict[str, Any]:
    (found,) = re.findall(r'<script type="application/json" id="told">(.*?)</script>', page, re.S)
    return dict(json.loads(found))


def test_the_page_fetches_nothing_and_runs_only_its_own_script(morning: Morning) -> None:
    page = render(morning)
    assert not re.findall(r'(?:src|href)="(?!#)[^"]*"', page), "nothing is referred to outside"
    assert "style=" not in page and not re.findall(r"\son\w+=", page), "the policy would refuse it"
    assert f"<style>{asset('page.css')}</style>" in page and f"<script>{asset('page.js')}</script>" in page
    allowed = policy(asset("page.css"), asset("page.js"))
    assert allowed.startswith("default-src 'none'") and "unsafe" not in allowed
    assert allowed.replace("'", "&#39;") in page


def test_names_and_reasons_are_text_wherever_they_stand(morning: Morning) -> None:
    traffic = next(page for page in morning.use_cases if page.name == "city/traffic")
    names = [EVIL, *traffic.entities.names[1:]]
    areas = [EVIL, *traffic.entities.area[1:]]
    entities = replace(traffic.entities, names=names, area=areas, status=["alarm", *traffic.entities.status[1:]])
    case = replace(traffic, entities=entities, verdict=EVIL, title=EVIL, unit=EVIL)
    case = replace(case, chosen=[replace(traffic.chosen[0], entity=EVIL)])
    alarm = Alarm("city/traffic", EVIL, EVIL, "raised", EVIL, 2.0, 1.0, NIGHT)
    data = DataPage(EVIL, EVIL, [DayCounts(NIGHT, 1, 0, 1)], [Refusal(EVIL, 1, EVIL)], [(EVIL, EVIL)], NIGHT, None)
    plan = Plan("city", "map", [Spot(EVIL, 0, 0, EVIL, "alarm", EVIL), Spot("b", 1, 1, "x", "normal", "")], [])
    ran = Ran("land", EVIL, "failed", EVIL, EVIL, 1.0)
    page = render(_empty(steps=[ran], alarms=[alarm], plans=[plan], use_cases=[case], data=[data], lake=EVIL))
    assert "<script>alert" not in page and "<img" not in page
    assert page.count("<script") == page.count("</script") == 2
    island = _island(page)
    assert island["cases"]["city/traffic"]["name"][0] == EVIL and island["plans"][0]["name"][0] == EVIL


def test_the_data_block_is_columns_of_equal_length_with_short_numbers(morning: Morning) -> None:
    island = _island(render(morning))
    case = island["cases"]["city/traffic"]
    assert {len(case[name]) for name in ("name", "area", "status", "error", "usual", "value", "lo", "hi")} == {40}
    numbers = re.findall(r"\d+\.\d+", json.dumps(case["error"]))
    assert numbers and max(len(number.replace(".", "").lstrip("0")) for number in numbers) <= 4
    for plan in island["plans"]:
        assert len({len(plan[name]) for name in ("name", "x", "y", "area", "page", "status", "text")}) == 1


def test_without_a_script_alarms_steps_and_refusals_can_be_read(morning: Morning) -> None:
    page = re.sub(r"<script.*?</script>", "", render(morning), flags=re.S)
    for text in (
        "3 alarms are new and 1 stays up",
        "the file lacks column",
        "district Nord",
        "remaining_life: M07",
        "no file of the drop of 2026-03-05 can be read",
        "correct the file and drop it again",
        "speed 214.0 is not between 0 and 200",
        "version 4 is not promoted",
        "1 alarm",
    ):
        assert text in page, text
    assert "secret" not in page, "originals stay in quarantine"


def test_the_navigation_counts_the_alarms_of_use_cases_and_of_data(morning: Morning) -> None:
    menu = re.sub(r"\s+", " ", render(morning).split("<nav")[1].split("</nav>")[0])
    counted = {name: int(up) for name, up in re.findall(r'">([^<]+) <span class="count" title="alarms">(\d+)<', menu)}
    assert counted == {"Data": 1, "Traffic": 2, "Machine life": 1}


def test_a_chart_without_truth_has_none_in_its_key(morning: Morning) -> None:
    traffic = next(page for page in morning.use_cases if page.name == "city/traffic")
    unknown = [
        replace(one, panels=[replace(panel, truth=[math.nan] * len(panel.truth)) for panel in one.panels])
        for one in traffic.chosen
    ]
    shown = [render(replace(morning, use_cases=[replace(traffic, chosen=some)])) for some in (traffic.chosen, unknown)]
    assert ['<i class="swatch truth"></i>' in page for page in shown] == [True, False]


def test_the_first_night_of_an_empty_lake_has_a_page() -> None:
    page = render(_empty(idle=["city/traffic"]))
    assert "No alarm was raised" in page and "Nothing has landed yet" in page and "city/traffic" in page


def test_a_use_case_without_champion_says_so_and_what_stopped_it(morning: Morning) -> None:
    page = render(morning)
    assert "There is no champion yet" in page and "No champion yet" in page
    assert "1 alarm of its data" in page and "features skipped" in page


def test_an_entity_of_which_nothing_is_known_is_drawn_as_such(morning: Morning) -> None:
    traffic = next(page for page in morning.use_cases if page.name == "city/traffic")
    nan = [float("nan")]
    none = Entities(["a"], [""], ["unknown"], nan, nan, nan, nan, nan)
    page = render(_empty(use_cases=[replace(traffic, entities=none, live=[], figures=[], slices=[], horizons=[])]))
    assert "no forecast" in page and "NaN" not in page and ">nan" not in page


@pytest.mark.parametrize(
    ("states", "alarms", "said"),
    [
        ([], [], "Nothing is known of what ran this night; no alarm is up."),
        (["nothing"], [], "Nothing was left to do; no alarm is up."),
        (["done", "done", "nothing"], [], "All 2 steps ended well; no alarm is up."),
        (["done", "failed"], ["raised"], "1 of 2 steps ended well; 1 alarm is new."),
        (
            ["done", "skipped"],
            ["raised", "raised", "stays"],
            "1 of 2 steps ended well; 2 alarms are new and 1 stays up.",
        ),
        (["done"], ["stays", "stays", "cleared"], "The one step ended well; 2 alarms stay up."),
    ],
)
def test_the_verdict_is_one_sentence(states: list[Any], alarms: list[str], said: str) -> None:
    steps = [Ran("land", f"data/{n}", state) for n, state in enumerate(states)]
    up = [Alarm("city/x", "late", str(n), state, "", 2, 1, NIGHT) for n, state in enumerate(alarms)]
    assert verdict(_empty(steps=steps, alarms=up)) == said


def test_a_report_is_written_whole_beside_the_tables_and_again_over_itself(mornings: Mornings, tmp_path: Path) -> None:
    given: Any = (mornings.lake, mornings.models, mornings.use_cases(), mornings.data_sets(), NIGHT)
    done = write_report(*given)
    path = Path(mornings.lake.root, "reports", f"{NIGHT}.html")
    assert done.path == str(path) and path.stat().st_size == done.bytes
    assert (done.steps, done.failed, done.alarms) == (18, 1, 4)
    again = write_report(*given)
    assert [p.name for p in path.parent.iterdir()] == [path.name] and abs(again.bytes - done.bytes) < 50
    elsewhere = write_report(*given, str(tmp_path / "deep" / "r.html"))
    assert Path(elsewhere.path).exists()


def test_a_page_of_five_thousand_entities_stays_small(tmp_path: Path) -> None:
    large = Mornings(tmp_path, detectors=5000, nights=3).written()
    models: Any = large.models
    done = write_report(large.lake, models, large.use_cases(), large.data_sets(), NIGHT)
    page = Path(done.path).read_text()
    assert done.bytes < 5_000_000
    assert len(_island(page)["cases"]["city/traffic"]["name"]) == 5000
    assert len(_island(page)["cases"]["city/traffic"]["chosen"]) <= 24, "series are of some entities"
