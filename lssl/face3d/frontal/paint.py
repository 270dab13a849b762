"""A fitted face's colours, combined from all its photographs, for a picture's pixels or for the mesh's vertices."""

from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor
from torch.nn import functional as F

from lssl.face3d.fitting.fit import FaceFit
from lssl.face3d.frontal.membrane import Membrane
from lssl.face3d.frontal.relight import broad_normals, irradiance, well_exposed
from lssl.face3d.frontal.skull import Skull, find_skull
from lssl.face3d.frontal.texture import (
    PosedView,
    Target,
    beside_jumps,
    blend_views,
    fill_over_mesh,
    pose_view,
    sample_view,
    smooth_step,
    vertex_colours,
)
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.face_region import face_region
from lssl.face3d.model.normals import vertex_normals
from lssl.face3d.model.topology import Part
from lssl.face3d.scene.camera import Camera
from lssl.face3d.scene.render import GAMMA
from lssl.ops import interpolate, rasterize

# Parts that a photograph can colour; the model's hair and clothes need not be where the photograph's are.
_FACE_PARTS = tuple(part for part in Part if part not in (Part.HAIR, Part.CLOTHES, Part.LASHES))
_HOLLOW = (Part.INNER_MOUTH, Part.TEETH, Part.TONGUE)
# Shares of the mirrored side's weight below which a photograph's own side does not count, and above which only it does.
_WORSE, _AS_GOOD = 0.3, 0.7
_MIRRORED = 0.05  # weight of a vertex's mirror image, relative to its own
_BLEND, _SEAM = 0.04, 0.012  # standard deviations, shares of the picture's height
_DARK_EAR = 0.7  # the least light on an ear, as a share of the face's
_LITTLE = 0.1  # the weight from which on a half of the face is not covered by the other half's hair
# Degrees between photograph and picture: up to the first, the photograph's own pixels are drawn wherever it shows them;
# from the second on, those of the better half.
_OWN, _BETTER = 8.0, 14.0
_FINE = 5.0  # pixels: standard deviation of the blur of a shrunk picture
_STRAND = 0.05  # of the picture's height: anything thinner does not count as hair over the face


class FacePainter:
    """One subject's photographs with the fitted mesh, ready to colour it.

    images: uint8 (H, W, 3), in the fit's order. size: the side of the pictures to be drawn; no photograph is kept
    sharper than they can show. Raises ValueError for a wrong number of images or a face outside its photograph.
    """

    def __init__(
        self,
        model: BilinearFaceModel,
        fit: FaceFit,
        images: list[NDArray[np.uint8]],
        *,
        subject: int = 0,
        size: int = 128,
        remove_light: bool = False,
    ) -> None:
        if len(images) != fit.views:
            raise ValueError(f"the fit has {fit.views} views, but {len(images)} images were given")
        self.model, self.fit = model, fit
        self.first = subject * fit.views
        self.identity = fit.identity[subject : subject + 1]
        self.remove_light = remove_light
        self.textured = np.isin(model.topology.face_parts, _FACE_PARTS)
        self.faces = model.faces[torch.from_numpy(self.textured)].contiguous()
        self.mirror = torch.from_numpy(model.topology.mirror).long()
        if remove_light:
            images = [well_exposed(image, fit.landmarks[self.first + v].numpy()) for v, image in enumerate(images)]
        self.images = images
        self.views = [self._view(self.first + v, image, 1.6 * size) for v, image in enumerate(images)]

    def mesh(self, expression: Tensor | None = None) -> Tensor:
        """Vertices (V, 3) with expression weights (E,), by default the first view's own."""
        weights = self.fit.expression[self.first] if expression is None else expression.to(self.fit.expression)
        return self.model.vertices(self.identity, weights[None])[0]

    @cached_property
    def skull(self) -> Skull:
        """How large the first photograph shows the head to be."""
        camera, hair = self.fit.camera[self.first : self.first + 1], self.views[0].usual.hair
        return find_skull(self.model, self.mesh(), camera, self.images[0], hair)

    def irradiance(self, normals: Tensor) -> Tensor:
        """The drawn face's light for camera-space normals (..., 3): the photographs' mean, or an even one as strong."""
        if self.remove_light:
            return torch.stack([view.even for view in self.views]).mean(0).expand_as(normals)
        return irradiance(torch.stack([view.light for view in self.views]).mean(0), normals)

    def target(self, mesh: Tensor, camera: Camera, side: int) -> Target:
        """Rasterises a mesh (V, 3) into a picture `side` pixels wide that is to be painted."""
        projected = camera.project(mesh)
        turned = camera.rotate(vertex_normals(mesh, self.faces, self.model.topology.weld))
        triangle, barycentric, depth = rasterize(projected.contiguous(), self.faces, side, side)
        normals = F.normalize(interpolate(triangle, barycentric, self.faces, turned)[0], dim=-1)
        sight = normals[..., 2].clamp(min=0) * beside_jumps(depth[0], face_width=0.5 * side)
        inner = (normals[..., 2] < 0).numpy()  # the head's far side, through a gap
        light, holes = self.irradiance(normals), self.holes(triangle, inner)
        return Target(triangle, barycentric, self.faces, light, sight, holes)

    def stillness(self, camera: Camera) -> float:
        """1 where `camera` sees the face from within `_OWN` degrees of a photograph, 0 from `_BETTER` degrees on."""
        photo = self.fit.camera[self.first : self.first + len(self.views)].rotation
        angle = torch.rad2deg(torch.acos((photo[:, 2] @ camera.rotation[0, 2]).clamp(-1, 1))).amin()
        return float(smooth_step((_BETTER - angle) / (_BETTER - _OWN)))

    def holes(self, triangle: Tensor, inner: NDArray[np.bool_]) -> Membrane:
        """The holes of a picture with triangles (1, H, W): where it shows the mouth's inside, or is `inner` (H, W)."""
        covered = (triangle[0] >= 0).numpy()
        hollow = np.isin(self.model.topology.face_parts[self.textured], _HOLLOW)[triangle[0].numpy()]
        return Membrane(ndimage.binary_dilation((hollow | inner) & covered) & covered, covered)

    def vertex_colours(self, irradiance: Tensor) -> Tensor:
        """Colour of every vertex (V, 3) under its irradiance (V, 3): as seen, else mirrored, else filled."""
        colour = torch.zeros_like(self.model.albedo_mean)
        weight = torch.zeros(len(colour))
        for order, trust in ((None, 1.0), (self.mirror, _MIRRORED)):
            for view in self.views:
                sampled = vertex_colours(view, order, irradiance)
                w = sampled.weight**2 * trust * view.scale
                colour += sampled.colour * w[:, None]
                weight += w
        colour = colour / weight.clamp(min=1e-9)[:, None]
        # No landmark fixes the ears, and light from the side is hardly known: they are coloured and lit like the face.
        ears = torch.from_numpy(self.model.topology.vertex_parts == Part.EARS)
        weight[ears] = 0.0
        confidence = (weight / (0.02 * max(view.scale for view in self.views))).clamp(max=1.0)
        usual = (irradiance * confidence[:, None]).sum(0) / confidence.sum().clamp(min=1e-6)
        light = torch.where(ears[:, None], irradiance.clamp(_DARK_EAR * usual, usual), irradiance)
        prior = (self.model.albedo_mean.clamp(0, 1) ** GAMMA * light).clamp(0, 1) ** (1 / GAMMA)
        return fill_over_mesh(colour, confidence, self.faces, self.model.topology.weld, prior)

    def paint(
        self, target: Target, colours: Tensor, use_mirror: bool = True, still: float = 0.0
    ) -> tuple[Tensor, Tensor]:
        """Colour (H, W, 3) of each target pixel, and how well the photographs themselves show it, (H, W).

        colours (V, 3): the vertices', for what no photograph shows. still: see `stillness`; at 1, whatever photographs
        show is kept, however badly they show it, and not replaced by a mirror image.
        """
        height = target.triangle.shape[1]
        scales = [view.scale for view in self.views]
        direct = blend_views([sample_view(view, target) for view in self.views], scales, _BLEND * height)
        filled = interpolate(target.triangle, target.barycentric, target.faces, colours[None])[0]
        known, colour = direct.weight, direct.colour
        if use_mirror:
            mirrored = [sample_view(view, target, self.mirror) for view in self.views]
            other = blend_views(mirrored, scales, _BLEND * height)
            # The photograph's own side counts unless the other is seen much better: grazing views are stretched.
            preference = (direct.weight / other.weight.clamp(min=1e-3) - _WORSE) / (_AS_GOOD - _WORSE)
            # Hair over only one half is neither taken for a bad view of that half nor repeated on the other.
            covered = torch.maximum(
                _covering(direct.hair, other.hair, height),
                _covering(other.hair, direct.hair, height) * smooth_step(direct.weight / _LITTLE),
            )
            left = still * smooth_step(direct.weight / _LITTLE)
            own = torch.maximum(torch.maximum(smooth_step(preference), covered), left)
            own = blurred(own, _SEAM * height)[..., None]
            colour = direct.colour * own + other.colour * (1 - own)
            known = torch.stack([direct.weight, other.weight, covered, left]).amax(0)
        # A soft transition from what is seen to what is not, within what is seen.
        step = smooth_step((known - 0.05) / 0.4)
        share = torch.minimum(blurred(step, _SEAM * height), step)[..., None]
        return colour * share + filled * (1 - share), direct.weight

    def _view(self, row: int, image: NDArray[np.uint8], face_pixels: float) -> PosedView:
        mesh = self.model.vertices(self.identity, self.fit.expression[row : row + 1])[0]
        camera = self.fit.camera[row : row + 1]
        normals = vertex_normals(mesh, self.faces, self.model.topology.weld)
        shading = broad_normals(mesh, normals) if self.remove_light else normals
        return pose_view(
            self.model,
            image,
            camera.project(mesh)[0],
            camera.rotate(normals)[0],
            camera.rotate(shading)[0],
            self.faces,
            face_region(self.model),
            face_pixels=face_pixels,
            scale=float(camera.scale),
        )


def _covering(own: Tensor, other: Tensor, height: int) -> Tensor:
    """(H, W): 1 where a photograph shows hair over one half of the face and not over the other. Brows and other things
    that are dark on both, and spots, are not hair."""
    size = max(3, round(_STRAND * height))
    share = ndimage.grey_opening((own * (1 - blurred(other, _SEAM * height))).numpy(), size=(size, size))
    return torch.from_numpy(ndimage.grey_dilation(share, size=(size // 2 * 2 + 1,) * 2))


def blurred(values: Tensor, sigma: float) -> Tensor:
    """Gaussian blur along the first two axes of (H, W) or (H, W, C); sigma in pixels. A broad one is made of the picture
    shrunk, where it is the same to a grey level and far cheaper."""
    step = int(sigma / _FINE)
    if step < 2:
        spread = (sigma, sigma, 0)[: values.ndim]
        return torch.from_numpy(ndimage.gaussian_filter(values.numpy(), spread, mode="nearest"))
    planes = (values[..., None] if values.ndim == 2 else values).permute(2, 0, 1)[None]
    small = F.avg_pool2d(planes, step, ceil_mode=True, count_include_pad=False)[0].numpy()
    soft = torch.from_numpy(ndimage.gaussian_filter(small, (0, sigma / step, sigma / step), mode="nearest"))[None]
    size = (soft.shape[2] * step, soft.shape[3] * step)
    large = F.interpolate(soft, size=size, mode="bilinear", align_corners=False)[0].permute(1, 2, 0)
    return large[: values.shape[0], : values.shape[1]].reshape(values.shape)
