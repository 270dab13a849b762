"""The inside of an opening mouth: the model's teeth and tongue in roughly the photograph's light."""

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from skimage.draw import polygon

from lssl.face3d.editing.flow import Array, Drawn, Window, smooth_step
from lssl.face3d.editing.lips import MouthFrame, opening_share
from lssl.face3d.editing.movement import Movement
from lssl.face3d.editing.surface import MOUTH_PARTS
from lssl.face3d.model.topology import Part
from lssl.face3d.scene.render import GAMMA
from lssl.ops import interpolate, rasterize

_LUMA = np.array([0.299, 0.587, 0.114])
_CHEEKS = ([1, 2, 3, 31, 40, 41], [15, 14, 13, 35, 47, 46])
# Linear luminance of teeth, a * skin ** b: the median of 46 open smiles of the Face Research Lab London Set (skin 0.05
# to 0.45; teeth are about as bright with dark skin as with fair), and their colour over their luminance.
_TEETH = (0.80, 0.40)
_TEETH_COLOUR = np.array([1.11, 0.965, 0.885])
_SKIN_COLOUR = np.array([1.5, 0.89, 0.68])  # of the same faces: a difference from it is the colour of the light
_GUMS = np.array([0.50, 0.17, 0.16])
_DEEP = np.array([0.05, 0.012, 0.012])
_GUM = 0.08  # distances between the eyes' centres over the upper teeth
_DEPTH = 1.9  # centimetres behind the front teeth at which it is dark
_LIGHT = np.array([0.0, 0.3, 0.954])
_EXPOSED = 1.3  # teeth are seen at an angle and through the lips' shadow; their brightest part has the colour above
_SHARP = 200.0  # samples between the eyes to draw with, if the window has fewer; at most three per window sample


def white_of_teeth(image: NDArray[np.uint8], landmarks: NDArray[np.floating], frame: MouthFrame) -> Array:
    """Linear colour (3,) of the teeth in a photograph (H, W, 3): of what is bright between parted lips, or else what
    teeth usually have with skin like that of its cheeks."""
    skin = _median_skin(image, landmarks)
    if not frame.closed and (shown := _shown_teeth(image, landmarks, float(skin @ _LUMA))) is not None:
        return shown
    bright = max(float(skin @ _LUMA), 1e-3)
    tint = (skin / bright / _SKIN_COLOUR) ** 0.15
    level = _TEETH[0] * bright ** _TEETH[1]
    return (min(level, 0.75) * _TEETH_COLOUR * tint).astype(np.float32)


def _median_skin(image: NDArray[np.uint8], landmarks: NDArray[np.floating]) -> NDArray[np.float64]:
    cheeks = [image[polygon(landmarks[rows, 1], landmarks[rows, 0], image.shape[:2])] for rows in _CHEEKS]
    pixels = np.concatenate(cheeks)
    if len(pixels) == 0:
        return 0.2 * _SKIN_COLOUR
    return np.median((pixels / 255.0) ** GAMMA, 0)


def _shown_teeth(image: NDArray[np.uint8], landmarks: NDArray[np.floating], skin: float) -> Array | None:
    """Median linear colour of the teeth between the inner lips; None if nothing there is pale and bright enough."""
    y, x = polygon(landmarks[60:68, 1], landmarks[60:68, 0], image.shape[:2])
    pixels = (image[y, x] / 255.0) ** GAMMA
    bright = pixels @ _LUMA
    pale = pixels[:, 0] < 1.9 * pixels[:, 1] + 0.02  # lips and tongue are red
    if pale.sum() < 20 or (level := float(np.percentile(bright[pale], 80))) < max(0.05, 1.1 * skin):
        return None
    return np.median(pixels[pale & (bright >= 0.8 * level)], 0).astype(np.float32)


def mouth_inside(movement: Movement, drawn: Drawn, white: Array, frame: MouthFrame) -> tuple[Array, Array, Array]:
    """Encoded colours (h, w, 3), 0 to 255, of the mouth's inside as it is drawn, its share (h, w) of each sample, and the
    part (h, w) of that share that shows the photograph instead: teeth that can be seen are kept, and do not move."""
    window = drawn.window
    colours, share = np.zeros((*drawn.mouth.shape, 3), np.float32), np.zeros(drawn.mouth.shape, np.float32)
    kept = np.zeros_like(share)
    if not drawn.mouth.any():
        return colours, share, kept
    rows, columns = (slice(max(k.min() - 4, 0), k.max() + 5) for k in np.nonzero(drawn.mouth))
    inside = drawn.mouth[rows, columns]
    pixels = window.shape[1] / window.width
    unit = movement.placed.unit * pixels  # samples
    sharp = max(1, min(3, round(_SHARP / max(unit, 1.0))))
    piece = Window(columns.start, rows.start, inside.shape[1], inside.shape[0], sharp)
    shade = _radiance(movement, window, piece, white)
    shade *= _shadow_of_lips(inside, unit, sharp)[..., None]
    shade = np.stack([ndimage.gaussian_filter(shade[..., k], 0.005 * unit * sharp + 0.3) for k in range(3)], -1)
    shade = shade.reshape(inside.shape[0], sharp, inside.shape[1], sharp, 3).mean((1, 3))
    colours[rows, columns] = 255 * shade.clip(0, 1) ** (1 / GAMMA)
    kept[rows, columns] = opening_share(frame, window.places()[rows, columns], movement.placed.unit)
    # A gap too thin to see into is the line between the lips, which the photograph has already.
    soft = ndimage.gaussian_filter(_opening(movement, window, piece), 0.006 * unit + 0.1)
    share[rows, columns] = smooth_step((soft - 0.2) / 0.6)
    return colours, share, kept


def _opening(movement: Movement, window: Window, piece: Window) -> Array:
    """The share (h, w) of each sample of the window's piece through which the mouth's inside is seen."""
    face = movement.placed.face
    triangle, _, _ = rasterize(piece.samples(window.samples(movement.after))[None], face.faces, *piece.shape)
    part = np.append(face.face_parts.astype(np.int16), -1)[triangle[0].numpy()]
    sharp = int(piece.scale)
    fine = np.isin(part, MOUTH_PARTS).reshape(piece.height, sharp, piece.width, sharp)
    return fine.mean((1, 3)).astype(np.float32)


def _radiance(movement: Movement, window: Window, piece: Window, white: Array) -> Array:
    """Linear colours (h, w, 3) of teeth, gums and tongue alone, with nothing in front, in samples of `piece`."""
    face = movement.placed.face
    kept = np.isin(face.face_parts, MOUTH_PARTS)
    faces = face.faces[torch.from_numpy(kept)].contiguous()
    after = piece.samples(window.samples(movement.after))
    triangle, barycentric, _ = rasterize(after[None], faces, *piece.shape)
    normals = face.normals(movement.vertices_after) @ movement.placed.camera.rotation[0].T
    teeth = torch.from_numpy(face.vertex_parts == Part.TEETH)
    values = torch.cat([normals, after[:, 2:], teeth.float()[:, None], (teeth & ~face.lower).float()[:, None]], 1)
    seen = interpolate(triangle, barycentric, faces, values[None])[0].numpy()
    hit = triangle[0].numpy() >= 0
    front = float(after[teeth, 2].min()) if teeth.any() else float(after[:, 2].min()) + 1
    far = np.clip(seen[..., 3] - front, 0, None)
    dark = np.exp(-((far / _DEPTH) ** 1.5))
    facing = np.clip(seen[..., :3] @ _LIGHT, 0, 1)
    gum = _gum_line(seen[..., 5] > 0.5, _GUM * movement.placed.unit * window.shape[1] / window.width * piece.scale)
    dark, facing = np.where(gum, 1, dark), np.where(gum, 0.8, facing)
    hit |= gum
    albedo = _GUMS + (1 - _GUMS) * seen[..., 4:5]
    glint = 0.2 * np.clip(facing, 0, 1) ** 40 * seen[..., 4]
    lit = (_EXPOSED * albedo * (0.28 + 0.72 * facing)[..., None] + glint[..., None]) * dark[..., None]
    lit = np.where(hit[..., None], np.maximum(lit, _DEEP), _DEEP)
    return (lit * white).astype(np.float32)


def _gum_line(teeth: NDArray[np.bool_], height: float) -> NDArray[np.bool_]:
    """Where gums lie above the upper teeth, (h, w): from `height` samples above them down to the teeth. The model's
    gums lie behind its teeth, so that the teeth would seem to stand in the dark."""
    any_tooth = teeth.any(0)
    top = np.where(any_tooth, teeth.argmax(0), teeth.shape[0])
    rows = np.arange(teeth.shape[0])[:, None]
    gum: NDArray[np.bool_] = any_tooth & (rows < top) & (rows > top - height)
    return gum


def _shadow_of_lips(inside: NDArray[np.bool_], unit: float, sharp: int) -> Array:
    """The share of light that the lips let in, in fine samples: less near them, least under the upper one."""
    fine = np.kron(inside, np.ones((sharp, sharp), bool)).astype(np.float32)
    near = ndimage.gaussian_filter(fine, 0.02 * unit * sharp)
    above = ndimage.gaussian_filter(fine, 0.035 * unit * sharp)
    above = ndimage.shift(above, (0.025 * unit * sharp, 0), order=1)
    return 0.25 + 0.75 * smooth_step((np.minimum(near, above) - 0.22) / 0.5)
