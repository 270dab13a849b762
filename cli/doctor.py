"""`lssl doctor`."""

import importlib.metadata
import importlib.util
import json
import platform
import shutil
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import click

_OPS = ("pixel_shuffle_instance_norm", "gradient_penalty", "landmark_heatmap", "rasterize", "interpolate")
_REINSTALL = "pip install --no-build-isolation --force-reinstall --no-deps ."


class Extra(NamedTuple):
    """An optional part of this package: its purpose, the modules that it needs, what pip must install."""

    purpose: str
    modules: tuple[str, ...]
    distributions: str

    def installed(self) -> bool:
        return all(importlib.util.find_spec(module) is not None for module in self.modules)


_EXTRAS = {
    "landmarks": Extra("finding faces", ("dlib", "face_recognition_models"), "dlib-bin face-recognition-models"),
    "demo": Extra("lssl demo", ("starlette", "uvicorn"), "starlette uvicorn"),
    "video": Extra("videos, cameras", ("av",), "av"),
    "export": Extra("ONNX files", ("onnx", "onnxscript", "onnxruntime"), "onnx onnxscript onnxruntime"),
    "tensorboard": Extra("TensorBoard logs", ("tensorboard",), "tensorboard"),
}
_LANDMARKS_LICENCE = (
    "dlib's 68-point file (in face-recognition-models) was trained on iBUG 300-W, whose licence excludes commercial "
    "use: ask Imperial College London, or give your own landmarks (--landmarks)"
)


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def _licences(landmarks: bool) -> dict[str, str]:
    """The licences of lssl, of what comes with it, and of what it uses."""
    import lssl

    licences = {
        "lssl": "Apache 2.0",
        "the ICT face (lssl/face3d)": "MIT, (c) 2020 USC Institute for Creative Technologies",
    }
    for card in sorted((Path(lssl.__file__).parent / "weights").glob("*.md")):
        for line in card.read_text(encoding="utf-8").splitlines():
            if line.startswith("| licence of the weights |"):
                words = line.split("|")[2].strip()
                licences[f"weights: {card.stem}"] = words.replace("above", f"in lssl/weights/{card.name}")
    if landmarks:
        licences["dlib's 68 landmarks"] = _LANDMARKS_LICENCE
    return licences


def diagnose() -> dict[str, Any]:
    """Everything that `lssl doctor` prints, as plain values; `advice` lists what is missing ("lack") and how to fix it."""
    import torch

    from lssl.ops import build_info

    native = build_info()
    gpu = torch.cuda.is_available()
    cuda_kernels = bool(native.get("cuda"))
    backends = {
        op: {
            "cpu": "native" if native["native"] else "reference",
            "cuda": ("native" if cuda_kernels else "reference") if gpu else "no GPU",
        }
        for op in _OPS
    }
    tools = {tool: shutil.which(tool) for tool in ("c++", "ninja", "nvcc")}
    extras = {name: extra.installed() for name, extra in _EXTRAS.items()}
    advice = []
    if not native["native"]:
        advice.append((f"native operators are not loaded: {native['reason']}", _REINSTALL))
        if tools["c++"] is None:
            advice.append(("no C++ compiler is on the PATH", "install g++ 11 or clang 14, or later, then reinstall"))
        if tools["ninja"] is None:
            advice.append(("ninja is not on the PATH", "pip install ninja, then reinstall"))
    if gpu and not cuda_kernels:
        fix = f"LSSL_CUDA=1 {_REINSTALL}"
        if tools["nvcc"] is None:
            fix = f"install the CUDA toolkit {torch.version.cuda} (nvcc on the PATH), then {fix}"
        advice.append(("a GPU is here, but the CUDA kernels were not built", fix))
    if not extras["landmarks"]:
        advice.append(
            ("faces in photographs cannot be found (no dlib)", f"pip install {_EXTRAS['landmarks'].distributions}")
        )
    return {
        "versions": {
            "lssl": _version("lssl"),
            "python": platform.python_version(),
            "platform": platform.platform(),
            **{name: _version(name) for name in ("torch", "numpy", "scikit-image", "trimesh", "dlib-bin")},
        },
        "native": native,
        "gpu": torch.cuda.get_device_name() if gpu else None,
        "threads": torch.get_num_threads(),
        "backends": backends,
        "tools": tools,
        "extras": extras,
        "licences": _licences(extras["landmarks"]),
        "advice": [{"lack": lack, "fix": fix} for lack, fix in advice],
    }


def _section(title: str, rows: list[tuple[str, str]]) -> None:
    click.secho(title, bold=True)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        indent = " " * (width + 4)
        lines = textwrap.wrap(value, max(40, 110 - width), break_long_words=False, break_on_hyphens=False)
        click.echo(f"  {name:{width}}  " + f"\n{indent}".join(lines))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def command(as_json: bool) -> None:
    """Show versions, which backend each operator uses, and how to install whatever is missing.

    \b
    lssl doctor           for people
    lssl doctor --json    for scripts and bug reports
    """
    report = diagnose()
    if as_json:
        click.echo(json.dumps(report, indent=2))
        return
    native = report["native"]
    _section("Versions", [(name, value or "not installed") for name, value in report["versions"].items()])
    _section(
        "Native operators",
        [
            ("library", "loaded" if native["native"] else f"not loaded: {native['reason']}"),
            ("compiler", str(native.get("compiler", "-"))),
            ("SIMD level here", str(native.get("simd", "-"))),
            ("CUDA architectures", str(native.get("cuda_architectures") or "none (CPU build)")),
            ("CPU threads", str(report["threads"])),
            ("GPU", report["gpu"] or "none"),
        ],
    )
    _section(
        "Backends",
        [(op, f"cpu: {uses['cpu']:10} cuda: {uses['cuda']}") for op, uses in report["backends"].items()],
    )
    _section("Tools", [(name, path or "not on the PATH") for name, path in report["tools"].items()])
    width = max(len(extra.purpose) for extra in _EXTRAS.values())
    _section(
        "Extras",
        [
            (
                name,
                f"{extra.purpose:{width}}  {'installed' if report['extras'][name] else 'pip install ' + extra.distributions}",
            )
            for name, extra in _EXTRAS.items()
        ],
    )
    _section("Licences", list(report["licences"].items()))
    if not report["advice"]:
        click.secho("Nothing is missing.", fg="green")
    for entry in report["advice"]:
        click.secho(f"- {entry['lack']}", fg="yellow")
        click.echo(f"  fix: {entry['fix']}")
