"""Fits a 3D face model to 68 landmarks: the pose, the person's 3D face, and its picture from the front.

python examples/fit_a_face.py photo.jpg out.png     needs photo.pts beside it, or dlib (pip install 'lssl[landmarks]')
"""

import sys
from pathlib import Path

import torch
from PIL import Image

from lssl.data.portrait import read_portrait
from lssl.face3d import fit_landmarks, render_frontal
from lssl.face3d.embedded import load_embedded_model


def main(photograph: Path, out: Path) -> tuple[float, float]:
    """Writes the frontal face; returns yaw (degrees, positive to the picture's right) and the fit's error (distance of
    the landmarks over that of the eyes; good fits have 0.02 to 0.05)."""
    portrait = read_portrait(photograph)
    model = load_embedded_model()
    fit = fit_landmarks(model, torch.from_numpy(portrait.landmarks)[None])
    face = render_frontal(model, fit, [portrait.image], size=256, background="original")
    Image.fromarray(face.image).save(out)
    return float(fit.camera.yaw[0]), float(fit.error[0])


if __name__ == "__main__":
    yaw, error = main(Path(sys.argv[1]), Path(sys.argv[2]))
    print(f"yaw {yaw:.0f} degrees, error {error:.3f} eye distances; {sys.argv[2]}")
