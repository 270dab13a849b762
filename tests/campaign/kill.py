"""kill -9 at random moments: a command is killed, repeated until it ends, and must leave what an undisturbed one does.

    python -m tests.campaign.kill --kills 200 --work /tmp/kills

Commands: prepare, generate-faces, train (with --resume where it has a checkpoint), augment, evaluate. Equal means: the
same files with the same bytes, except for times, the order of safetensors' descriptions and how checkpoints are packed.
The undisturbed runs are processes of their own; the killed ones are forked from a process that has imported everything,
so that the kills fall into the work and not into Python's start.
"""

import argparse
import contextlib
import itertools
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
_TIMES = {"date", "seconds", "command"}


@dataclass(frozen=True)
class Task:
    """A command whose results are in `out`; `{out}` in its arguments is replaced. `resume` is added to resume it."""

    name: str
    arguments: tuple[str, ...]
    resume: tuple[str, ...] = ()


def lssl(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lssl", *arguments]


def make_inputs(work: Path) -> dict[str, Path]:
    """Photographs with landmarks, a small data set, a trained model and a judge."""
    photographs, faces, model, judge = (work / name for name in ("photographs", "faces", "model", "judge"))
    made = {"photographs": photographs, "faces": faces, "model": model, "judge": judge}
    if all(path.is_dir() for path in made.values()):
        return made
    small = ["--subjects", "10", "--expressions", "neutral,happy", "--size", "32", "--quiet"]
    _done(lssl("generate-faces", str(faces), *small))
    _write_photographs(faces, photographs)
    _done(lssl("train", "--data", str(faces), "--out", str(model), *_training(6), "--no-report", "--quiet"))
    _done(lssl("train-classifier", "--data", str(faces), "--out", str(judge), "--iterations", "4", "--quiet"))
    return made


def _write_photographs(faces: Path, out: Path) -> None:
    from lssl.data import read_metadata
    from lssl.data.landmark_files import write_pts

    folder = read_metadata(faces)
    assert folder.landmarks is not None
    for row in range(len(folder)):
        path = out / folder.columns["expression"][row] / f"{folder.subjects[row]}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(folder.image_path(row)) as image:
            image.resize((256, 256)).save(path)
        write_pts(path.with_suffix(".pts"), ((folder.landmarks[row] + 0.5) * 8 - 0.5).astype(np.float32))


def _training(iterations: int) -> list[str]:
    settings = {
        "schedule.iterations": iterations, "schedule.batch_size": 4, "network.width": 4, "network.num_downsamplings": 2,
        "network.critic_layers": 3, "network.critic_width": 4, "network.residual_blocks": 1, "losses.parsing": 0,
        "output.checkpoint_every": 2, "output.sample_every": 3, "output.log_every": 1,
    }  # fmt: skip
    return ["--preset", "paper", *(word for k, v in settings.items() for word in ("--set", f"{k}={v}"))]


def tasks(inputs: dict[str, Path]) -> list[Task]:
    faces, model, judge = (str(inputs[name]) for name in ("faces", "model", "judge"))
    generate = ("--subjects", "24", "--expressions", "neutral,happy,sad", "--size", "48", "--quiet")
    return [
        Task("prepare", ("prepare", "folder", str(inputs["photographs"]), "{out}", "--size", "64", "--workers", "1", "--quiet")),
        Task("prepare-2", ("prepare", "folder", str(inputs["photographs"]), "{out}", "--size", "64", "--workers", "2", "--quiet")),
        Task("generate-faces", ("generate-faces", "{out}", *generate)),
        Task("train", ("train", "--data", faces, "--out", "{out}", *_training(10), "--no-report", "--quiet"), ("--resume",)),
        Task("augment", ("augment", model, faces, "{out}", "--per-class", "200", "--quiet")),
        Task("evaluate", ("evaluate", "transfer", "--data", faces, "--model", model, "--classifier", judge, "-o", "{out}", "--quiet")),
    ]  # fmt: skip


def undisturbed(task: Task, out: Path) -> float:
    """Runs a task to its end; returns the seconds that it took."""
    begun = time.monotonic()
    _done(lssl(*_words(task, out)))
    return time.monotonic() - begun


def killed_and_repeated(task: Task, out: Path, seconds: float, chance: random.Random, kills: int) -> int:
    """Kills the task at random moments of its `seconds` and repeats it, until `kills` have met a living process; then
    lets it end. Returns the number of kills."""
    met = 0
    while True:
        moment = chance.uniform(0, 0.6 * seconds) if met < kills else None  # most then meet an unfinished run
        code, said = forked(_words(task, out), moment)
        if code is None:
            met += 1
        elif code == 0:
            return met
        else:
            raise RuntimeError(f"{task.name} ended with {code}: {said[-3000:]}")


def forked(words: list[str], kill_after: float | None = None) -> tuple[int | None, str]:
    """Runs a command in a forked process; its exit code, or None if it was killed (with all its processes) after
    `kill_after` seconds, and its output."""
    from lssl.cli.main import main as program

    with tempfile.TemporaryFile() as said:
        child = os.fork()
        if child == 0:
            code = 99
            try:
                os.setsid()
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                sys.argv = ["lssl", *words]
                program(words, standalone_mode=True)
            except SystemExit as stop:
                code = stop.code if isinstance(stop.code, int) else 0 if stop.code is None else 1
            except BaseException:
                traceback.print_exc()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)
        begun, code = time.monotonic(), None
        while code is None:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                code = os.waitstatus_to_exitcode(status)
            elif kill_after is not None and time.monotonic() - begun > kill_after:
                _kill_all(child)
                return None, ""
            else:
                time.sleep(0.002)
        said.seek(0)
        return code, said.read().decode(errors="replace")


def _kill_all(child: int) -> None:
    try:
        os.killpg(child, signal.SIGKILL)
    except ProcessLookupError:  # before its setsid
        os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def import_everything() -> None:
    """What the commands import when they run, before anything is forked; starts no threads."""
    import pkgutil
    from importlib import import_module

    import torch

    import lssl
    import lssl.cli

    torch.set_num_threads(1)
    for package in (lssl, lssl.cli):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if not module.name.endswith("__main__") and "._C" not in module.name and "._ops" not in module.name:
                with contextlib.suppress(ImportError):
                    import_module(module.name)


def differences(first: Path, second: Path) -> list[str]:
    """Differences between two results that should not be there."""
    names = [{str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()} for root in (first, second)]
    names = [{name for name in part if not _passing(name)} for part in names]
    found = [f"{name}: in one alone" for name in sorted(names[0] ^ names[1])]
    return found + [
        f"{name}: differs" for name in sorted(names[0] & names[1]) if _content(first / name) != _content(second / name)
    ]


def _passing(name: str) -> bool:
    """What may differ: logs of times, TensorBoard's files, pages that show a time or the command line."""
    path = Path(name)
    return "tensorboard" in path.parts or path.name in ("seconds", "report.html", "losses.png", "results.csv", ".lock")


def _content(path: Path) -> object:
    if path.suffix == ".jsonl":
        return [_timeless(json.loads(line)) for line in path.read_text().splitlines()]
    if path.suffix == ".json":
        return _timeless(json.loads(path.read_text()))
    if path.suffix == ".safetensors":
        from safetensors.numpy import load_file

        return {name: value.tobytes() for name, value in load_file(path).items()}
    if path.suffix == ".pt":
        import torch

        return _plain(torch.load(path, weights_only=True))
    if path.suffix == ".toml":
        return [line for line in path.read_text().splitlines() if not line.startswith("folder")]
    return path.read_bytes()


def _timeless(value: object) -> object:
    if isinstance(value, dict):
        return {k: _timeless(v) for k, v in value.items() if k not in _TIMES}
    return [_timeless(v) for v in value] if isinstance(value, list) else value


def _plain(value: object) -> object:
    import torch

    if isinstance(value, torch.Tensor):
        return value.numpy().tobytes()
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return [_plain(v) for v in value] if isinstance(value, list | tuple) else value


def _words(task: Task, out: Path) -> list[str]:
    words = [word.replace("{out}", str(out)) for word in task.arguments]
    if task.resume and list((out / "checkpoints").glob("iteration_*.pt")):
        words += task.resume
    return words


def _done(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=ENVIRONMENT, check=False)
    if done.returncode != 0:
        raise RuntimeError(
            f"{' '.join(command[3:5])} ended with {done.returncode}: {(done.stdout + done.stderr)[-3000:]}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="Of all commands together.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", default=[], help="Commands, of the names that it prints.")
    parser.add_argument("--again", action="store_true", help="Begin with what an earlier campaign left in --work.")
    parser.add_argument("--minutes", type=float, default=1e9, help="Begin nothing after so long.")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lssl-kills")
    arguments = parser.parse_args()
    if not arguments.again:
        shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True, exist_ok=True)
    begun, chance = time.monotonic(), random.Random(arguments.seed)
    chosen = [task for task in tasks(make_inputs(arguments.work)) if not arguments.only or task.name in arguments.only]
    wholes = {}
    for task in chosen:
        whole = arguments.work / f"{task.name}-whole"
        wholes[task.name] = 0.0 if whole.is_dir() else undisturbed(task, whole)
    import_everything()
    met, bad = 0, 0
    for task in chosen:  # once in a forked process: it must give the same, and its time bounds the kills
        out = arguments.work / f"{task.name}-forked"
        shutil.rmtree(out, ignore_errors=True)
        start = time.monotonic()
        code, said = forked(_words(task, out))
        wholes[task.name] = time.monotonic() - start
        found = differences(arguments.work / f"{task.name}-whole", out) if code == 0 else [f"ended with {code}: {said}"]
        bad += len(found)
        print(f"{task.name}: {wholes[task.name]:.1f} s undisturbed", *found, flush=True)
    counts = dict.fromkeys(wholes, 0)
    for number in itertools.count():
        if met >= arguments.kills or time.monotonic() - begun > 60 * arguments.minutes:
            break
        task = chosen[number % len(chosen)]
        out = arguments.work / f"{task.name}-killed"
        shutil.rmtree(out, ignore_errors=True)
        kills, found = 0, []
        try:
            kills = killed_and_repeated(task, out, wholes[task.name], chance, kills=5)
            found = differences(arguments.work / f"{task.name}-whole", out)
        except RuntimeError as error:
            found = [str(error)]
        met += kills
        counts[task.name] += kills
        bad += len(found)
        for line in found:
            print(f"{task.name}: {line}", flush=True)
        if found:
            shutil.copytree(out, arguments.work / f"finding-{number}")
        print(f"{met} kills {counts}, {bad} findings, {time.monotonic() - begun:.0f} s", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
