"""The BU-3DFE reader on a synthetic scan: half an ellipsoid with a painted face, in the database's own formats."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from lssl.data.prepare import PrepareOptions, prepare
from lssl.data.readers import READERS
from lssl.data.readers.bu3dfe import YAWS, render_scan
from lssl.data.readers.bu3dfe_points import landmarks_68
from lssl.data.readers.vrml import read_vrml
from lssl.errors import LsslError

HALF_WIDTH, HALF_HEIGHT, DEPTH = 75.0, 105.0, 70.0


def surface(x, y):
    inside = np.clip(1 - (np.asarray(x) / HALF_WIDTH) ** 2 - (np.asarray(y) / HALF_HEIGHT) ** 2, 0, None)
    return DEPTH * np.sqrt(inside)


def ring(x0, y0, rx, ry, count):
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    return np.stack([x0 + rx * np.cos(angle), y0 + ry * np.sin(angle)], 1)


def points_83():
    jaw = np.deg2rad(np.linspace(10, -190, 15))
    plane = np.concatenate(
        [
            ring(-30, 30, 12, 5, 8),
            ring(30, 30, 12, 5, 8),
            ring(-30, 48, 18, 3, 10),
            ring(30, 48, 18, 3, 10),
            [[-8, 28], [-12, 5], [-14, -5], [8, 28], [12, 5], [14, -5]],
            np.stack([np.linspace(-12, 12, 6), np.full(6, -14)], 1),
            ring(0, -45, 25, 10, 12),
            ring(0, -45, 15, 3, 8),
            np.stack([65 * np.cos(jaw), 10 + 88 * np.sin(jaw)], 1),
        ]
    )
    return np.concatenate([plane, surface(plane[:, 0], plane[:, 1])[:, None]], 1)


def write_scan(folder, name, *, bmp=True, bnd=True, steps=25):
    folder.mkdir(parents=True, exist_ok=True)
    u, v = np.meshgrid(np.linspace(0, 1, steps), np.linspace(0, 1, steps))
    x, y = (2 * u - 1) * HALF_WIDTH, (2 * v - 1) * HALF_HEIGHT
    vertices = np.stack([x, y, surface(x, y)], -1).reshape(-1, 3)
    vertices[(vertices[:, 2] > 60) & (np.abs(vertices[:, 0]) < 8) & (np.abs(vertices[:, 1] + 4) < 10), 2] += 15
    corner = (np.arange(steps - 1)[:, None] * steps + np.arange(steps - 1)).reshape(-1)
    quads = np.stack([corner, corner + 1, corner + steps + 1, corner + steps], 1)
    lines = ["#VRML V2.0 utf8", "Shape {", f' appearance Appearance {{ texture ImageTexture {{ url "{name}.bmp" }} }}']
    lines += [" geometry IndexedFaceSet {", "  coord Coordinate { point [ # millimetres"]
    lines += [", ".join(" ".join(f"{c:.4f}" for c in row) for row in vertices) + " ] }"]
    lines += ["  coordIndex [", ", ".join(", ".join(map(str, quad)) + ", -1" for quad in quads) + " ]"]
    lines += ["  texCoord TextureCoordinate { point ["]
    lines += [", ".join(f"{a:.5f} {b:.5f}" for a, b in zip(u.reshape(-1), v.reshape(-1), strict=True)) + " ] }"]
    lines += ["  texCoordIndex [", ", ".join(", ".join(map(str, quad)) + ", -1" for quad in quads) + " ]", "} }"]
    (folder / f"{name}.wrl").write_text("\n".join(lines))
    if bnd:
        rows = (f"{k} {a:.4f} {b:.4f} {c:.4f}" for k, (a, b, c) in enumerate(points_83()))
        (folder / f"{name}.bnd").write_text("\n".join(rows))
    if bmp:
        image = Image.new("RGB", (300, 420), (210, 170, 140))
        draw = ImageDraw.Draw(image)

        def paint(points, colour):
            places = [(150 + 2 * a, 210 - 2 * b) for a, b in points]
            draw.polygon(places, fill=colour)

        paint(ring(-30, 30, 12, 5, 30), (0, 0, 255))
        paint(ring(30, 30, 12, 5, 30), (0, 255, 0))
        paint(ring(0, -45, 25, 10, 30), (255, 0, 0))
        image.save(folder / f"{name}.bmp")
    return folder / f"{name}.wrl"


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    root = tmp_path_factory.mktemp("bu3dfe")
    write_scan(root / "F0001", "F0001_AN01WH_F3D")
    write_scan(root / "F0001", "F0001_NE00WH_F3D")
    write_scan(root / "M0044", "M0044_HA04BL_F3D")
    write_scan(root / "M0044", "M0044_SU04BL_F3D", bnd=False)
    write_scan(root / "M0044", "M0044_XX01BL_F3D")
    return root


def test_names_become_attributes_and_yaws(database) -> None:
    listing = READERS["bu3dfe"].scan(database)
    assert len(listing.records) == 3 * 7
    assert {(r.subject, r.columns["expression"], r.columns["intensity"]) for r in listing.records} == {
        ("F0001", "angry", "1"),
        ("F0001", "neutral", "0"),
        ("M0044", "happy", "4"),
    }
    assert sorted({int(r.columns["yaw"]) for r in listing.records}) == list(YAWS)
    reasons = dict(listing.rejected)
    assert reasons["M0044/M0044_SU04BL_F3D.wrl"] == "M0044_SU04BL_F3D.bnd is missing"
    assert "not of the form" in reasons["M0044/M0044_XX01BL_F3D.wrl"]


def test_mesh_and_texture_meet(database) -> None:
    mesh = read_vrml(database / "F0001" / "F0001_NE00WH_F3D.wrl")
    assert mesh.vertices.shape == (625, 3)
    assert mesh.faces.shape == (2 * 24 * 24, 3)
    assert mesh.texture == "F0001_NE00WH_F3D.bmp"


@pytest.mark.parametrize("yaw", YAWS)
def test_landmarks_lie_on_the_painted_parts(database, yaw) -> None:
    loaded = render_scan(database / "F0001" / "F0001_NE00WH_F3D.wrl", yaw)
    points = loaded.landmarks
    assert points is not None

    def colour(point):
        x, y = np.rint(point).astype(int)
        return loaded.image[y, x].astype(int)

    left, right = points[36:42].mean(0), points[42:48].mean(0)
    assert colour(left)[2] > 200 > 120 > colour(left)[0]
    assert colour(right)[1] > 200 > 120 > colour(right)[0]
    assert colour((points[51] + points[57]) / 2)[0] > 200
    assert loaded.image[2, 2].tolist() == [160, 160, 160]
    # a positive yaw turns the face to the picture's right: the nose moves there relative to the eyes
    nose = points[30, 0] - (left[0] + right[0]) / 2
    assert np.sign(np.round(nose)) == np.sign(yaw)


def test_68_landmarks_in_order_whatever_the_order_within_a_group() -> None:
    points = points_83()
    grid = np.stack(np.meshgrid(np.linspace(-60, 60, 121), np.linspace(-90, 90, 181)), -1).reshape(-1, 2)
    vertices = np.concatenate([grid, surface(grid[:, 0], grid[:, 1])[:, None]], 1)
    straight = landmarks_68(points, vertices)
    shuffled = points.copy()
    shuffled[0:8], shuffled[8:16] = points[8:16][::-1], np.roll(points[0:8], 3, 0)
    shuffled[48:60] = np.roll(points[48:60], 5, 0)
    shuffled[68:83] = points[68:83][::-1]
    assert np.allclose(landmarks_68(shuffled, vertices), straight)
    assert straight.shape == (68, 3)
    assert np.all(np.diff(straight[0:17, 0]) > -25)
    assert straight[0, 0] < 0 < straight[16, 0]
    assert np.allclose(straight[36], [-42, 30, straight[36, 2]])
    assert np.allclose(straight[39, 0], -18)
    assert straight[37, 1] > 30 > straight[41, 1]
    assert np.allclose(straight[48, :2], [-25, -45])
    assert np.allclose(straight[54, :2], [25, -45])
    assert straight[51, 1] > straight[62, 1] > straight[66, 1] > straight[57, 1]
    assert np.all(np.diff(straight[27:31, 1]) < 0)
    assert np.abs(straight[27:31, 0]).max() < 3


def test_prepare_renders_the_database(database, tmp_path) -> None:
    options = PrepareOptions(size=48, only={"yaw": ("-30", "0")})
    report = prepare("bu3dfe", database, tmp_path / "out", options)
    assert report.rows == 6
    assert report.attributes == {"expression": ["neutral", "angry", "happy"], "yaw": ["-30", "0"]}
    assert report.left_out["yaw=45"] == 3
    assert len(report.rejected) == 2


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda t: t.replace("#VRML", "#VR"), "not a VRML mesh"),
        (lambda t: t[: len(t) // 8], "truncated"),
        (lambda t: t.replace("texCoordIndex [\n0, 1", "texCoordIndex [\n0, 99999"), "goes beyond its 625 points"),
        (lambda t: t.replace("coord Coordinate", "nothing"), "has no coord"),
    ],
)
def test_a_damaged_mesh_is_named(tmp_path, damage, message) -> None:
    path = write_scan(tmp_path, "F0001_AN01WH_F3D")
    path.write_text(damage(path.read_text()))
    with pytest.raises(LsslError, match=message) as error:
        read_vrml(path)
    assert path.name in str(error.value)


def test_damaged_points_and_texture_are_named(tmp_path) -> None:
    path = write_scan(tmp_path, "F0001_AN01WH_F3D")
    path.with_suffix(".bnd").write_text("0 1 2 3\n")
    with pytest.raises(LsslError, match="has 1 points, expected 83"):
        render_scan(path, 0)
    path = write_scan(tmp_path, "F0001_AN02WH_F3D")
    path.with_suffix(".bmp").write_bytes(b"BM")
    with pytest.raises(ValueError, match=r"AN02WH_F3D.bmp"):
        render_scan(path, 0)
