"""A photograph, a trained generator and an expression in; the changed photograph out.

python examples/edit.py runs/mine photo.jpg happy out.png
"""

import sys
from pathlib import Path

from PIL import Image

import lssl
from lssl.inference.synthesis import parse_targets, paste_back, read_photograph, source_values, translate_all


def main(model: Path, photograph: Path, wanted: str, out: Path) -> None:
    """Writes the photograph with the face changed to `wanted`, such as "happy" or "happy+dark"."""
    generator = lssl.load_generator(model)
    (target,) = parse_targets(generator.schema, [wanted], [1.0])
    face = read_photograph(photograph, generator, source_values(generator.schema, []))
    ((changed,),) = translate_all(generator, [face], [target])
    Image.fromarray(paste_back(face, changed)).save(out)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4]))
