import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lssl.data.workers import map_in_processes
from lssl.errors import LsslError

SCRIPT = """
import signal, sys, time
from lssl.data.workers import map_in_processes

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell ignores it for what it starts in the background
    print("begun", flush=True)
    try:
        list(map_in_processes(time.sleep, [0.01] * 400, 2))
    except KeyboardInterrupt:
        print("stopped", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="process groups are POSIX")
@pytest.mark.parametrize("seconds", [0.0, 0.15])
def test_ctrl_c_while_the_workers_start_is_silent(tmp_path, seconds) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(seconds)  # while the workers start; it must be silent whenever it comes
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert "Traceback" not in err
    assert out in ("stopped\n", "")


def test_all_tasks_are_done_and_a_dead_worker_is_one_sentence() -> None:
    assert sorted(map_in_processes(abs, range(-9, 10), 2)) == sorted(map(abs, range(-9, 10)))
    with pytest.raises(LsslError, match=r"a worker process died .*fewer --workers"):
        list(map_in_processes(os._exit, [3, 3, 3], 2))


def test_tasks_that_go_on_do_not_hold_up_ctrl_c(tmp_path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.replace("[0.01] * 400", "[300.0] * 4"))
    process = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True, env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "begun\n"
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert err == ""
    assert out == "stopped\n"


POOL = """
import time
from lssl.data.workers import map_in_processes

if __name__ == "__main__":
    list(map_in_processes(time.sleep, [300.0] * 4, 2))
"""
WATCHED = POOL.replace(
    "if __name__", "from lssl.data import parent\nparent._asked_linux = lambda: False\nif __name__"
)  # as where there is no prctl
AHEAD = """
import time
from pathlib import Path
from lssl.data import ahead

ahead._pays = lambda: True
ahead.read_portrait = lambda *_, **__: time.sleep(300)
from PIL import Image
Image.new("RGB", (20, 20)).save("photo.png")
with ahead.PortraitsAhead([Path("photo.png")], landmarks=None, largest_face=False) as portraits:
    time.sleep(300)
"""


def children_of(parent: int) -> set[int]:
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == parent:
                found.add(int(stat.parent.name))
    return found


def lives(process: int) -> bool:
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def wait_until(holds) -> bool:
    until = time.monotonic() + 60
    while not holds() and time.monotonic() < until:
        time.sleep(0.1)
    return holds()


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    "script, count", [(POOL, 3), (WATCHED, 3), (AHEAD, 1)], ids=["pool", "watched", "ahead"]
)  # a pool has two workers and a tracker
def test_workers_end_with_a_parent_that_is_killed(tmp_path, script, count) -> None:
    (tmp_path / "script.py").write_text(script)
    parent = subprocess.Popen(
        [sys.executable, str(tmp_path / "script.py")], cwd=tmp_path, start_new_session=True,
        env={**os.environ, "PYTHONPATH": os.getcwd()},
    )  # fmt: skip
    assert wait_until(lambda: len(children_of(parent.pid)) == count)
    time.sleep(1.0)  # they are in their tasks; else they find out as they begin
    children = children_of(parent.pid)
    parent.kill()
    parent.wait()
    assert wait_until(lambda: not any(map(lives, children)))
