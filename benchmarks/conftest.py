"""The harness of the benchmarks: one `compare(...)` per case times every variant on the same inputs, in turns.

    pytest --benchmark                                  all of benchmarks/bench_*.py
    pytest --benchmark benchmarks/bench_x.py -k forward one file, some cases
    pytest --benchmark --benchmark-full                 paper-size cases too
    pytest --benchmark --benchmark-write                and put the tables into benchmarks/RESULTS.md

A benchmark is a test function in benchmarks/bench_<subject>.py:

    @pytest.mark.parametrize("shape", [(8, 68), (64, 68)], ids=str)
    def test_heatmap(compare, device, full, shape):
        compare(
            "landmark_heatmap max",                    # the operator, and what is done with it
            shape=shape, dtype=torch.float32, device=device,
            inputs=lambda: (torch.rand(*shape, 2, device=device),),
            native=lambda x: ops.landmark_heatmap(x, 128, 128, 3.0),
            eager=lambda x: reference.landmark_heatmap(x, 128, 128, 3.0),
            floor=lambda x: output.fill_(1.0),
        )

`inputs` is called until its tensors outgrow the caches; calls rotate through these sets. `eager` and `floor` are
optional. The compiled variant is `torch.compile(eager)`: `compiled=False` leaves it out, a callable replaces it; one
that fails to compile is shown as "refused". Further keyword arguments are further variants (`graph=...`): they go to
pytest-benchmark's table and into the row's note, as does `note="..."`. `seconds` limits the sampling of a case.
Variants run one after another within a round, so a slow moment of the machine affects them all; the ratios are medians,
over rounds, of the ratio within the round.

On CUDA a case has two rows. `call` is what a Python program sees: the time between two events around calls made one
after another, which for small tensors is Python and dispatch. `graph` is the kernels alone: the same calls, on
rotating inputs and each with its own output, captured in one CUDA graph. `graphs=False` leaves that row out; a
variant named in `uncaptured` (for example because it waits for the device) is left out of it.

    pytest --benchmark --benchmark-prepare -n 6         only compiles the references into the caches

Fixtures: `compare`; `device` ("cpu", or "cuda", which is skipped without a GPU); `full` (True with --benchmark-full).
"""

import datetime
import gc
import os
import platform
import re
import shlex
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

RESULTS = Path(__file__).parent / "RESULTS.md"
COLUMNS = ("native", "eager", "compiled", "floor")
# Past the last-level cache of most CPUs and the L2 of an H200 (50 MB).
ROTATED_BYTES = 96 * 2**20
SAMPLE_SECONDS = {"cpu": 1e-3, "cuda": 5e-4}
CAPTURED_CALLS = 48


@dataclass
class Row:
    """One case's figures: seconds per call, for each variant and round."""

    subject: str
    op: str
    shape: str
    dtype: str
    device: str
    timed: str  # "call", "graph", or "log" (times from a run's own log)
    samples: dict[str, list[float]]
    refused: dict[str, str] = field(default_factory=dict)
    note: str = ""

    def seconds(self, variant: str) -> str:
        if variant in self.refused:
            return "refused"
        return format_seconds(statistics.median(self.samples[variant])) if variant in self.samples else "-"

    def ratio(self, slow: str, fast: str) -> str:
        if slow not in self.samples or fast not in self.samples:
            return "-"
        paired = zip(self.samples[slow], self.samples[fast], strict=True)
        return f"{statistics.median(a / b for a, b in paired):.2f}x"

    def cells(self) -> list[str]:
        extra = [
            f"{name} {self.seconds(name)} ({self.ratio(name, 'native')} native)"
            for name in self.samples
            if name not in COLUMNS
        ]
        note = "; ".join(text for text in [self.note, *extra] if text)
        times = [self.seconds(name) for name in COLUMNS]
        ratios = [self.ratio("eager", "native"), self.ratio("compiled", "native"), self.ratio("native", "floor")]
        return [self.op, self.shape, self.dtype, self.device, self.timed, *times, *ratios, note]


HEADER = [
    "op",
    "shape",
    "dtype",
    "device",
    "timed",
    *COLUMNS,
    "eager/native",
    "compiled/native",
    "native/floor",
    "note",
]
ROWS = pytest.StashKey[list[Row]]()


def format_seconds(seconds: float) -> str:
    for unit, scale in (("s", 1.0), ("ms", 1e3), ("us", 1e6)):
        if seconds * scale >= 1:
            return f"{seconds * scale:.3g} {unit}"
    return f"{seconds * 1e9:.3g} ns"


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


@pytest.fixture
def full(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("benchmark_full"))


def tensor_bytes(values: Any) -> int:
    if isinstance(values, torch.Tensor):
        return values.numel() * values.element_size()
    return sum(map(tensor_bytes, values)) if isinstance(values, tuple | list) else 0


def rotation(inputs: Callable[[], tuple], longest: int = 64) -> list[tuple]:
    first = inputs()
    copies = min(longest, ROTATED_BYTES // max(tensor_bytes(first), 1) + 1)
    return [first, *(inputs() for _ in range(copies - 1))]


class Timed:
    """A variant with its position in the rotation and its number of calls per sample."""

    def __init__(self, call: Callable[..., Any], sets: list[tuple], device: str) -> None:
        self.call, self.sets, self.device = call, sets, device
        self.position = 0
        self.iterations = 1

    def run(self) -> None:
        for _ in range(self.iterations):
            self.call(*self.sets[self.position])
            self.position = (self.position + 1) % len(self.sets)

    def sample(self) -> float:
        """Takes one sample: seconds per call."""
        if self.device == "cpu":
            start = time.perf_counter()
            self.run()
            return (time.perf_counter() - start) / self.iterations
        begin, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        torch.cuda.synchronize()
        begin.record()
        self.run()
        end.record()
        torch.cuda.synchronize()
        return begin.elapsed_time(end) * 1e-3 / self.iterations

    def calibrate(self) -> float:
        """Warms up and chooses the number of calls per sample; returns the expected seconds per sample."""
        seconds = min(self.sample() for _ in range(3))
        self.iterations = max(1, min(1000, round(SAMPLE_SECONDS[self.device] / max(seconds, 1e-9))))
        return seconds * self.iterations


class Captured(Timed):
    """A variant's calls in one CUDA graph: the time that the device needs for them, without Python and dispatch."""

    def __init__(self, call: Callable[..., Any], sets: list[tuple], seconds: float) -> None:
        super().__init__(call, sets, "cuda")
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for inputs in sets[:3]:
                call(*inputs)
        torch.cuda.current_stream().wait_stream(stream)
        self.iterations = max(4, min(CAPTURED_CALLS, round(2e-3 / max(seconds, 1e-9))))
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph):
            # Kept, so that no call writes where the one before did, which may still be in the cache.
            self.outputs = [call(*sets[i % len(sets)]) for i in range(self.iterations)]

    def run(self) -> None:
        self.graph.replay()

    def calibrate(self) -> float:
        return min(self.sample() for _ in range(3)) * self.iterations


def captured(variants: dict[str, Timed], leave_out: tuple[str, ...]) -> tuple[dict[str, Timed], dict[str, str]]:
    """(the variants captured in graphs, why others could not be captured)."""
    graphs: dict[str, Timed] = {}
    refused: dict[str, str] = {}
    for name, variant in variants.items():
        if name in leave_out:
            continue
        try:
            graphs[name] = Captured(variant.call, variant.sets, variant.sample())
        except Exception as error:
            refused[name] = first_line(error)
    return graphs, refused


def first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0][:80] if str(error).strip() else type(error).__name__


def measure(variants: dict[str, Timed], seconds: float) -> dict[str, list[float]]:
    expected = sum(variant.calibrate() for variant in variants.values())
    rounds = max(5, min(200, int(seconds / max(expected, 1e-9))))
    samples: dict[str, list[float]] = {name: [] for name in variants}
    gc.collect()
    gc.disable()
    try:
        for _ in range(rounds):
            for name, variant in variants.items():
                samples[name].append(variant.sample())
    finally:
        gc.enable()
    return samples


def compile_reference(eager: Callable[..., Any], example: tuple) -> tuple[Callable[..., Any] | None, str]:
    """Returns (the compiled callable, "") or (None, why torch.compile fails)."""
    torch.compiler.reset()
    compiled = torch.compile(eager, dynamic=False)
    try:
        compiled(*example)
    except Exception as error:
        return None, first_line(error)
    return compiled, ""


@pytest.fixture
def compare(request: pytest.FixtureRequest, benchmark: Any, full: bool) -> Callable[..., Row]:
    def run(
        op: str,
        *,
        shape: tuple[int, ...] | str,
        dtype: torch.dtype,
        device: str,
        inputs: Callable[[], tuple],
        native: Callable[..., Any],
        eager: Callable[..., Any] | None = None,
        floor: Callable[..., Any] | None = None,
        compiled: bool | Callable[..., Any] = True,
        seconds: float | None = None,
        note: str = "",
        graphs: bool = True,
        uncaptured: tuple[str, ...] = (),
        **others: Callable[..., Any],
    ) -> Row:
        torch.manual_seed(0)
        sets = rotation(inputs)
        refused: dict[str, str] = {}
        calls: dict[str, Callable[..., Any] | None] = {"native": native, "eager": eager}
        if callable(compiled):
            calls["compiled"] = compiled
        elif compiled and eager is not None:
            calls["compiled"], why = compile_reference(eager, sets[0])
            if why:
                refused["compiled"] = why
                note = "; ".join(text for text in (note, f"torch.compile: {why}") if text)
        if request.config.getoption("benchmark_prepare"):
            if callable(compiled):
                compiled(*sets[0])
            pytest.skip("compiled, not timed")
        calls |= {"floor": floor, **others}
        variants = {name: Timed(call, sets, device) for name, call in calls.items() if call is not None}
        limit = request.config.getoption("benchmark_seconds") or (4.0 if full else 1.0)
        samples = measure(variants, seconds or limit)
        shape_text = shape if isinstance(shape, str) else "x".join(map(str, shape))
        dtype_text = str(dtype).removeprefix("torch.")
        subject = Path(request.node.path).stem.removeprefix("bench_")
        row = Row(subject, op, shape_text, dtype_text, device, "call", samples, refused, note)
        rows = request.config.stash.setdefault(ROWS, [])
        rows.append(row)
        report(benchmark, row, {name: variant.iterations for name, variant in variants.items()})
        if device == "cuda" and graphs:
            in_graphs, not_captured = captured(variants, uncaptured)
            samples = measure(in_graphs, seconds or limit)
            rows.append(Row(subject, op, shape_text, dtype_text, device, "graph", samples, refused | not_captured))
            report(benchmark, rows[-1], {name: variant.iterations for name, variant in in_graphs.items()})
            del in_graphs
            torch.cuda.empty_cache()
        return row

    return run


@pytest.fixture
def record(request: pytest.FixtureRequest, benchmark: Any) -> Callable[..., Row]:
    """For programs that measure their own time: adds given samples (a list of seconds per variant) to the tables."""

    def run(op: str, *, shape: str, dtype: torch.dtype, device: str, samples: dict, note: str = "") -> Row:
        subject = Path(request.node.path).stem.removeprefix("bench_")
        row = Row(subject, op, shape, str(dtype).removeprefix("torch."), device, "log", samples, note=note)
        request.config.stash.setdefault(ROWS, []).append(row)
        report(benchmark, row, dict.fromkeys(samples, 1))
        return row

    return run


def report(benchmark: Any, row: Row, iterations: dict[str, int]) -> None:
    """Hands every variant's samples to pytest-benchmark, as one group.

    pytest-benchmark measures one callable per test and cannot interleave several, so the samples are put into the
    statistics object that its own `pedantic` would fill.
    """
    benchmark.group = f"{row.op} {row.shape} {row.dtype} {row.device} {row.timed}"
    benchmark._mode = "interleaved"
    test = benchmark.name
    for variant, samples in row.samples.items():
        benchmark.name = f"{variant} ({test})"
        stats = benchmark._make_stats(iterations[variant])
        for sample in samples:
            stats.update(sample * iterations[variant])


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    rows = config.stash.get(ROWS, [])
    if not rows:
        return
    terminalreporter.section("speed: native against its reference")
    for line in table(rows):
        terminalreporter.write_line(line)
    if config.getoption("benchmark_write"):
        write_results(rows)
        terminalreporter.write_line(f"written to {RESULTS}")


def table(rows: list[Row]) -> list[str]:
    """A Markdown table, padded so that its columns line up in a terminal."""
    lines = [HEADER, *(row.cells() for row in rows)]
    if not any(line[-1] for line in lines[1:]):
        lines = [line[:-1] for line in lines]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    text = ["| " + " | ".join(cell.ljust(w) for cell, w in zip(line, widths, strict=True)) + " |" for line in lines]
    return [text[0], "|" + "|".join("-" * (w + 2) for w in widths) + "|", *text[1:]]


def machine_kind(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    model = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists() and (found := re.search(r"model name\s*:\s*(.+)", cpuinfo.read_text())):
        model = found.group(1)
    level = torch.backends.cpu.get_cpu_capability()
    return f"{model} ({level}), {torch.get_num_threads()} of {os.cpu_count()} cores"


def sections(text: str, mark: str) -> Iterator[tuple[str, str]]:
    """Splits Markdown at headings of one level: (heading, body) pairs; the text before the first has heading ""."""
    parts = re.split(rf"^{mark} (.+)\n", text, flags=re.MULTILINE)
    yield "", parts[0]
    yield from zip(parts[1::2], parts[2::2], strict=True)


def write_results(rows: list[Row]) -> None:
    """Replaces, in RESULTS.md, the tables of this kind of machine for the subjects that were run."""
    intro = "# Speed\n\nOnly the ratios are claims; times differ from machine to machine.\n\n"
    text = RESULTS.read_text() if RESULTS.exists() else intro
    machines = dict(sections(text, "##"))
    command = shlex.join(["pytest", *sys.argv[1:]])
    for device in dict.fromkeys(row.device for row in rows):
        kind = machine_kind(device)
        subjects = dict(sections(machines.get(kind, "\n"), "###"))
        for subject in dict.fromkeys(row.subject for row in rows if row.device == device):
            made = f"{datetime.date.today()}, torch {torch.__version__}, `{command}`"
            body = table([row for row in rows if row.device == device and row.subject == subject])
            subjects[subject] = "\n".join(["", made, "", *body, "", ""])
        machines[kind] = "".join(f"### {name}\n{body}" if name else body for name, body in subjects.items())
    RESULTS.write_text("".join(f"## {name}\n{body}" if name else body for name, body in machines.items()))
