"""Generates labelled faces and trains a generator on them: what `lssl train` does, in code.

python examples/train.py runs/example     takes minutes on a CPU; pictures are in runs/example/samples
"""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lssl
from lssl.face3d import FaceGenerator, GenerateConfig
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.generated import write_generated
from lssl.methods.run import prepare_run
from lssl.models.export import TrainedGenerator
from lssl.training import TrainConfig


def main(
    out: Path, *, subjects: int = 40, size: int = 64, settings: Mapping[str, Any] | None = None
) -> TrainedGenerator:
    """Trains in the run folder `out`, on faces in `out/faces`; returns the generator.

    settings: changes of the preset, such as {"schedule.iterations": 2000, "losses.parsing": 0}.
    """
    faces = out / "faces"
    wanted = GenerateConfig(subjects=subjects, expressions=("neutral", "happy"), size=size)
    write_generated(faces, FaceGenerator(load_embedded_model(), wanted), model="embedded")
    config = TrainConfig.preset("quick").with_overrides({"data.folder": str(faces), **(settings or {})})
    prepare_run(config, out).train()
    return lssl.load_generator(out)


if __name__ == "__main__":
    generator = main(Path(sys.argv[1]))
    print(f"{sys.argv[1]}/generator.safetensors makes {', '.join(value for _, value in generator.schema.targets())}")
