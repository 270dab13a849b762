"""What covers a face, such as hair or a hat, distinguished from its skin by colour."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.topology import Part

_SKIN_LEVEL = 0.6  # encoded value of the skin once the light is divided out of a photograph's colours
_LEAST_GAIN, _MOST_GAIN = 0.5, 5.0
_ALIKE, _DISTINCT = 0.10, 0.25  # distances between hair and skin at which they begin to, and do, differ
_STRANDS = 4  # shades of hair
_LEAST_SPREAD, _OUTLYING, _FARTHEST = 0.03, 3.0, 3.0  # of hair's colours; and the distances, in spreads, beyond which
# a colour on the skull does not count, and at which any colour begins not to be hair's
_FACING = 0.2  # least cosine of the viewing angle of a vertex whose colour is used


@dataclass(frozen=True)
class HeadColours:
    """The usual colours of skin and hair in a photograph, (3,) each, encoded; hair is what is seen on the skull. strands
    (K, 3): the hair's colours from dark to bright; spread: how far, adapted, its colours usually are from the nearest.

    Colours are compared as multiples of the skin's, channel by channel (after von Kries), so that tinted or dim light
    makes no difference.
    """

    skin: Tensor
    hair: Tensor
    strands: Tensor
    spread: float

    @property
    def contrast(self) -> float:
        """The distance between the usual skin and hair, adapted."""
        return float((self.adapted(self.skin) - self.adapted(self.hair)).norm())

    def adapted(self, colours: Tensor) -> Tensor:
        """Colours (..., 3) as they would be if the skin were a middle grey."""
        return colours * (_SKIN_LEVEL / self.skin.clamp(min=1e-3)).clamp(_LEAST_GAIN, _MOST_GAIN)

    def hairlike(self, colours: Tensor) -> Tensor:
        """(...): 1 where colours (..., 3) are clearly those of hair rather than skin, 0 where they are not, or if the
        two are much alike."""
        from_skin, from_hair = (
            (self.adapted(colours) - self.adapted(usual)).norm(dim=-1) for usual in (self.skin, self.hair)
        )
        told = torch.tensor((self.contrast - _ALIKE) / (_DISTINCT - _ALIKE))
        return _rising(from_skin / (from_hair + 0.02) - 1) * _rising(told)

    def from_hair(self, colours: Tensor) -> Tensor:
        """(...): the distance of colours (..., 3) from the nearest of the strands, adapted."""
        adapted = self.adapted(colours)
        return torch.stack([(adapted - self.adapted(strand)).norm(dim=-1) for strand in self.strands]).amin(0)

    def near_hair(self, colours: Tensor, loosely: float = 1.0) -> Tensor:
        """(...): 1 where colours (..., 3) are the hair's, whatever the skin's are; 0 where they are not. loosely: times
        how far they may be from it."""
        return 1 - _rising(self.from_hair(colours) / (loosely * self.spread) / _FARTHEST - 1)


def head_colours(
    model: BilinearFaceModel, colours: Tensor, facing: Tensor, seen: Tensor, held: Tensor, heights: Tensor
) -> HeadColours:
    """Finds them from a photograph's colours (V, 3) at the fitted head's vertices.

    facing (V,): cosine of the viewing angle; seen (V,) bool: neither behind another part nor outside the picture; held
    (V,): how much a vertex is face (see `face_region`); heights (V,): of the vertices, centimetres.
    """
    parts = torch.from_numpy(model.topology.vertex_parts)
    brows = heights[torch.from_numpy(model.topology.landmarks[17:27]).long()].mean()
    usable = seen & (facing > _FACING)
    bare = (parts == Part.SKIN) | (parts == Part.NOSE)
    skin, skull = usable & bare & (held > 0.9), usable & (held < 0.1) & (heights > brows)
    scalp = skull & bare
    if int(scalp.sum()) <= 10:  # a model such as ICT-FaceKit has cropped hair all over it
        scalp = skull & (parts == Part.HAIR)
    if not skin.any():
        grey = torch.full((3,), _SKIN_LEVEL)
        return HeadColours(grey, grey, grey[None], _LEAST_SPREAD)
    usual = colours[skin].median(0).values
    if int(scalp.sum()) <= 10:
        return HeadColours(usual, usual, usual[None], _LEAST_SPREAD)
    hair = colours[scalp].median(0).values
    found = HeadColours(usual, hair, hair[None], _LEAST_SPREAD)
    # What is far from the usual colour is forehead or background under a skull that is too large.
    away = found.from_hair(colours[scalp])
    sound = colours[scalp][away <= (_OUTLYING * away.median()).clamp(min=_OUTLYING * _LEAST_SPREAD)]
    order = sound.sum(-1).argsort()
    strands = torch.stack([part.median(0).values for part in sound[order].tensor_split(_STRANDS) if len(part)])
    found = HeadColours(usual, hair, strands, _LEAST_SPREAD)
    return HeadColours(usual, hair, strands, max(_LEAST_SPREAD, float(found.from_hair(sound).median())))


def _rising(t: Tensor) -> Tensor:
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)
