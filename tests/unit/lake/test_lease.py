"""At most one run writes to a data set or use case."""

import json
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path

import pytest

from nightmill.errors import LeaseHeld, WorkFailed
from nightmill.lake.lease import Lease
from nightmill.lake.tables import Lake

MINUTE = timedelta(minutes=1)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake.open(str(tmp_path))


def _file(lake: Lake) -> Path:
    return Path(lake.root, "ops", "leases", "city.traffic.json")


def _held_by(lake: Lake, **holder: object) -> None:
    content = {"run": "other", "host": "elsewhere", "pid": 1, "started": 0.0, "expires": time.time() + 60} | holder
    _file(lake).parent.mkdir(parents=True)
    _file(lake).write_text(json.dumps(content))


def test_a_second_run_is_refused_while_the_first_holds_the_lease(lake: Lake) -> None:
    with Lease(lake, "city/traffic", "first", MINUTE):
        with pytest.raises(LeaseHeld, match="city/traffic is being worked on by run first"):
            Lease(lake, "city/traffic", "second", MINUTE).__enter__()
        with Lease(lake, "city/air", "second", MINUTE):
            pass


def test_the_lease_is_free_after_the_run(lake: Lake) -> None:
    with Lease(lake, "city/traffic", "first", MINUTE):
        pass
    assert not _file(lake).exists()
    with Lease(lake, "city/traffic", "second", MINUTE):
        pass


def test_the_lease_of_a_killed_process_of_this_machine_is_taken_over_at_once(lake: Lake) -> None:
    code = (
        "import os, signal, sys; from datetime import timedelta; from nightmill.lake.lease import Lease;"
        "from nightmill.lake.tables import Lake;"
        "Lease(Lake.open(sys.argv[1]), 'city/traffic', 'killed', timedelta(hours=1)).__enter__();"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    subprocess.run([sys.executable, "-c", code, lake.root], check=False)
    assert json.loads(_file(lake).read_text())["run"] == "killed"
    with Lease(lake, "city/traffic", "next", MINUTE):
        assert json.loads(_file(lake).read_text())["run"] == "next"


def test_a_process_that_reuses_the_number_of_a_dead_holder_does_not_keep_its_lease(lake: Lake) -> None:
    _held_by(lake, host=socket.gethostname(), pid=os.getpid(), started=12.0)
    with Lease(lake, "city/traffic", "next", MINUTE):
        pass


def test_a_holder_on_another_machine_is_alive_until_its_lease_expires(lake: Lake) -> None:
    _held_by(lake, expires=time.time() + 60)
    with pytest.raises(LeaseHeld, match="elsewhere"):
        Lease(lake, "city/traffic", "next", MINUTE).__enter__()
    _file(lake).write_text(json.dumps(json.loads(_file(lake).read_text()) | {"expires": time.time() - 1}))
    with Lease(lake, "city/traffic", "next", MINUTE):
        pass


def test_a_half_written_lease_does_not_lock_out_forever(lake: Lake) -> None:
    _file(lake).parent.mkdir(parents=True)
    _file(lake).write_text('{"run": "ki')
    with Lease(lake, "city/traffic", "next", MINUTE):
        pass


def test_a_held_lease_is_renewed(lake: Lake) -> None:
    with Lease(lake, "city/traffic", "first", timedelta(seconds=0.4)):
        before = json.loads(_file(lake).read_text())["expires"]
        time.sleep(0.5)
        assert json.loads(_file(lake).read_text())["expires"] > before


def test_a_run_that_lost_its_lease_may_not_commit(lake: Lake) -> None:
    with Lease(lake, "city/traffic", "first", MINUTE) as lease:
        lease.verify()
        _file(lake).write_text(json.dumps(json.loads(_file(lake).read_text()) | {"run": "thief"}))
        with pytest.raises(WorkFailed, match="was lost"):
            lease.verify()
    assert _file(lake).exists(), "another run's lease is not removed"


def test_of_many_that_find_a_dead_lease_exactly_one_wins(lake: Lake) -> None:
    _held_by(lake, expires=time.time() - 1)
    won, lost, barrier, done = [], [], threading.Barrier(8), threading.Event()

    def take(number: int) -> None:
        barrier.wait()
        try:
            with Lease(lake, "city/traffic", f"run {number}", MINUTE):
                won.append(number)
                done.wait(10)
        except LeaseHeld:
            lost.append(number)

    threads = [threading.Thread(target=take, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    while len(lost) < 7 and any(t.is_alive() for t in threads):
        time.sleep(0.01)
    done.set()
    for thread in threads:
        thread.join()
    assert (len(won), len(lost)) == (1, 7)
