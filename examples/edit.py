"""Changes the expression in a photograph with an editor, at the photograph's own size.

python examples/edit.py london photo.jpg happy out.png     or 3d, a run folder, a generator's file
"""

import sys
from pathlib import Path

import lssl
from lssl.data.portrait import read_portrait


def main(model: Path, photograph: Path, wanted: str, out: Path) -> None:
    """Writes the photograph with the face changed to `wanted`, such as "happy" or "happy+dark"."""
    landmarks = read_portrait(photograph).landmarks  # of photo.pts next to it, else found by dlib
    lssl.FaceEditor(model).edit(photograph, wanted, landmarks=landmarks).save(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
