import os
import signal
import subprocess
import sys
import time

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
