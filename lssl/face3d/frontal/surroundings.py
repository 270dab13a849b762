"""What surrounds a frontal face: the photograph's hair, ears, neck and background, warped to meet the drawn face."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from scipy.spatial import ConvexHull
from skimage.draw import polygon2mask
from torch import Tensor

from lssl.face3d.frontal.covering import HeadColours
from lssl.face3d.frontal.curtain import closed_up, hanging_hair, hanging_places, hanging_share
from lssl.face3d.frontal.membrane import Membrane
from lssl.face3d.frontal.paint import FacePainter, blurred
from lssl.face3d.frontal.photograph import framed, look_up
from lssl.face3d.frontal.places import (
    FACING,
    SMOOTH,
    Frame,
    Part,
    Places,
    beside,
    completed,
    depth_within,
    extended,
    frame_between,
    head_in_photograph,
    silhouette,
    within,
)
from lssl.face3d.frontal.slivers import slivers
from lssl.face3d.frontal.texture import smooth_step
from lssl.face3d.frontal.walls import Wall, wall
from lssl.face3d.scene.camera import Camera

_STILL, _TURNED = 10.0, 15.0  # degrees
_MIRROR_FROM, _MIRROR_TO = 10.0, 13.0  # degrees of yaw over which mirror images begin to replace what is hidden
_SEAM, _CORE = 0.008, 0.05  # of the picture's side
_SPECK, _RIM = 0.004, 0.06  # of the picture's side: the least background on a head, and how far in it can be seen
_MIXED = 0.01  # of the picture's side
_CHIN = 0.012  # of the picture's side: how far next to what a chin hides its colours are not trusted
_NECK = 0.3  # share of the neck that looks like hair, from which on a little hair beside it cannot be told, unless
_PLAIN = 0.3  # skin and hair are this far apart (see `HeadColours`)
_PROFILE = 40.0  # degrees of yaw
_BESIDE = 0.02  # of the picture's side: how far hair hangs beside the skull
_LOOSE = 0.08  # of the picture's side: how far inside the fitted head's outline a photograph may show what is behind
_APART = 0.5  # turn (see `_turned_by`) from which on a head and what is behind it move apart
_SURELY = 0.5  # share of hair
_HARDLY = 0.1  # share of face (see `face_region`) below which a point is skull, ears or neck
_BROWS = slice(17, 27)  # landmarks
_CHIN_TIP = 8  # landmark
_LOBES = [2, 14]  # landmarks on the jaw about as low as the ears reach
_MIDLINE = [8, 27, 28, 29, 30, 33, 51, 57]  # landmarks


@dataclass(frozen=True)
class Surroundings:
    """What is drawn around a face: picture (side, side, 3) in [0, 1]; hair (side, side) in [0, 1]: how surely it shows
    hair over the face; hanging: how much of what is beside a turned head's neck in the photograph looks like hair, 0 to
    1; unseen: the share of the drawn head, its face aside, that the photograph shows on neither side, 0 to 1."""

    picture: Tensor
    hair: Tensor
    hanging: float
    unseen: float


def surroundings(painter: FacePainter, mesh: Tensor, camera: Camera, side: int) -> Surroundings:
    """The first photograph around the drawn face (after Zhu et al. 2015, section 3.3).

    mesh (V, 3) and camera: as drawn, `side` pixels wide. A pixel of the drawn head shows the photograph at that point
    of the head, or at its mirror image if a turn hides the point; behind the head, whatever is next to the
    photograph's head appears next to the drawn one. Nothing is invented: where the photograph shows neither a point
    nor its mirror image, the nearest that it shows is extended.
    """
    scene = _scene(painter, mesh, camera, side)
    own, mirrored = scene.sure
    # A head that hardly turns keeps its hair, wherever that is: everything that is not face is warped as one.
    bent = extended(Part(scene.own.places, scene.face), scene.base)
    places = bent + scene.turn * (extended(completed(own, mirrored, scene.frame), scene.base) - bent)
    sideways = abs(float(painter.fit.camera.yaw[painter.first] - camera.yaw[0]))
    mirror = float(smooth_step(torch.tensor((sideways - _MIRROR_FROM) / (_MIRROR_TO - _MIRROR_FROM))))
    hidden = _hidden(scene)
    away = mirror * _far_half(side, scene.middle, float(painter.fit.camera.yaw[painter.first] - camera.yaw[0]))
    flipped = scene.frame.places(_flipped(scene.frame.grid(), scene.middle))
    mirrored_places = extended(completed(mirrored, own, scene.frame), flipped)
    share = mirror * blurred(torch.from_numpy(hidden.astype(np.float32)), 2 * _SEAM * side)[..., None]
    inside = scene.look_up(places) * (1 - share) + scene.look_up(mirrored_places) * share
    if scene.turn > _APART:
        neck = scene.head & (scene.face < _HARDLY)
        inside = Membrane(_under_chin(scene, neck), neck).fill(inside)
    outside = _outside(scene, bent, places, away)
    cover = blurred(torch.from_numpy(scene.head.astype(np.float32)), _SEAM * side)[..., None]
    if scene.turn > _APART:  # where a fitted skull or ear lies on the background after all
        shown = scene.wall_at(places) * (1 - share) + scene.wall_at(mirrored_places) * share
        wrong = ndimage.binary_opening(shown[..., 0].numpy() > _SURELY, iterations=max(1, round(_SPECK * side)))
        rim = ndimage.distance_transform_edt(scene.head) < _RIM * side
        inside = _filled(inside, rim | ~ndimage.binary_dilation(shown[..., 0].numpy() > _SURELY))
        wrong &= rim
        cover = cover * (1 - blurred(torch.from_numpy(wrong.astype(np.float32)), _SEAM * side)[..., None])
    picture, hair = inside * cover + outside * (1 - cover), _hair(scene.behind.usual, inside, scene.marks)
    return Surroundings(picture, hair, scene.hanging, _unseen(scene))


@dataclass(frozen=True)
class _Scene:
    """A drawn head in front of the photograph's.

    image: the photograph (H, W, 3). marks (68, 2): the drawn landmarks. base: positions of all pixels if the head had
    not turned. head, face (side, side): the drawn head's pixels, and how much each is face. own, mirrored: where the
    photograph has each pixel's point, and the point's mirror image; sure: the same without what lies on the wall.
    outline: see `silhouette`. turn: see `_turned_by`. hanging: the share of what is
    beside a turned head's neck that looks like hair. bare: nothing hangs there.
    """

    image: NDArray[np.uint8]
    marks: NDArray[np.float64]
    frame: Frame
    base: Places
    head: NDArray[np.bool_]
    face: NDArray[np.float64]
    own: Part
    mirrored: Part
    sure: tuple[Part, Part]
    outline: NDArray[np.bool_]
    behind: Wall
    turn: float
    hanging: float
    bare: bool

    @property
    def middle(self) -> float:
        """The column of the face's middle."""
        return float(self.marks[_MIDLINE, 0].mean())

    def wall_at(self, places: Places) -> Tensor:
        """(side, side, 1): 1 where the photograph shows its background, and no face, at positions."""
        found = self.behind.shows(self.look_up(places), *self.frame.rows_and_columns(places))
        return torch.from_numpy((found & (self.face < _HARDLY)).astype(np.float32))[..., None]

    def look_up(self, places: Places) -> Tensor:
        """The photograph (side, side, 3) at positions."""
        return look_up(self.image, places, self.frame.step)


def _scene(painter: FacePainter, mesh: Tensor, camera: Camera, side: int) -> _Scene:
    fit, first, image = painter.fit, painter.first, painter.images[0]
    drawn = camera.project(painter.skull.head(mesh))
    marks = drawn[0, fit.indices[first], :2].double().numpy()
    frame = frame_between(marks, fit.landmarks[first].double().numpy(), side)
    base = frame.places(frame.grid())
    outline, depth = silhouette(painter, frame)
    head, own, mirrored, face = head_in_photograph(painter, drawn, frame, depth)
    seen = outline[:, side // 2 : side // 2 + side]
    photograph = look_up(image, base, frame.step)
    behind = wall(photograph, seen, painter.views[0].usual)
    sure = []
    for part in (own, mirrored):
        found = look_up(image, part.places, frame.step)
        off = behind.shows(found, *frame.rows_and_columns(part.places)) & (face < _HARDLY)
        # Next to what lies on the wall, a pixel mixes wall and head.
        off = ndimage.binary_dilation(off, iterations=max(1, round(_MIXED * side))) & head & (face < _HARDLY)
        sure.append(Part(part.places, np.where(off, np.minimum(part.facing, 0), part.facing)))
    turn = _turned_by(fit.camera[first : first + 1].rotation[0], camera.rotation[0])
    hanging, bare = 0.0, True
    if turn > _APART:
        rows, columns = frame.rows_and_columns(base)
        hair = behind.hair_before(photograph, rows, columns)
        neck = (ndimage.distance_transform_edt(seen) > _RIM * side) & (np.arange(side)[:, None] > marks[_CHIN_TIP, 1])
        like_hair = neck.any() and float(hair[torch.from_numpy(neck)].mean()) > _NECK
        hanging = hanging_share(hair, seen, int(marks[_LOBES, 1].mean()))
        # A neck in shadow may look like brown hair. Beside a bald head that is told from there being little of it, but not
        # in a face turned far, whose hair lies before its neck.
        untold = like_hair and behind.usual.contrast < _PLAIN and hanging < _SURELY
        bare = untold and abs(float(fit.camera.yaw[first] - camera.yaw[0])) < _PROFILE
        hanging = 0.0 if bare else hanging
    certain = (sure[0], sure[1])
    return _Scene(image, marks, frame, base, head, face, own, mirrored, certain, outline, behind, turn, hanging, bare)


def _outside(scene: _Scene, bent: Places, places: Places, away: Tensor) -> Tensor:
    """What is behind and next to the drawn head, (side, side, 3); where the photograph does not show it, a blur of what
    is near.

    bent, places: the head's positions, as if it hardly turned and as it is turned. away (side, side, 1): where what
    hangs from the other side of the head is drawn, mirrored.
    """
    side, head, frame = scene.frame.side, scene.head, scene.frame
    # Where the photograph does not show the head's edge, such as a raised head's crown, its hair is extended over it.
    unseen = _near_unseen(head, np.maximum(scene.own.facing, scene.mirrored.facing))
    moved = bent + scene.turn * (beside(head, scene.outline, scene.base, frame) - bent)
    moved = unseen * places + (1 - unseen) * moved
    known = framed(moved, scene.image)  # nothing is outside the photograph, nor behind its head
    found = scene.look_up(moved)
    if scene.turn <= _APART:
        return _filled(found, known)
    known &= (~head & ~within(scene.outline, moved, frame)) | (unseen[..., 0] > 0.5)
    crown = np.arange(side)[:, None] < scene.marks[_BROWS, 1].min()
    lobes = int(scene.marks[_LOBES, 1].mean())
    skin = scene.behind.skin_before(found)
    known &= ~(skin & crown)  # it belongs to a skull larger than the fitted one
    if scene.behind.told:  # hair turns with the head; dark clothes do not
        hair = scene.behind.hair_before(found, *frame.rows_and_columns(moved)).numpy() > _SURELY
        parts, _ = ndimage.label(hair)
        hair = np.isin(parts, np.setdiff1d(np.unique(parts[: max(lobes, 0)]), [0]))
        known &= ~ndimage.binary_dilation(hair, iterations=max(1, round(_SEAM * side)))
    known &= ~slivers(skin & known & ~head, head, lobes)
    filled = _filled(found, known)
    aside = hanging_places(head, scene.own.places, scene.own.facing, scene.base, lobes)
    if aside is None or not scene.behind.told or scene.bare:
        return filled
    strands = scene.look_up(aside)
    rows, columns = frame.rows_and_columns(aside)
    brows = int(scene.marks[_BROWS, 1].mean())
    widest = max((brows + int(head.any(1).argmax())) // 2, 0)
    shown = framed(aside, scene.image)
    hang = hanging_hair(strands, shown, scene.behind, rows, columns, (widest, lobes))
    hang = hang * _round_skull(head, brows)
    strands = strands * (1 - away) + _look_up_flipped(strands, scene.middle) * away
    hang = hang * (1 - away) + _look_up_flipped(hang, scene.middle) * away
    strands, hang = closed_up(strands, hang, head)
    return filled * (1 - hang) + strands * hang


def _round_skull(head: NDArray[np.bool_], brows: int) -> Tensor:
    """(side, side, 1): 1 in a half ellipse round the drawn skull down to row `brows`, and in the columns below it."""
    side = len(head)
    columns = np.flatnonzero(head[: max(brows, 1)].any(0))
    if not len(columns):
        return torch.ones(side, side, 1)
    middle, half = (columns[0] + columns[-1]) / 2, (columns[-1] - columns[0]) / 2
    top = int(head.any(1).argmax())
    height = ((brows - np.arange(side)) / max(brows - top, 1)).clip(0, 1)[:, None]
    beyond = np.abs(np.arange(side) - middle) - half * np.sqrt(1 - height**2)
    return smooth_step(1.5 - torch.from_numpy(beyond / (_BESIDE * side)).float())[..., None]


def _unseen(scene: _Scene) -> float:
    """See `Surroundings`."""
    rest = scene.head & (scene.face < _HARDLY)
    lost = np.maximum(scene.own.facing, scene.mirrored.facing) <= FACING
    return float(lost[rest].mean()) if rest.any() else 0.0


def _under_chin(scene: _Scene, neck: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Pixels (side, side) of the neck that the chin hides in the photograph, on both sides: what is extended over them
    from the left does not meet what is extended from the right. Only those next to others of the neck (side, side)."""
    side, (own, mirrored) = scene.frame.side, scene.sure
    lost = neck & (np.maximum(own.facing, mirrored.facing) <= FACING)
    lost &= np.arange(side)[:, None] > scene.marks[_LOBES, 1].mean()
    lost &= ndimage.distance_transform_edt(scene.head) > _RIM * side
    spread = ndimage.binary_dilation(lost, iterations=max(1, round(_CHIN * side))) & scene.head
    labels, _ = ndimage.label(spread)
    beside_neck: NDArray[np.bool_] = np.isin(labels, labels[ndimage.binary_dilation(neck & ~spread) & spread])
    return beside_neck


def _hidden(scene: _Scene) -> NDArray[np.bool_]:
    """Pixels (side, side) of the drawn head whose mirror image the photograph shows better."""
    own, mirrored = scene.sure
    hidden: NDArray[np.bool_] = (own.facing < 2 * FACING) & (own.facing < mirrored.facing - FACING)
    # No landmark fixes the skull: near its outline a fitted one may show the background; its near half is surer.
    loose = depth_within(scene.outline, own.places, scene.frame) < _LOOSE * scene.frame.side
    return hidden | (loose & (own.facing < mirrored.facing) & (scene.face < _HARDLY))


def _flipped(grid: Places, middle: float) -> Places:
    """Pixels (side, side, 2) mirrored at the column `middle`."""
    return np.stack([2 * middle - grid[..., 0], grid[..., 1]], -1)


def _look_up_flipped(picture: Tensor, middle: float) -> Tensor:
    """A picture (H, W, 3) mirrored at that column; its border is repeated outside."""
    columns = (2 * middle - torch.arange(picture.shape[1])).round().long().clamp(0, picture.shape[1] - 1)
    return picture[:, columns]


def _near_unseen(head: NDArray[np.bool_], facing: NDArray[np.float64]) -> NDArray[np.float64]:
    """(side, side, 1): 1 next to a part of the head that the photograph does not show, 0 elsewhere."""
    if not head.any():
        return np.zeros((*head.shape, 1))
    nearest = ndimage.distance_transform_edt(~head, return_distances=False, return_indices=True)
    lost = (head & (facing <= FACING))[nearest[0], nearest[1]].astype(np.float64)
    near: NDArray[np.float64] = ndimage.gaussian_filter(lost, 2 * SMOOTH * len(head), mode="nearest")[..., None]
    return near


def _far_half(side: int, middle: float, yaw: float) -> Tensor:
    """(1, side, 1): 1 in the half of the drawn picture that a photograph turned by `yaw` degrees hardly shows, where
    what hangs from the other side of the head is drawn, mirrored."""
    across = (torch.arange(side) - middle) * (1 if yaw > 0 else -1)
    return smooth_step(across / (_CORE * side) + 0.5)[None, :, None]


def _hair(usual: HeadColours, inside: Tensor, marks: NDArray[np.float64]) -> Tensor:
    """(side, side): how surely hair hangs over the face's upper border. Brows and eyes are excluded."""
    side = len(inside)
    features = marks[ConvexHull(marks[17:48]).vertices + 17]
    core = polygon2mask((side, side), features[:, ::-1])
    beyond = smooth_step(torch.from_numpy(ndimage.distance_transform_edt(~core) / (_CORE * side)).float() - 0.5)
    above = smooth_step(torch.from_numpy((marks[30, 1] - np.arange(side)) / (_CORE * side)).float())[:, None]
    return blurred(usual.hairlike(inside) * beyond * above, _SEAM * side)


def _turned_by(first: Tensor, second: Tensor) -> float:
    """0 if heads of two rotations (3, 3) are seen from directions `_STILL` degrees apart or less, 1 from `_TURNED` on.

    Tilt in the picture does not count: the similarity includes it.
    """
    angle = float(torch.rad2deg(torch.acos((first[2] @ second[2]).clamp(-1, 1))))
    return float(smooth_step(torch.tensor((angle - _STILL) / (_TURNED - _STILL))))


def _filled(picture: Tensor, known: NDArray[np.bool_]) -> Tensor:
    """The picture (H, W, 3) with unknown pixels filled by blurring known ones, from nearby where possible."""
    side = len(known)
    weight = torch.from_numpy(known.astype(np.float32))
    filled = picture.mean((0, 1)).expand_as(picture)
    for sigma in (0.5, 0.15, 0.04):
        total = blurred(weight, sigma * side)[..., None]
        near = blurred(picture * weight[..., None], sigma * side) / total.clamp(min=1e-6)
        trust = smooth_step(total / 0.1)
        filled = near * trust + filled * (1 - trust)
    own = blurred(weight, _SEAM * side)[..., None] * weight[..., None]
    return picture * own + filled * (1 - own)
