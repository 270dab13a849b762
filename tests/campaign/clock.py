"""A clock that jumps while commands run: they must end as under a steady one, and tell no time that is negative.

    python -m tests.campaign.clock --inputs /tmp/kills     what `python -m tests.campaign.kill` made

The clock (clock.c, built with the C compiler and loaded with LD_PRELOAD; Linux) stands at another of five times every
0.7 seconds: now, an hour ago, tomorrow, forty days ago. Each command runs through once, and once it is killed and repeated.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.campaign.kill import Task, _words, differences, forked, import_everything, make_inputs, tasks

EVERY = "CLOCK_EVERY"
#: A time in a progress bar or a remark that lies before its beginning.
NEGATIVE = re.compile(r"(?<![\d:])-\d+:\d\d|-\d[\d.]* ?(?:s|seconds|minutes|hours|days)\b|[<,] ?-\d")


def build(folder: Path) -> Path:
    """The shared library of clock.c."""
    library = folder / "clock.so"
    source = Path(__file__).with_name("clock.c")
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", str(library), str(source)], check=True)
    return library


def run(task: Task, out: Path, *, jumps: bool, kill_after: float | None = None) -> str:
    """Runs a task, its bars shown, and repeats it if it was killed; what it said."""
    os.environ.pop(EVERY, None)
    if jumps:
        os.environ[EVERY] = "700"
    for limit in (kill_after, None) if kill_after else (None,):
        code, said = forked([word for word in _words(task, out) if word != "--quiet"], limit)
        if code not in (0, None):
            raise RuntimeError(f"{task.name} ended with {code}: {said[-2000:]}")
    return said


def findings(task: Task, whole: Path, out: Path, kill_after: float | None) -> list[str]:
    try:
        said = run(task, out, jumps=True, kill_after=kill_after)
    except RuntimeError as error:
        return [str(error)]
    return [*differences(whole, out), *(f"says {text!r}" for text in NEGATIVE.findall(said))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=Path, help="Made by tests.campaign.kill; made anew if not given.")
    parser.add_argument("--only", nargs="*", help="Of prepare, generate-faces, train, augment, evaluate.")
    arguments = parser.parse_args()
    if "clock.so" not in os.environ.get("LD_PRELOAD", ""):  # begins again, with the library
        library = build(Path(tempfile.mkdtemp()))
        words = [sys.executable, "-m", "tests.campaign.clock", *sys.argv[1:]]
        os.execve(sys.executable, words, {**os.environ, "LD_PRELOAD": str(library), "OMP_NUM_THREADS": "1"})
    work = Path(tempfile.mkdtemp())
    made = make_inputs(arguments.inputs or work / "inputs")
    import_everything()
    runs, bad = 0, 0
    for task in tasks(made):
        if arguments.only and task.name not in arguments.only:
            continue
        whole, begun = work / f"{task.name}-whole", time.monotonic()
        run(task, whole, jumps=False)
        seconds = time.monotonic() - begun
        for kill_after in (None, 0.6 * seconds):
            jumped = work / f"{task.name}-jumped{'' if kill_after is None else '-killed'}"
            found = findings(task, whole, jumped, kill_after)
            runs, bad = runs + 1, bad + bool(found)
            print(f"{jumped.name}: {'; '.join(found) or 'as under a steady clock'}", flush=True)
    print(f"{runs} runs under a jumping clock, {bad} findings")
    shutil.rmtree(work)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
