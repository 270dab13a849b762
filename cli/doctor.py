"""`lssl doctor`."""

import importlib.metadata
import importlib.util
import json
import platform
import shutil
from typing import Any

import click

_OPS = ("pixel_shuffle_instance_norm", "gradient_penalty", "landmark_heatmap", "rasterize", "interpolate")
_REINSTALL = "pip install --no-build-isolation --force-reinstall --no-deps ."


def _version(distribution: str) -> str | None:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def diagnose() -> dict[str, Any]:
    """Everything that `lssl doctor` prints, as plain values; `advice` lists (what is lacking, what to do)."""
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
    extras = {
        "landmarks (dlib-bin, face-recognition-models)": bool(
            importlib.util.find_spec("dlib") and importlib.util.find_spec("face_recognition_models")
        ),
        "tensorboard": importlib.util.find_spec("tensorboard") is not None,
    }
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
    if not extras["landmarks (dlib-bin, face-recognition-models)"]:
        advice.append(
            (
                "faces in raw photographs cannot be found (no dlib)",
                "pip install --no-build-isolation 'lssl[landmarks]'",
            )
        )
    if not extras["tensorboard"]:
        advice.append(("no TensorBoard logs (metrics.jsonl is always written)", "pip install tensorboard"))
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
        "advice": [{"lack": lack, "fix": fix} for lack, fix in advice],
    }


def _section(title: str, rows: list[tuple[str, str]]) -> None:
    click.secho(title, bold=True)
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        click.echo(f"  {name:{width}}  {value}")


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead of text.")
def command(as_json: bool) -> None:
    """Show versions, which backend each operator uses, and what to do about each lack.

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
    _section(
        "Extras",
        [(name, "installed" if there else "not installed") for name, there in report["extras"].items()],
    )
    if not report["advice"]:
        click.secho("Nothing is lacking.", fg="green")
    for entry in report["advice"]:
        click.secho(f"- {entry['lack']}", fg="yellow")
        click.echo(f"  fix: {entry['fix']}")
