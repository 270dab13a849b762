"""Why a frontal face may look wrong, reported with the picture."""

import torch
from torch import Tensor

from lssl.face3d.frontal.paint import FacePainter
from lssl.face3d.frontal.surroundings import Surroundings
from lssl.face3d.frontal.texture import PosedView
from lssl.face3d.scene.camera import Camera

_FAR = 40.0  # degrees between photograph and picture beyond which much of the face is mirrored and hair is guessed
_BESIDE = 15.0  # degrees from which on a head and what is behind it move apart
_SWINGS = 30.0  # degrees from which on what hangs beside a neck moves away from its place
_RAISED = 9.0  # degrees by which a chin is raised, likewise
_UNSEEN = 0.22  # of the drawn head, its face aside
_HANGING = 0.15  # of what is beside a turned head's neck
_COVERED = 0.5  # of an eye's surroundings
_EYES = ((36, 39), (42, 45))  # landmarks: each eye's corners
_ROUND_EYE = (0.8, 0.6)  # half width and half height of an eye's surroundings, in widths of the eye
_TINTED = 0.14  # the skin's weakest channel over its strongest, encoded
_DIM = 0.22  # the skin's strongest channel, encoded


def doubts(painter: FacePainter, camera: Camera, around: Surroundings | None = None) -> tuple[str, ...]:
    """The reasons, in words, why the painter's face, drawn by `camera`, may look wrong; empty if there is none.

    around: what surrounds it in its photograph, if that is drawn as well.
    """
    found = []
    photo = painter.fit.camera[painter.first : painter.first + len(painter.views)].rotation
    angle = float(torch.rad2deg(torch.acos((photo[:, 2] @ camera.rotation[0, 2]).clamp(-1, 1))).min())
    raised = float(camera.pitch[0] - painter.fit.camera.pitch[painter.first])
    if angle > _FAR:
        found.append(f"turned by {angle:.0f} degrees: its far side is the near one mirrored, and its hair a guess")
    elif around is not None and angle > _BESIDE and not painter.skull.sure:
        found.append("turned before a background like its hair or full of detail: the outline of its hair is a guess")
    elif around is not None and (angle > _SWINGS or raised > _RAISED) and around.hanging > _HANGING:
        found.append("turned with hair, or what looks like it, beside the neck: where that goes is a guess")
    if around is not None and around.unseen > _UNSEEN:
        found.append("the photograph shows too little of the head's back: the hair there is a guess")
    landmarks = torch.from_numpy(painter.model.topology.landmarks).long()
    covered = torch.stack([_covered(view, view.projected[landmarks]) for view in painter.views]).amin(0)
    if count := int((covered > _COVERED).sum()):
        found.append("something covers " + ("an eye" if count == 1 else "both eyes"))
    skin = torch.stack([view.usual.skin for view in painter.views]).mean(0)
    if float(skin.max()) < _DIM:
        found.append("hardly any light")
    elif float(skin.min()) < _TINTED * float(skin.max()):
        found.append("strongly coloured light")
    return tuple(found)


def _covered(view: PosedView, marks: Tensor) -> Tensor:
    """(2,) how much of each eye's surroundings looks like hair in a photograph with landmarks (68, 3)."""
    hair = view.border[0, 3]
    height, width = hair.shape
    shares = []
    for first, last in _EYES:
        middle, size = (marks[first] + marks[last]) / 2, float((marks[last] - marks[first])[:2].norm())
        reach = [max(1.0, share * size) for share in _ROUND_EYE]
        left, right = (int(middle[0] + sign * reach[0]) for sign in (-1, 1))
        top, bottom = (int(middle[1] + sign * reach[1]) for sign in (-1, 1))
        part = hair[max(top, 0) : min(bottom + 1, height), max(left, 0) : min(right + 1, width)]
        shares.append(part.mean() if part.numel() else torch.tensor(0.0))
    return torch.stack(shares)
