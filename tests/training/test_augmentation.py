"""Random small moves: how strong they are for how many faces."""

import pytest

from lssl.methods.run import prepare_run
from lssl.training.augmentation import strength_for


@pytest.mark.parametrize(
    ("faces", "jitter", "jitter_reference_faces", "strength"),
    [
        (640, 0.4, 640, 0.4),
        (5000, 0.4, 640, 0.4),
        (80, 0.4, 640, 0.8),
        (8, 0.4, 640, 1.0),  # never beyond what was tried
        (8, 0.4, 0, 0.4),
        (8, 0.0, 640, 0.0),  # none asked for
        (8, 1.5, 640, 1.5),
    ],
)
def test_few_faces_are_moved_more(faces, jitter, jitter_reference_faces, strength):
    assert strength_for(faces, jitter, jitter_reference_faces) == pytest.approx(strength)


def test_a_run_moves_its_faces_by_how_many_they_are(config, tmp_path, capsys):
    few = config.with_overrides(
        {"data.jitter": 0.3, "data.jitter_reference_faces": 128}
    )  # 16 training faces: twice 0.3
    told = config.with_overrides({"data.jitter": 0.6})
    batches = []
    for name, settings in {"few": few, "told": told, "as it is": config.with_overrides({"data.jitter": 0.3})}.items():
        loop = prepare_run(settings, tmp_path / name)
        batches.append(loop.method.batch(loop.method.draw(0)).image)
    assert batches[0].sub(batches[1]).abs().max() < 1e-4
    assert batches[0].sub(batches[2]).abs().max() > 0.01
    said = capsys.readouterr().out
    assert said.count("Only 16 faces to learn from: random moves of strength 0.60 instead of 0.3") == 1
