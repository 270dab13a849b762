"""A disk that is full at each write: commands that write to a small tmpfs of several sizes (Linux, as root).

    python -m tests.campaign.disk --inputs /tmp/kills     what `python -m tests.campaign.kill` made

Each must end with exit code 1, one sentence that names the cause, and no traceback; and, once there is room, the same
command (with --resume where that was the advice) must end well.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.campaign.kill import Task, forked, import_everything, make_inputs, tasks

SIZES_KIB = (16, 64, 200)


def more_tasks(made: dict[str, Path]) -> list[Task]:
    """The commands that the campaign of kills leaves out: those that are repeated whole."""
    faces, model, judge = (str(made[name]) for name in ("faces", "model", "judge"))
    photographs = str(made["photographs"] / "happy")
    photograph = str(next((made["photographs"] / "happy").glob("*.png")))
    few = ("--iterations", "2", "--quiet")
    morph = ("--through", "photo,happy", "--seconds", "0.2", "--fps", "10", "--size", "64", "--quiet")
    return [
        Task("render-frontal", ("render-frontal", photographs, "-o", "{out}", "--workers", "1", "--quiet")),
        Task("synthesize", ("synthesize", model, photographs, "--to", "happy", "-o", "{out}", "--quiet")),
        Task("synthesize 3d", ("synthesize", "3d", photographs, "--to", "happy", "-o", "{out}", "--quiet")),
        Task("morph gif", ("morph", model, photograph, *morph, "-o", "{out}/morph.gif")),
        Task("morph mp4", ("morph", model, photograph, *morph, "-o", "{out}/morph.mp4")),
        Task("export", ("export", model, "--pt2", "-o", "{out}/model.pt2", "--quiet")),
        Task("face-model show", ("face-model", "show", "embedded", "--size", "64", "-o", "{disk}/sheet.png", "--quiet")),
        Task("train-classifier", ("train-classifier", "--data", faces, "-o", "{out}", *few)),
        Task("evaluate images", ("evaluate", "images", faces, faces, "--network", judge, "-o", "{out}", "--quick", "--quiet")),
    ]  # fmt: skip


def problem(code: int, said: str, disk: Path) -> str:
    """What is wrong with how a command met a full disk; empty where nothing is."""
    if code == 0:
        return ""  # it fitted
    if code != 1:
        return f"exit code {code}: {said[-300:]}"
    if "Traceback" in said:
        return f"a traceback: {said[-300:]}"
    if "No space left" not in said and "cannot write" not in said:
        return f"no cause named: {said[-300:]}"
    return "" if str(disk) in said else f"no file named: {said[-300:]}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=Path, help="Made by tests.campaign.kill; made anew if not given.")
    parser.add_argument("--only", nargs="*", help="Commands, of the names that it prints.")
    parser.add_argument("--sizes", nargs="*", type=int, default=SIZES_KIB, help="KiB.")
    arguments = parser.parse_args()
    work = Path(tempfile.mkdtemp())
    names = ("photographs", "faces", "model", "judge")
    made = {name: arguments.inputs / name for name in names} if arguments.inputs else make_inputs(work)
    import_everything()
    full, fitted, bad = 0, 0, 0
    for task in (*tasks(made), *more_tasks(made)):
        if arguments.only and task.name not in arguments.only:
            continue
        for size in arguments.sizes:
            disk = work / f"{task.name}-{size}"
            disk.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}k", "none", str(disk)], check=True)
            try:
                words = [word.replace("{out}", str(disk / "out")) for word in task.arguments]
                words = [word.replace("{disk}", str(disk)) for word in words]
                code, said = forked(words)
                wrong = problem(code, said, disk)
                full, fitted = full + (code != 0), fitted + (code == 0)
                if code != 0 and not wrong:
                    subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
                    resumed = [*words, *task.resume] if list(disk.glob("out/checkpoints/iteration_*.pt")) else words
                    code, again = forked(resumed)
                    wrong = "" if code == 0 else f"with room again exit code {code}: {again[-300:]}"
                bad += bool(wrong)
                print(
                    f"{task.name}, {size} KiB: {wrong or (said.strip() or 'it fitted').splitlines()[-1][-160:]}",
                    flush=True,
                )
            finally:
                subprocess.run(["umount", str(disk)], check=False)
    print(f"{full} met a full disk, {fitted} fitted, {bad} findings")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
