"""Pictures written as photographs are."""

import numpy as np
import pytest
from PIL import Image
from skimage.data import astronaut

from lssl.evaluation.measures.two_sample import two_sample_test
from lssl.evaluation.measures.writing import written_like

SIZE = 48


def noise(seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(60, 200, (SIZE, SIZE, 3)).astype(np.uint8)


def smooth(seed: int) -> np.ndarray:
    return np.array(Image.fromarray(noise(seed)[:8, :8]).resize((SIZE, SIZE), Image.Resampling.BICUBIC))


def colour_grain(image: np.ndarray) -> float:
    """How much the colour (red less green) differs between neighbouring pixels."""
    colour = image[..., 0].astype(float) - image[..., 1]
    return float(np.abs(np.diff(colour, axis=1)).mean())


@pytest.mark.parametrize(("subsampling", "kept"), [(0, True), (2, False)])
def test_colour_is_as_fine_as_the_photographs(tmp_path, subsampling, kept):
    path = tmp_path / "photograph.jpg"
    Image.fromarray(noise(0)).save(path, quality=98, subsampling=subsampling)
    image = noise(1)
    share = colour_grain(written_like(image, path)) / colour_grain(image)
    assert (share > 0.9) if kept else (share < 0.6)


def test_what_was_a_jpeg_hardly_changes(tmp_path):
    path = tmp_path / "photograph.jpg"
    Image.fromarray(astronaut()[:256, 128:384]).save(path, quality=90, subsampling=2)
    image = np.array(Image.open(path).convert("RGB"))
    assert np.abs(written_like(image, path).astype(int) - image).mean() < 1


def test_a_grey_jpeg_and_other_formats(tmp_path):
    grey, lossless = tmp_path / "grey.jpg", tmp_path / "photograph.png"
    Image.fromarray(noise(0)[..., 0]).save(grey)
    Image.fromarray(noise(0)).save(lossless)
    assert written_like(noise(1), grey).shape == (SIZE, SIZE, 3)
    assert np.array_equal(written_like(noise(1), lossless), noise(1))


def test_the_two_sample_test_does_not_see_the_format(tmp_path):
    rng = np.random.default_rng(0)
    people = [str(k) for k in range(40)]
    grainy = [np.clip(smooth(k) + rng.normal(0, 6, (SIZE, SIZE, 3)), 0, 255).astype(np.uint8) for k in range(40)]
    path = tmp_path / "photograph.jpg"
    Image.fromarray(grainy[0]).save(path, quality=95, subsampling=2)
    photographs = np.stack([written_like(face, path) for face in grainy[:20]])

    def area(made: list[np.ndarray]) -> float:
        return two_sample_test(
            photographs, np.stack(made), people[:20], people[20:], folds=2, repeats=1, resamples=0
        ).area

    assert area(grainy[20:]) > 0.95
    assert area([written_like(face, path) for face in grainy[20:]]) < 0.75
