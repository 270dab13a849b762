"""BU-3DFE (Yin et al. 2006): textured face scans, rendered at the paper's seven yaw angles by lssl.ops."""

import functools
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.data.images import read_image
from lssl.data.readers.bu3dfe_points import POINTS, landmarks_68
from lssl.data.readers.source import EXPRESSIONS, Listing, Loaded, Reader, SourceRecord
from lssl.data.readers.vrml import TexturedMesh, read_vrml
from lssl.errors import LsslError
from lssl.ops import interpolate, rasterize

EXPECTED = "F0001/F0001_AN01WH_F3D.wrl with _F3D.bmp (texture) and _F3D.bnd (83 points) next to it"
ATTRIBUTES = ("expression", "yaw")
#: Degrees; positive turns the face to the picture's right.
YAWS = (-45, -30, -15, 0, 15, 30, 45)
_EMOTIONS = {
    "AN": "anger",
    "DI": "disgust",
    "FE": "fear",
    "HA": "happiness",
    "NE": "neutral",
    "SA": "sadness",
    "SU": "surprise",
}
_SIZE, _OVERSAMPLE = 384, 2
_BACKGROUND = 160


@dataclass(frozen=True)
class ScanRecord(SourceRecord):
    """One scan at one yaw angle; uses the 83 points, not `landmarks` (a `.pts` file)."""

    yaw: int = 0

    def load(self) -> Loaded:
        return render_scan(self.path, self.yaw)

    def without_landmarks(self) -> SourceRecord:
        return replace(self)

    @property
    def needs_detector(self) -> bool:
        return False


def scan(root: Path) -> Listing:
    """Every scan seven times; columns expression, yaw, intensity (0 for neutral, 1 to 4), gender."""
    import re

    if not root.is_dir():
        raise LsslError(f"{root}: no such folder")
    pattern = re.compile(r"(?P<subject>(?P<gender>[FM])\d{4})_(?P<emotion>[A-Z]{2})(?P<level>\d{2})\w*_F3D", re.I)
    meshes = sorted(path for path in root.rglob("*") if path.suffix.lower() == ".wrl")
    listing = Listing()
    for path in meshes:
        match = pattern.fullmatch(path.stem)
        name = path.relative_to(root).as_posix()
        if match is None or match["emotion"].upper() not in _EMOTIONS:
            if not path.stem.upper().endswith("_RAW"):
                listing.rejected.append((name, f"the name is not of the form {EXPECTED.split(' with')[0]}"))
            continue
        missing = [suffix for suffix in (".bmp", ".bnd") if _beside(path, suffix) is None]
        if missing:
            listing.rejected.append((name, f"{path.stem}{missing[0]} is missing"))
            continue
        columns = {
            "expression": EXPRESSIONS[_EMOTIONS[match["emotion"].upper()]],
            "intensity": str(int(match["level"])),
            "gender": {"F": "female", "M": "male"}[match["gender"].upper()],
        }
        subject = match["subject"].upper()
        for yaw in YAWS:
            key = f"{subject}_{columns['expression']}_{columns['intensity']}_{yaw:+03d}"
            listing.records.append(ScanRecord(key, path, subject, {**columns, "yaw": str(yaw)}, yaw=yaw))
    if not listing.records:
        found = f"found {len(meshes)} .wrl files, such as {meshes[0].name}" if meshes else "found no .wrl file"
        why = f" ({listing.rejected[0][1]})" if listing.rejected else ""
        raise LsslError(f"{root}: expected {EXPECTED}; {found}{why}")
    return listing


def render_scan(path: Path, yaw: float, *, size: int = _SIZE) -> Loaded:
    """Renders a scan (size, size, 3) on plain grey at a yaw angle in degrees, and projects its 68 landmarks.

    Weak perspective; the texture is shown as it is, with the light that it was captured in.
    Raises LsslError for a mesh, texture or point file that cannot be used.
    """
    mesh, texture, points = _read_scan(path)
    turn = np.deg2rad(yaw)
    rotation = np.array([[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]])
    centre = points.mean(0)
    eyes = (points[36:42].mean(0), points[42:48].mean(0))
    scale = size / (4.6 * float(np.linalg.norm(eyes[1] - eyes[0])))

    def project(places: NDArray[np.float64], factor: int) -> NDArray[np.float64]:
        turned = (places - centre) @ rotation.T * scale
        x, y = turned[:, 0] + (size - 1) / 2, (size - 1) / 2 - turned[:, 1]
        # Pixel centres at integers: a window `factor` times finer maps p to (p + 0.5) factor - 0.5.
        return np.stack([(x + 0.5) * factor - 0.5, (y + 0.5) * factor - 0.5, -turned[:, 2]], axis=1)

    fine = size * _OVERSAMPLE
    corners = project(mesh.vertices[mesh.faces.reshape(-1)].astype(np.float64), _OVERSAMPLE)
    faces = torch.arange(len(corners), dtype=torch.int32).reshape(-1, 3)
    triangle, barycentric, _ = rasterize(torch.from_numpy(corners).float()[None], faces, fine, fine)
    uv = torch.from_numpy(mesh.uv[mesh.uv_faces.reshape(-1)])[None]
    at = interpolate(triangle, barycentric, faces, uv.float())
    # Texture coordinates 0 and 1 are the picture's edges, v upwards: grid_sample's range with align_corners=False.
    grid = torch.stack([at[..., 0] * 2 - 1, 1 - at[..., 1] * 2], -1)
    colour = torch.nn.functional.grid_sample(texture, grid, align_corners=False, padding_mode="border")
    picture = torch.where((triangle >= 0)[:, None], colour, float(_BACKGROUND))
    picture = torch.nn.functional.avg_pool2d(picture, _OVERSAMPLE)
    pixels = picture[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()
    return Loaded(pixels, project(points, 1)[:, :2].astype(np.float32))


@functools.lru_cache(maxsize=2)
def _read_scan(path: Path) -> tuple[TexturedMesh, torch.Tensor, NDArray[np.float64]]:
    mesh = read_vrml(path)
    texture_path, points_path = _beside(path, ".bmp"), _beside(path, ".bnd")
    if texture_path is None or points_path is None:
        raise LsslError(f"{path.stem}.bmp or .bnd is missing")
    image = read_image(texture_path)
    texture = torch.from_numpy(image).permute(2, 0, 1)[None].float()
    points = _read_points(points_path)
    low, high = mesh.vertices.min(0) - 1, mesh.vertices.max(0) + 1
    if ((points < low) | (points > high)).any(1).mean() > 0.1:
        raise LsslError(f"{points_path}: its points do not lie on the mesh {path.name}")
    return mesh, texture, landmarks_68(points, mesh.vertices.astype(np.float64))


def _read_points(path: Path) -> NDArray[np.float64]:
    """The 83 points (83, 3) of a `.bnd` file: lines "index x y z" (or "x y z")."""
    rows = [line.split() for line in path.read_text(errors="replace").splitlines() if line.strip()]
    try:
        points = np.array([[float(value) for value in row[-3:]] for row in rows])
    except ValueError as error:
        raise LsslError(f"{path}: not a table of numbers ({error})") from None
    if points.shape != (POINTS, 3) or not np.isfinite(points).all():
        raise LsslError(f"{path}: has {len(rows)} points, expected {POINTS} lines of 'index x y z'")
    return points


def _beside(path: Path, suffix: str) -> Path | None:
    for candidate in (path.with_suffix(suffix), path.with_suffix(suffix.upper())):
        if candidate.is_file():
            return candidate
    return None


READER = Reader("bu3dfe", scan, "BU-3DFE, rendered at seven yaw angles", EXPECTED, ATTRIBUTES)
