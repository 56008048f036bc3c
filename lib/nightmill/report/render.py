"""A morning as one self-contained HTML page: nothing is fetched, nothing but its own script runs."""

from __future__ import annotations

import base64
import hashlib
import math
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from nightmill.config.values import DATA
from nightmill.report import charts, pictures, plan, words
from nightmill.report.island import island
from nightmill.report.told import STATUSES, Morning, UseCasePage

STATES = {"done": "done", "nothing": "nothing to do", "failed": "failed", "skipped": "skipped", "killed": "killed"}
WORST = 15
"""Rows of the table of entities that are there without a script."""


def render(morning: Morning) -> str:
    """The page."""
    drawn = [plan.draw(one) for one in morning.plans]
    css, script = asset("page.css"), asset("page.js")
    template = _environment().get_template("page.html.j2")
    return template.render(
        m=morning,
        css=Markup(css),
        script=Markup(script),
        policy=policy(css, script),
        data=island(morning, drawn),
        plans=list(zip(morning.plans, drawn, strict=True)),
        cases=[(page, _pictures(page)) for page in morning.use_cases],
        drops=[(page, pictures.drops(page)) for page in morning.data],
        places={page.name: page.name for page in morning.use_cases}
        | {f"{DATA}{page.name}": f"data:{page.name}" for page in morning.data},
        times=charts.times([ran.seconds for ran in morning.steps]),
        verdict=verdict(morning),
        tiles=tiles(morning),
        states=STATES,
        statuses=STATUSES,
        sign=plan.legend_sign,
        status_words=plan.WORDS,
        worst=worst,
        DATA=DATA,
        w=words,
    )


@cache
def asset(name: str) -> str:
    """A static part of the page."""
    return (files("nightmill.report") / "page" / name).read_text(encoding="utf-8")


def policy(css: str, script: str) -> str:
    """The page's Content-Security-Policy: its own style sheet and script by their hashes, and nothing else."""
    style, code = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (css, script))
    own = f"style-src 'sha256-{style}'; script-src 'sha256-{code}'"
    return f"default-src 'none'; {own}; base-uri 'none'; form-action 'none'"


def verdict(morning: Morning) -> str:
    """The night in one sentence."""
    states = Counter(ran.state for ran in morning.steps)
    worked = sum(many for state, many in states.items() if state != "nothing")
    new = sum(alarm.state == "raised" for alarm in morning.alarms)
    up = sum(alarm.is_up for alarm in morning.alarms) - new
    if not morning.steps:
        said = "Nothing is known of what ran this night"
    elif not worked:
        said = "Nothing was left to do"
    elif states["done"] == worked:
        said = f"All {words.plural(worked, 'step')} ended well" if worked > 1 else "The one step ended well"
    else:
        said = f"{words.number(states['done'])} of {words.plural(worked, 'step')} ended well"
    if not new and not up:
        return f"{said}; no alarm is up."
    parts = [f"{words.plural(new, 'alarm')} {'is' if new == 1 else 'are'} new"] if new else []
    parts += (
        [
            f"{words.number(up)} {'stays' if up == 1 else 'stay'} up"
            if new
            else words.plural(up, "alarm") + f" {'stays' if up == 1 else 'stay'} up"
        ]
        if up
        else []
    )
    return f"{said}; {' and '.join(parts)}."


def tiles(morning: Morning) -> list[tuple[str, str, str]]:
    """Name, value and what it is of."""
    parsed, refused = (
        sum(getattr(page.night, fate) for page in morning.data if page.last_day) for fate in ("parsed", "refused")
    )
    sets = sum(bool(page.night.parsed) for page in morning.data if page.last_day)
    champions = sum(page.champion is not None for page in morning.use_cases)
    predicted = [page for page in morning.use_cases if page.predictions]
    return [
        ("Run time", words.seconds(morning.seconds), words.plural(len(morning.run_ids), "run")),
        ("Records", words.number(parsed), f"of the day, {words.plural(sets, 'data set')}"),
        ("Refused", words.percent(refused / parsed if parsed else math.nan), f"{words.plural(refused, 'record')}"),
        (
            "Predictions",
            words.number(sum(page.predictions for page in predicted)),
            words.plural(len(predicted), "use case"),
        ),
        ("Champions", f"{champions} of {len(morning.use_cases)}", "use cases have one"),
    ]


def worst(page: UseCasePage) -> list[int]:
    """Positions of the entities to look at first: by status, then by error, or by the lowest prediction."""
    e = page.entities
    by = e.error if page.task == "forecast" else [-value for value in e.value]

    def rank(n: int) -> tuple[int, float]:
        return STATUSES.index(e.status[n]), -by[n] if math.isfinite(by[n]) else math.inf

    return sorted(range(len(e.names)), key=rank)[:WORST]


def _pictures(page: UseCasePage) -> dict[str, Any]:
    heads, rows = pictures.figures_by_horizon(page.figures)
    return {
        "comparison": pictures.comparison(page),
        "heads": heads,
        "rows": rows,
        "by_horizon": pictures.by_horizon(page),
        "live": pictures.live_error(page),
        "losses": pictures.losses(page.champion),
        "urgent": pictures.urgent(page) if page.task == "regress" else Markup(""),
        "covered": any(math.isfinite(part.coverage) for part in page.slices),
        "areas": any(page.entities.area),
        "key": _key(page),
    }


def _key(page: UseCasePage) -> list[tuple[str, str]]:
    """Class and name of what the panels of a use case show."""
    known = any(math.isfinite(value) for one in page.chosen for panel in one.panels for value in panel.truth)
    share = page.champion.interval if page.champion else None
    interval = f"interval for {words.percent(share)}" if share else "interval"
    return [("truth", "truth")] * known + [("model", words.title(page.target)), ("band", interval)]


@cache
def _environment() -> Environment:
    found = Environment(
        loader=PackageLoader("nightmill.report", "page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return found
