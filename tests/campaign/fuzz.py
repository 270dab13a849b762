"""Gives damaged files to every reader: it must not end in a traceback, hang, take gigabytes, or execute code.

    python -m tests.campaign.fuzz --count 2000 --corpus /tmp/corpus

Each input is made from (seed, number), so a finding can be reproduced; an input on which a reader failed is kept in the
corpus and read first the next time. The readers run in a child process, watched by its parent: over 10 seconds or over
2 GiB it is killed, and the input counts as a finding.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

from tests.campaign.mutate import keep, mutated
from tests.campaign.readers import EXPECTED, Reader, readers

SECONDS = 10
BYTES = 2 * 2**30


def read_one(reader: Reader, path: Path) -> str:
    """`read`, `refused`, or what was wrong with how the file was refused."""
    begun = time.monotonic()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader.read(path)
        outcome = "read"
    except EXPECTED as error:
        text = str(error)
        outcome = "refused" if text.strip() and "Traceback" not in text else f"said nothing: {error!r}"
    except MemoryError as error:
        outcome = f"memory: {error!r}"
    except Exception as error:
        outcome = f"{type(error).__name__}: {error}"
    seconds = time.monotonic() - begun
    return outcome if seconds < SECONDS else f"took {seconds:.0f} s ({outcome})"


def try_inputs(folder: Path, numbers: range, seed: int, corpus: Path | None = None) -> tuple[Counter[str], list[str]]:
    """Gives inputs `numbers` of a seed to the readers in turn, in this process; returns outcome counts and findings."""
    dealt = readers(folder / "faces")
    counts: Counter[str] = Counter()
    findings = []
    work = folder / "inputs"
    work.mkdir(exist_ok=True)
    marker = folder / "now"
    for number in numbers:
        reader = dealt[number % len(dealt)]
        data = reader.seeds[number // len(dealt) % len(reader.seeds)]
        data = mutated(data, seed * 1_000_003 + number)
        path = work / reader.kind
        path.write_bytes(data)
        _mark(marker, number, reader.kind)
        outcome = read_one(reader, path)
        counts[outcome if outcome in ("read", "refused") else "finding"] += 1
        if outcome not in ("read", "refused"):
            findings.append(f"{number} {reader.kind}: {outcome}")
            if corpus is not None:
                keep(corpus, f"{seed}-{number}-{reader.kind}", data)
    marker.unlink(missing_ok=True)
    return counts, findings


def _mark(marker: Path, number: int, kind: str) -> None:
    """Records which input is being read; by rename, so that the parent never reads half a record."""
    half = marker.with_suffix(".half")
    half.write_text(json.dumps({"number": number, "kind": kind}))
    os.replace(half, marker)


def _at(marker: Path, start: int) -> tuple[int, str]:
    """The (number, kind) of the input that a child was reading; its first input if there is no record."""
    try:
        at = json.loads(marker.read_text())
        return int(at["number"]), str(at["kind"])
    except (OSError, ValueError, KeyError, TypeError):
        return start, "?"


def _child(arguments: argparse.Namespace) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))  # address space; libraries take most of it
    folder = Path(arguments.child)
    counts, findings = try_inputs(
        folder, range(arguments.start, arguments.stop), arguments.seed, Path(arguments.corpus)
    )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"counts": counts, "findings": findings, "peak": peak}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--corpus", default=str(Path(tempfile.gettempdir()) / "lssl-corpus"))
    parser.add_argument("--batch", type=int, default=250)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--start", type=int, default=0, help=argparse.SUPPRESS)
    parser.add_argument("--stop", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        _child(arguments)
        return 0
    counts: Counter[str] = Counter()
    findings, peak = [], 0
    for start in range(0, arguments.count, arguments.batch):
        stop = min(start + arguments.batch, arguments.count)
        found = _watched(arguments, start, stop)
        counts.update(found["counts"])
        findings += found["findings"]
        peak = max(peak, found["peak"])
        print(f"{stop} of {arguments.count}: {dict(counts)}, peak {peak / 2**20:.0f} MiB", flush=True)
    for line in findings:
        print(line)
    return 1 if findings else 0


def _watched(arguments: argparse.Namespace, start: int, stop: int) -> dict:
    """A child's outcome. If it hangs, grows or dies, that is a finding, and the rest of its inputs are tried."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.campaign.fuzz", "--child", folder, "--start", str(start)]
        command += ["--stop", str(stop), "--seed", str(arguments.seed), "--corpus", arguments.corpus]
        log = Path(folder) / "log"
        with log.open("wb") as output:
            child = subprocess.Popen(
                command, stdout=output, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
            )
            why = _watch(child, Path(folder) / "now")
        if why is None and child.returncode == 0:
            return dict(json.loads(log.read_text().splitlines()[-1]))
        number, kind = _at(Path(folder) / "now", start)
        bad = Path(folder) / "inputs" / kind
        if bad.is_file():
            keep(Path(arguments.corpus), f"{arguments.seed}-{number}-{kind}", bad.read_bytes())
        finding = f"{number} {kind}: {why or f'the process ended with {child.returncode}'}"
    before = _watched(arguments, start, number) if number > start else _nothing()
    after = _watched(arguments, number + 1, stop) if number + 1 < stop else _nothing()
    counts = Counter(before["counts"]) + Counter(after["counts"]) + Counter({"finding": 1})
    findings = [*before["findings"], finding, *after["findings"]]
    return {"counts": counts, "findings": findings, "peak": max(before["peak"], after["peak"])}


def _nothing() -> dict:
    return {"counts": {}, "findings": [], "peak": 0}


def _watch(child: subprocess.Popen, marker: Path) -> str | None:
    """Waits for a child; kills it if one input takes too long or too much memory, and returns the reason."""
    at, since = "", time.monotonic()
    while child.poll() is None:
        time.sleep(0.2)
        try:
            now = marker.read_text()
            resident = int(Path(f"/proc/{child.pid}/statm").read_text().split()[1]) * resource.getpagesize()
        except (OSError, ValueError, IndexError):
            continue
        if now != at:
            at, since = now, time.monotonic()
        if time.monotonic() - since > 6 * SECONDS or resident > BYTES:  # six times, as the machine may be busy
            child.kill()
            child.wait()
            return "over 2 GiB of memory" if resident > BYTES else f"no end after {6 * SECONDS} s"
    return None


if __name__ == "__main__":
    sys.exit(main())
