"""Incidents last 30-90 minutes, and their queue grows upstream, later and weaker."""

from __future__ import annotations

from datetime import date

from nightmill.simulate import roads
from nightmill.simulate.chance import Chance
from nightmill.simulate.incidents import slowdowns

FIRST, DAYS = date(2026, 3, 2), 3


def _blocked(spark, first=FIRST, days=DAYS):
    """One road of ten detectors: position -> {step: blocked}."""
    rows = slowdowns(roads.detectors(spark, 10, Chance(1)), first, days, 5, Chance(1)).collect()
    return {(r["position"], r["step"]): r["blocked"] for r in rows}


def _episodes(blocked):
    """(position, first step, last step, blocked) of runs of equal blocking."""
    episodes = []
    for position, step in sorted(blocked):
        share, last = blocked[position, step], episodes[-1] if episodes else None
        if last and last[0] == position and last[2] == step - 1 and last[3] == share:
            episodes[-1] = (position, last[1], step, share)
        else:
            episodes.append((position, step, step, share))
    return episodes


def test_incidents_last_half_an_hour_to_an_hour_and_a_half(spark):
    blocked = _blocked(spark)
    lasting = [last - first + 1 for _, first, last, _ in _episodes(blocked)]
    assert len(lasting) > 10
    assert max(lasting) <= 90 // 5 + 1
    assert sorted(lasting)[len(lasting) // 2] >= 30 // 5  # shorter ones are hidden in part behind a worse one
    assert min(blocked.values()) >= 0.3 * 0.8**3 and max(blocked.values()) <= 0.7


def test_the_queue_reaches_the_next_detector_upstream_ten_minutes_later_and_weaker(spark):
    blocked = _blocked(spark)
    followed = [
        (position, first)
        for position, first, last, share in _episodes(blocked)
        if position > 0
        and share > 0.45  # too strong to be a queue's third step or a shadow of another incident
        and all(abs(blocked.get((position - 1, step + 2), 0) - share * 0.8) < 1e-9 for step in range(first, last + 1))
    ]
    assert len(followed) >= 3


def test_an_incident_is_the_same_from_whatever_day_it_is_looked_at(spark):
    whole, alone = _blocked(spark), _blocked(spark, date(2026, 3, 3), 1)
    begin = 20515 * 288  # 2026-03-03 00:00 UTC in steps
    day = {key: share for key, share in whole.items() if begin <= key[1] < begin + 288}
    assert day and day == {key: share for key, share in alone.items() if begin <= key[1] < begin + 288}
