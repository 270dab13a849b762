"""What covers a face, such as hair or a hat, distinguished from its skin by colour."""

from dataclasses import dataclass

import torch
from torch import Tensor

from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.topology import Part

_SKIN_LEVEL = 0.6  # encoded value of the skin once the light is divided out of a photograph's colours
_LEAST_GAIN, _MOST_GAIN = 0.5, 5.0
_ALIKE, _DISTINCT = 0.10, 0.25  # distances between hair and skin at which they begin to, and do, differ
_FACING = 0.2  # least cosine of the viewing angle of a vertex whose colour is used


@dataclass(frozen=True)
class HeadColours:
    """The usual colours of skin and hair in a photograph, (3,) each, encoded; hair is what is seen on the skull.

    Colours are compared as multiples of the skin's, channel by channel (after von Kries), so that tinted or dim light
    makes no difference.
    """

    skin: Tensor
    hair: Tensor

    def adapted(self, colours: Tensor) -> Tensor:
        """Colours (..., 3) as they would be if the skin were a middle grey."""
        return colours * (_SKIN_LEVEL / self.skin.clamp(min=1e-3)).clamp(_LEAST_GAIN, _MOST_GAIN)

    def hairlike(self, colours: Tensor) -> Tensor:
        """(...): 1 where colours (..., 3) are clearly those of hair rather than skin, 0 where they are not, or if the
        two are much alike."""
        from_skin, from_hair = (
            (self.adapted(colours) - self.adapted(usual)).norm(dim=-1) for usual in (self.skin, self.hair)
        )
        contrast = (self.adapted(self.skin) - self.adapted(self.hair)).norm()
        return _rising(from_skin / (from_hair + 0.02) - 1) * _rising((contrast - _ALIKE) / (_DISTINCT - _ALIKE))


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
        return HeadColours(torch.full((3,), _SKIN_LEVEL), torch.full((3,), _SKIN_LEVEL))
    usual = colours[skin].median(0).values
    return HeadColours(usual, colours[scalp].median(0).values if int(scalp.sum()) > 10 else usual)


def _rising(t: Tensor) -> Tensor:
    t = t.clamp(0, 1)
    return t * t * (3 - 2 * t)
