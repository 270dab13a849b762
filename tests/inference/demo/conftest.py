"""A demo page without networks and dlib: its model paints a square on the face, its detector finds squares."""

import socket
import threading
import time

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lssl.data.detect import Face
from lssl.data.schema import AttributeGroup, AttributeSchema
from lssl.errors import LsslError
from lssl.inference.demo.models import Offer
from lssl.inference.demo.studio import Studio

TOKEN = "a-token"
SKIN = (200, 150, 120)


def face_points(x, y, size):
    """Landmarks (68, 2) of an upright face: jaw, brows, nose, eyes, mouth, roughly where faces have them."""
    t = np.linspace(0, np.pi, 17)
    jaw = np.stack([0.5 - 0.5 * np.cos(t), 0.3 + 0.7 * np.sin(t)], -1)
    brows = [(0.1 + 0.07 * k, 0.2) for k in range(5)] + [(0.6 + 0.07 * k, 0.2) for k in range(5)]
    nose = [(0.5, 0.35 + 0.07 * k) for k in range(4)] + [(0.4 + 0.05 * k, 0.6) for k in range(5)]
    eye = [(-0.07, 0), (-0.03, -0.03), (0.03, -0.03), (0.07, 0), (0.03, 0.03), (-0.03, 0.03)]
    eyes = [(0.28 + a, 0.33 + b) for a, b in eye] + [(0.72 + a, 0.33 + b) for a, b in eye]
    s = 2 * np.pi * np.arange(20) / 20
    mouth = np.stack([0.5 - 0.18 * np.cos(s), 0.77 - 0.06 * np.sin(s)], -1)
    points = np.concatenate([jaw, brows, nose, eyes, mouth])
    return (points * size + [x, y]).astype(np.float32)


def find_squares(image):
    """A face for each skin-coloured square, by its red-green difference."""
    from scipy import ndimage

    skin = np.abs(image.astype(int) - SKIN).max(-1) < 12
    boxes = ndimage.find_objects(ndimage.label(skin)[0])
    faces = []
    for rows, columns in boxes:
        size = columns.stop - columns.start
        if size >= 20:
            points = face_points(columns.start, rows.start, size)
            faces.append(Face((columns.start, rows.start, columns.stop, rows.stop), points, 1.0))
    return sorted(faces, key=lambda face: face.box[0] - face.box[2])


class PaintedEditor:
    """Adds the sliders' values to the colours in the middle of the face."""

    info: dict[str, object] = {}
    schema = AttributeSchema((AttributeGroup("expression", ("neutral", "happy", "sad")),))
    delay = 0.0

    def open(self, image, *, source=None, landmarks=None, quick=False):
        editor = self
        pixels = np.asarray(image.convert("RGB") if isinstance(image, Image.Image) else image)

        class Opened:
            def edited_pixels(self, to):
                for word in to:
                    if not editor.schema.knows(word):
                        raise LsslError(f"no attribute value '{word}'")
                time.sleep(editor.delay)
                low, high = landmarks.min(0).astype(int), landmarks.max(0).astype(int)
                third = (high - low) // 3
                made = pixels.copy()
                made[low[1] + third[1] : high[1] - third[1], low[0] + third[0] : high[0] - third[0]] = [
                    int(150 * to.get("happy", 0)),
                    int(150 * to.get("sad", 0)),
                    90,
                ]
                return made if to else pixels.copy()

            def edit(self, to):
                made = Image.fromarray(self.edited_pixels(to))
                made.info = dict(getattr(image, "info", {}))
                return made

        return Opened()


@pytest.fixture
def editor():
    return PaintedEditor()


@pytest.fixture
def studio(editor):
    offers = [
        Offer("plain", "Plain", "Paints a square.", lambda: editor),
        Offer("other", "Other", "Paints one, too.", lambda: editor),
    ]
    return Studio(offers, find_squares)


@pytest.fixture
def served(studio):
    """Serves a page within the `with` block; gives its address (host, port)."""
    pytest.importorskip("starlette", reason="pip install 'lssl[demo]'")
    uvicorn = pytest.importorskip("uvicorn", reason="pip install 'lssl[demo]'")
    from lssl.inference.demo.server import make_app

    listening = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(make_app(studio, TOKEN), log_level="error", ws="none", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield listening.getsockname()[:2]
    server.should_exit = True
    thread.join(10)
    listening.close()


def portrait(width=300, height=240, boxes=((100, 60, 90),)):
    """A picture with a skin-coloured square for each (x, y, size)."""
    picture = Image.new("RGB", (width, height), (60, 90, 130))
    for x, y, size in boxes:
        ImageDraw.Draw(picture).rectangle((x, y, x + size - 1, y + size - 1), fill=SKIN)
    return picture
