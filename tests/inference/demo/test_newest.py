"""Of a page's waiting requests only the newest is answered."""

import threading

import pytest

from lssl.inference.demo.newest import NewestWins, Superseded


@pytest.fixture
def worker():
    worker = NewestWins("test")
    yield worker
    worker.close()


@pytest.fixture
def gate(worker):
    """Keeps the worker busy until it is opened."""
    opened, started = threading.Event(), threading.Event()
    worker.submit("gate", lambda: (started.set(), opened.wait(10)))
    assert started.wait(10)
    yield opened
    opened.set()


def test_the_newest_of_a_key_is_done_and_older_ones_are_dropped(worker, gate):
    done = []
    futures = [worker.submit("slider", lambda k=k: done.append(k) or k, number=k) for k in range(5)]
    for future in futures[:-1]:
        with pytest.raises(Superseded):
            future.result(1)
    gate.set()
    assert futures[-1].result(10) == 4
    assert done == [4]


def test_what_comes_late_is_dropped(worker):
    assert worker.submit("slider", lambda: "new", number=7).result(10) == "new"
    with pytest.raises(Superseded):
        worker.submit("slider", lambda: "old", number=6).result(10)


def test_urgent_work_goes_first_and_keys_do_not_disturb_each_other(worker, gate):
    done = []
    futures = [
        worker.submit(name, lambda name=name: done.append(name), urgency=urgency)
        for name, urgency in (("thumbnail", 2), ("edit", 0), ("open", 1), ("edit of another page", 0))
    ]
    gate.set()
    for future in futures:
        future.result(10)
    assert done == ["edit", "edit of another page", "open", "thumbnail"]


def test_errors_reach_the_caller(worker):
    with pytest.raises(ZeroDivisionError):
        worker.submit("slider", lambda: 1 / 0).result(10)
    assert worker.submit("slider", lambda: "alive").result(10) == "alive"
