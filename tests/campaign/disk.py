"""Commands on a full disk: each writes to a small tmpfs, of several sizes (Linux, as root).

    python -m tests.campaign.disk --inputs /tmp/kills     the folder that `tests.campaign.kill` made

Each must end with exit code 1, one sentence that names the cause, and no traceback; and, once there is room, the same
command (with --resume where that was the advice) must end well.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.campaign.kill import ENVIRONMENT, lssl, make_inputs, tasks

SIZES_KIB = (16, 64, 200)


def run(arguments: list[str]) -> tuple[int, str]:
    done = subprocess.run(lssl(*arguments), capture_output=True, text=True, env=ENVIRONMENT, check=False)
    return done.returncode, done.stdout + done.stderr


def problem(code: int, said: str) -> str:
    """What a command did wrong on a full disk; empty if nothing."""
    if code == 0:
        return ""  # it fitted
    if code != 1:
        return f"exit code {code}: {said[-300:]}"
    if "Traceback" in said:
        return f"a traceback: {said[-300:]}"
    return "" if "No space left" in said or "cannot write" in said else f"no cause named: {said[-300:]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=Path, help="Made by tests.campaign.kill; made anew if not given.")
    parser.add_argument("--only", nargs="*", help="Of prepare, generate-faces, train, augment, evaluate.")
    parser.add_argument("--sizes", nargs="*", type=int, default=SIZES_KIB, help="KiB.")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp())
    names = ("photographs", "faces", "model", "judge")
    made = {name: arguments.inputs / name for name in names} if arguments.inputs else make_inputs(work)
    full, fitted, bad = 0, 0, 0
    for task in tasks(made):
        if arguments.only and task.name not in arguments.only:
            continue
        for size in arguments.sizes:
            disk = work / f"{task.name}-{size}"
            disk.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(disk)], check=True)
            try:
                words = [word.replace("{out}", str(disk / "out")) for word in task.arguments]
                code, said = run(words)
                wrong = problem(code, said)
                full, fitted = full + (code != 0), fitted + (code == 0)
                if code != 0 and not wrong:
                    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
                    resumed = [*words, *task.resume] if list(disk.glob("out/checkpoints/iteration_*.pt")) else words
                    code, again = run(resumed)
                    wrong = "" if code == 0 else f"with room again exit code {code}: {again[-300:]}"
                bad += bool(wrong)
                print(f"{task.name}, {size} KiB: {wrong or said.strip().splitlines()[-1][-160:]}", flush=True)
            finally:
                subprocess.run(["umount", str(disk)], check=False)
    print(f"{full} met a full disk, {fitted} fitted, {bad} findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
