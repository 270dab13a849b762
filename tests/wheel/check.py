"""Checks a wheel as its users have it: a fresh environment, no compiler, no repository. Minutes; `make wheel` runs it.

    python tests/wheel/check.py dist/lssl-*.whl                                 with the torch of constraints.txt
    python tests/wheel/check.py dist/lssl-*.whl --python python3.13 --torch torch==2.12.0

Edits scikit-image's astronaut by both built-in editors, from the command line and from Python, turns it to the front,
runs every operator against its reference, exports both generators, and uses the page of `lssl demo`. --keep FOLDER leaves
the environment and the pictures there.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

ROOT = Path(__file__).parents[2]
COMPILERS = ("c++", "g++", "gcc", "cc", "clang", "ninja", "nvcc")
PICTURE = """
import skimage.data, skimage.io
skimage.io.imsave("astronaut.png", skimage.data.astronaut())
"""
CHANGED = """
import sys
import numpy as np
from PIL import Image
before, after = (np.asarray(Image.open(path).convert("RGB"), dtype=int) for path in ("astronaut.png", sys.argv[1]))
assert before.shape == after.shape, (before.shape, after.shape)
share = (before != after).any(-1).mean()
assert 0 < share < 0.3, f"{share:.2%} of the pixels changed"
print(f"{share:.2%} of the pixels changed")
"""
FRONT_DOOR = """
from PIL import Image
import lssl
photograph = lssl.FaceEditor("london").open("astronaut.png", source="happy")
photograph.edit({"neutral": 0.5}).save("front_door.png")
assert lssl.frontal(Image.open("astronaut.png"), size=128).size == (128, 128)
editor = lssl.FaceEditor("generated")
editor.save_pretrained("copy")
assert lssl.FaceEditor.from_pretrained("copy").attributes == editor.attributes
"""


class Installed:
    """An environment that holds the wheel and its dependencies only."""

    def __init__(self, folder: Path, python: str) -> None:
        self.folder, self.bin = folder, folder / "venv" / "bin"
        subprocess.run([python, "-m", "venv", str(folder / "venv")], check=True)
        settings = {k: v for k, v in os.environ.items() if not k.startswith(("LSSL_", "PYTHON"))}
        self.environment = {**settings, "PATH": str(self.bin)}
        (folder / "work").mkdir()

    def run(self, *command: str) -> str:
        """Runs a program of the environment in an empty folder, says how long it took, returns what it printed."""
        begin = time.perf_counter()
        result = subprocess.run(
            [str(self.bin / command[0]), *command[1:]],
            cwd=self.folder / "work",
            env=self.environment,
            capture_output=True,
            text=True,
        )
        shown = " ".join(word if "\n" not in word else "..." for word in command)
        print(f"{time.perf_counter() - begin:6.1f} s  {shown}", flush=True)
        if result.returncode:
            sys.exit(f"{shown} failed ({result.returncode}):\n{result.stdout[-3000:]}\n{result.stderr[-3000:]}")
        return result.stdout


def install(installed: Installed, *what: str, torch: str | None) -> None:
    """With the versions of constraints.txt, unless a torch was asked for, which may be outside of them."""
    constraints = [] if torch else ["-c", str(ROOT / "constraints.txt")]
    installed.run("pip", "install", "--quiet", *constraints, *what)


def check(installed: Installed) -> None:
    found = [name for name in COMPILERS if shutil.which(name, path=str(installed.bin))]
    assert not found, f"the environment has {found}, so it does not show that none is needed"
    report = json.loads(installed.run("lssl", "doctor", "--json"))
    assert report["native"]["native"], report["native"]["reason"]
    where = installed.run(
        "python", "-c", "import lssl, importlib.util as i; print(lssl.__file__, i.find_spec('lssl._C'))"
    )
    assert str(installed.folder) in where, f"lssl comes from {where}"
    print(f"          {report['versions']}, SIMD {report['native']['simd']}")

    shutil.copy(ROOT / "benchmarks" / "every_operator.py", installed.folder / "work")
    installed.run("python", "every_operator.py", "--device", "cpu", "--few")
    installed.run("python", "-c", PICTURE)
    for editor, target in (("3d", "surprised"), ("london", "happy")):
        installed.run("lssl", "synthesize", editor, "astronaut.png", "--to", target, "-o", f"by-{editor}")
        print("         ", installed.run("python", "-c", CHANGED, f"by-{editor}/astronaut_{target}.png").strip())
    installed.run("lssl", "render-frontal", "astronaut.png", "-o", "frontal")
    assert (installed.folder / "work" / "frontal" / "images" / "astronaut.png").exists(), "render-frontal wrote nothing"
    installed.run("python", "-c", FRONT_DOOR)
    print("         ", installed.run("python", "-c", CHANGED, "front_door.png").strip())
    installed.run("lssl", "export", "generated", "--pt2")


def check_extras(installed: Installed) -> None:
    """What needs an extra: ONNX, and the page."""
    print("         ", installed.run("lssl", "export", "london", "--onnx").splitlines()[0])
    begin = time.perf_counter()
    program = subprocess.Popen(
        [str(installed.bin / "lssl"), "demo", "--no-browser"],
        cwd=installed.folder / "work",
        env={**installed.environment, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert program.stdout is not None
        address = program.stdout.readline().split()[0]
        drawn = use_page(address.rstrip("/"), (installed.folder / "work" / "astronaut.png").read_bytes())
    finally:
        program.terminate()
        program.wait(20)
    print(
        f"{time.perf_counter() - begin:6.1f} s  lssl demo: a photograph given to {address}, a change of {drawn} bytes"
    )


def use_page(address: str, photograph: bytes) -> int:
    """Does what the page does with a photograph and a slider; returns the size of the changed part."""

    def ask(path: str, data: bytes | None = None) -> bytes:
        asked = urllib.request.Request(address + path, data, {"X-LSSL-Token": token} if token else {})
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked, timeout=120) as answer:
            return bytes(answer.read())

    token = ""
    found = re.search(r'name="token" content="([^"]+)"', ask("/").decode())
    assert found, "the page has no token"
    token = found[1]
    opened = json.loads(ask("/api/photographs", photograph))
    wish = {"id": opened["id"], "face": 0, "view": None, "model": "london", "values": {"happy": 1}, "page": "check"}
    changed = ask("/api/edit", json.dumps(wish).encode())
    assert changed.startswith(b"\x89PNG"), "the page's server sent no picture"
    return len(changed)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("wheel", type=Path)
    parser.add_argument("--python", default=sys.executable, help="the Python of the environment")
    parser.add_argument("--torch", help="what pip installs first, such as torch==2.12.0")
    parser.add_argument("--keep", type=Path, help="make the environment here, and leave it")
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as temporary:
        installed = Installed((options.keep or Path(temporary)).resolve(), options.python)
        install(
            installed, options.torch or "torch", torch=options.torch
        )  # alone: it decides which build of itself comes
        install(installed, f"{options.wheel.resolve()}[landmarks]", torch=options.torch)
        check(installed)
        install(installed, f"{options.wheel.resolve()}[export,demo]", torch=options.torch)
        check_extras(installed)
    print(f"{options.wheel.name}: {options.wheel.stat().st_size / 1e6:.1f} MB, works")


if __name__ == "__main__":
    main()
