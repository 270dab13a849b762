"""Ten thousand pictures: what each command needs for them in time and memory, and whether it says how long it will take.

    python -m tests.campaign.many --count 10000 --work /tmp/many

The pictures are drawn faces, each made different by a few pixels, in two class folders with a `.pts` file each. The
memory is the largest of a command's processes, from outside. A finding is an exit code, a traceback, or 2 GiB.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from tests.campaign.kill import ENVIRONMENT, lssl

BYTES = 2 * 2**30


@dataclass(frozen=True)
class Outcome:
    """code: exit code. peak: bytes of the largest process. foretold: the lines that said how long it would take."""

    code: int
    seconds: float
    peak: int
    foretold: list[str]
    said: str


def make_pictures(out: Path, count: int) -> None:
    """`count` pictures of 96 pixels with landmarks in out/neutral and out/happy, five thousand people at most."""
    from lssl.data import read_metadata
    from lssl.data.landmark_files import write_pts

    with tempfile.TemporaryDirectory() as folder:
        words = [
            "generate-faces",
            folder,
            "--subjects",
            "40",
            "--expressions",
            "neutral,happy",
            "--size",
            "96",
            "--quiet",
        ]
        subprocess.run(lssl(*words), env=ENVIRONMENT, check=True)
        faces = read_metadata(folder)
        assert faces.landmarks is not None
        pictures = [np.asarray(Image.open(faces.image_path(row))) for row in range(len(faces))]
    chance = np.random.default_rng(0)
    for number in range(count):
        row = number % len(pictures)
        pixels = pictures[row].copy()
        pixels[:8, :8] = chance.integers(256, size=3)
        path = out / faces.columns["expression"][row] / f"p{number // 2:05d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path, compress_level=1)
        write_pts(path.with_suffix(".pts"), faces.landmarks[row])


def measured(words: list[str]) -> Outcome:
    """Runs a command to its end and watches the memory of its processes."""
    begun, peak = time.monotonic(), 0
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(lssl(*words), stdout=log, stderr=log, env=ENVIRONMENT, start_new_session=True)
        while child.poll() is None:
            peak = max(peak, *(_resident(process) for process in _group(child.pid)), 0)
            time.sleep(0.3)
        log.seek(0)
        said = log.read().decode(errors="replace")
    lines = [line.strip() for line in said.replace("\r", "\n").splitlines()]
    foretold = [line for line in lines if line.startswith("About ")]
    return Outcome(child.returncode, time.monotonic() - begun, peak, foretold, said)


def _group(leader: int) -> list[int]:
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.getpgid(int(name)) == leader:
                found.append(int(name))
        except ProcessLookupError:
            continue
    return found


def _resident(process: int) -> int:
    try:
        return int(Path(f"/proc/{process}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0


def commands(work: Path, workers: int) -> dict[str, list[str]]:
    faces, few = str(work / "faces"), ["--iterations", "3"]
    # What train needs does not grow with its warm-up, which takes minutes on a processor.
    short = ["--batch-size", "4", "--no-report", "--set", "warm_up.updates=2"]
    return {
        "prepare": ["prepare", "folder", str(work / "pictures"), faces, "--size", "64", "--workers", str(workers)],
        "prepare, again": ["prepare", "folder", str(work / "pictures"), faces, "--size", "64", "--workers", str(workers)],
        "train": ["train", "--data", faces, "-o", str(work / "run"), *few, *short],
        "train-classifier": ["train-classifier", "--data", faces, "-o", str(work / "judge"), *few],
        "synthesize": ["synthesize", str(work / "run"), faces, "--to", "happy", "--limit", "8", "-o", str(work / "changed")],
        "augment": ["augment", "morph", faces, str(work / "more"), "--per-class", "100"],
        "evaluate images": ["evaluate", "images", faces, str(work / "more"), "--quick", "-o", str(work / "images")],
    }  # fmt: skip


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "lssl-many")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--only", nargs="*", help="Commands, of the names that it prints.")
    arguments = parser.parse_args()
    if not (arguments.work / "pictures").is_dir():
        make_pictures(arguments.work / "pictures", arguments.count)
    bad = 0
    for name, words in commands(arguments.work, arguments.workers).items():
        if arguments.only and name not in arguments.only:
            continue
        outcome = measured(words)
        wrong = outcome.code != 0 or "Traceback" in outcome.said or outcome.peak > BYTES
        bad += wrong
        print(
            f"{name}: {outcome.seconds:.0f} s, {outcome.peak / 2**20:.0f} MiB"
            + "".join(f"; it said: {line}" for line in outcome.foretold)
            + (f"; ended with {outcome.code}: {outcome.said[-800:]}" if wrong else ""),
            flush=True,
        )
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
