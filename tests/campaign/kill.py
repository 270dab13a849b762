"""kill -9 at random moments: each command is killed, repeated until it ends, and must end as an undisturbed one does.

    python -m tests.campaign.kill --kills 200 --work /tmp/kills

Commands: prepare, generate-faces, train (with --resume where it has a checkpoint), augment, evaluate. Equal means: the
same files with the same bytes, but for times, the order of safetensors' descriptions and the checkpoints' wrapping.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
_TIMES = {"seconds", "command"}


@dataclass(frozen=True)
class Task:
    """A command whose results are in `out`; `{out}` in its arguments is replaced, `resume` added where it can be."""

    name: str
    arguments: tuple[str, ...]
    resume: tuple[str, ...] = ()


def lssl(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "lssl", *arguments]


def make_inputs(work: Path) -> dict[str, Path]:
    """Photographs with landmarks, a small data set, a trained model and a judge."""
    photographs, faces, model, judge = (work / name for name in ("photographs", "faces", "model", "judge"))
    small = ["--subjects", "10", "--expressions", "neutral,happy", "--size", "32", "--quiet"]
    _done(lssl("generate-faces", str(faces), *small))
    _write_photographs(faces, photographs)
    _done(lssl("train", "--data", str(faces), "--out", str(model), *_training(6), "--no-report", "--quiet"))
    _done(lssl("train-classifier", "--data", str(faces), "--out", str(judge), "--iterations", "4", "--quiet"))
    return {"photographs": photographs, "faces": faces, "model": model, "judge": judge}


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
        Task("prepare", ("prepare", "folder", str(inputs["photographs"]), "{out}", "--size", "64", "--workers", "2", "--quiet")),
        Task("generate-faces", ("generate-faces", "{out}", *generate)),
        Task("train", ("train", "--data", faces, "--out", "{out}", *_training(10), "--no-report", "--quiet"), ("--resume",)),
        Task("augment", ("augment", model, faces, "{out}", "--per-class", "200", "--quiet")),
        Task("evaluate", ("evaluate", "transfer", "--data", faces, "--model", model, "--classifier", judge, "-o", "{out}", "--quiet")),
    ]  # fmt: skip


def undisturbed(task: Task, out: Path) -> float:
    """Runs a task to its end; the seconds it took."""
    begun = time.monotonic()
    _done(_command(task, out))
    return time.monotonic() - begun


def killed_and_repeated(task: Task, out: Path, seconds: float, chance: random.Random, kills: int) -> int:
    """Kills the task `kills` times at random moments of its `seconds`, repeating it, then lets it end; the kills that
    met a living process."""
    met = 0
    for _ in range(kills):
        process = subprocess.Popen(
            _command(task, out),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=ENVIRONMENT,
            start_new_session=True,
        )
        try:
            output, _ = process.communicate(timeout=chance.uniform(0, seconds))
            if process.returncode not in (0, 1):
                raise RuntimeError(f"{task.name} ended with {process.returncode}: {output.decode()[-2000:]}")
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            met += 1
    _done(_command(task, out))
    return met


def differences(first: Path, second: Path) -> list[str]:
    """What differs between two results, as far as it should not."""
    names = [{str(p.relative_to(root)) for p in root.rglob("*") if p.is_file()} for root in (first, second)]
    names = [{name for name in part if not _passing(name)} for part in names]
    found = [f"{name}: in one alone" for name in sorted(names[0] ^ names[1])]
    return found + [
        f"{name}: differs" for name in sorted(names[0] & names[1]) if _content(first / name) != _content(second / name)
    ]


def _passing(name: str) -> bool:
    """Logs of times and of tensorboard, pages that hold a time or the command's words."""
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


def _command(task: Task, out: Path) -> list[str]:
    words = [word.replace("{out}", str(out)) for word in task.arguments]
    if task.resume and list((out / "checkpoints").glob("iteration_*.pt")):
        words += task.resume
    return lssl(*words)


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
    parser.add_argument("--only", help="One command.")
    parser.add_argument("--minutes", type=float, default=1e9, help="Begin nothing after so long.")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lssl-kills")
    arguments = parser.parse_args()
    shutil.rmtree(arguments.work, ignore_errors=True)
    arguments.work.mkdir(parents=True)
    begun, chance = time.monotonic(), random.Random(arguments.seed)
    chosen = [task for task in tasks(make_inputs(arguments.work)) if arguments.only in (None, task.name)]
    wholes = {task.name: undisturbed(task, arguments.work / f"{task.name}-whole") for task in chosen}
    print({name: f"{seconds:.0f} s undisturbed" for name, seconds in wholes.items()}, flush=True)
    met, bad = 0, 0
    counts = dict.fromkeys(wholes, 0)
    while met < arguments.kills and time.monotonic() - begun < 60 * arguments.minutes:
        for task in chosen:
            out = arguments.work / f"{task.name}-killed"
            shutil.rmtree(out, ignore_errors=True)
            try:
                kills = killed_and_repeated(task, out, wholes[task.name], chance, kills=4)
                found = differences(arguments.work / f"{task.name}-whole", out)
            except RuntimeError as error:
                kills, found = 0, [str(error)]
            met += kills
            counts[task.name] += kills
            for line in found:
                bad += 1
                print(f"{task.name}: {line}", flush=True)
        print(f"{met} kills {counts}, {bad} findings, {time.monotonic() - begun:.0f} s", flush=True)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
