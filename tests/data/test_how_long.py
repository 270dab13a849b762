"""How long work will take: said once, from measured steps, and only if it is long."""

import io
import time

import pytest
import tqdm.std as tqdm_module

from lssl.data.how_long import HowLong, duration
from lssl.progress import tqdm


def said(total: int, seconds: float, steps: int, done: int = 0) -> list[str]:
    lines: list[str] = []
    times = iter([0.0] + [seconds * k for k in range(1, steps + 1)])
    how_long = HowLong(lines.append, total, done, unit="faces", clock=lambda: next(times))
    for _ in range(steps):
        how_long.advance()
    return lines


def test_it_is_said_once_after_the_first_seconds() -> None:
    assert said(1000, 1.0, 10) == ["About 17 minutes for the other 995 faces"]
    assert said(1000, 1.0, 4) == []
    assert said(1000, 1.0, 8, done=900) == ["About 2 minutes for the other 95 faces"]
    assert said(20, 1.0, 19) == []


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(40, "40 seconds"), (89, "89 seconds"), (720, "12 minutes"), (12600, "3.5 hours"), (200000, "2.3 days")],
)
def test_durations_are_as_precise_as_an_estimate(seconds, words) -> None:
    assert duration(seconds) == words


def test_a_bar_tells_no_negative_time_when_the_clock_is_set_back(monkeypatch) -> None:
    shown = io.StringIO()
    now = time.time()
    with tqdm(total=10, file=shown, mininterval=0) as bar:
        for step in range(5):
            monkeypatch.setattr(time, "time", lambda: now - 3600 * step)  # noqa: B023, called at once
            monkeypatch.setattr(tqdm_module, "time", time.time)
            bar.update()
    assert "5/10" in shown.getvalue()
    assert "-" not in shown.getvalue()
