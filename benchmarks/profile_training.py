"""What the device does in an iteration of `lssl train --preset paper`: its kernels, the longest first.

    python benchmarks/profile_training.py [--preset paper] [--size 128] [--device cuda] [--out profile.txt] [--bf16 on ...]

Further options are those of `lssl train`. The command runs in this process; a second thread records some iterations from
the middle of the run, including CUDA graphs; it follows the run by its log.
"""

import argparse
import json
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from lssl.__main__ import find_cli


def iteration(log: Path) -> int:
    lines = log.read_text().splitlines() if log.exists() else []
    return max((json.loads(line).get("iteration", 0) for line in lines if line.endswith("}")), default=0)


def record(log: Path, activity: ProfilerActivity, first: int, last: int, found: dict[str, Any]) -> None:
    """Records from iteration `first` to `last`."""

    def wait_for(number: int) -> int:
        while (reached := iteration(log)) < number:
            time.sleep(0.002)
        return reached

    begin = wait_for(first)
    profiler = profile(activities=[activity])
    profiler.start()
    started = time.perf_counter()
    found["iterations"] = max(1, wait_for(last) - begin)
    found["seconds"] = time.perf_counter() - started
    profiler.stop()
    found["averages"] = profiler.key_averages()


def report(found: dict[str, Any], title: str) -> str:
    count = found["iterations"]
    device = [(e.self_device_time_total / 1e3 / count, e.count / count, e.key) for e in found["averages"]]
    rows = sorted((row for row in device if row[0] > 0), reverse=True)
    busy = sum(row[0] for row in rows)
    lines = [
        f"{title}: {found['seconds'] / count * 1e3:.1f} ms per iteration while recorded, of which kernels {busy:.1f} ms, "
        f"{sum(row[1] for row in rows):.0f} launches; {count} iterations",
        "     ms  share    calls  kernel",
        *(f"{ms:7.3f} {ms / busy:5.1%} {calls:8.1f}  {name[:150]}" for ms, calls, name in rows[:60]),
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--preset", default="paper")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--size", default="128")
    parser.add_argument("--out", type=Path)
    options, further = parser.parse_known_args()
    small = options.device == "cpu"
    settings = (
        ["--size", "64", "--batch-size", "2", "--width", "8"]
        if small
        else ["--size", options.size, "--batch-size", "8"]
    )
    settings += further
    first, last, end = (1, 2, 3) if small else (40, 60, 100)
    without = ["--without", "parsing"] if options.preset == "paper" else []
    found: dict[str, Any] = {}
    find_cli()
    from lssl.cli.main import main as lssl

    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        activity = ProfilerActivity.CPU if small else ProfilerActivity.CUDA
        watcher = threading.Thread(
            target=record, args=(run / "metrics.jsonl", activity, first, last, found), daemon=True
        )
        watcher.start()
        sys.argv = [
            "lssl",
            "train",
            "--no-report",
            "--preset",
            options.preset,
            "--device",
            options.device,
            "--out",
            str(run),
        ]
        sys.argv += ["--iterations", str(end), "--log-every", "1", "--subjects", "8", *settings]
        sys.argv += [*without, "--sample-every", "100000", "--checkpoint-every", "100000", "--quiet"]
        try:
            lssl()
        except SystemExit as ended:
            if ended.code not in (0, None):
                raise
        watcher.join(timeout=30)
    if "averages" not in found:
        raise SystemExit("the run ended before it was recorded")
    name = torch.cuda.get_device_name() if not small else "cpu"
    text = report(found, f"lssl train --preset {options.preset} {' '.join(settings)}, {name}")
    if options.out:
        options.out.write_text(text + "\n")
    print(text)


if __name__ == "__main__":
    main()
