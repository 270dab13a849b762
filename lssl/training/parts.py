"""The parts of a face that people look at, mouth and eyes: crops of them, and critics of the crops."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lssl.models import Discriminator

_LEFT_EYE, _RIGHT_EYE, MOUTH_POINTS = slice(36, 42), slice(42, 48), slice(48, 68)
#: Half height and half width of the crops, in half-sides of the picture.
MOUTH_CROP = (0.25, 0.375)
EYE_CROP = (0.22, 0.22)
FACE_CROP = (0.6, 0.5)  # from the brows to the chin, without hair and background
_GAINS = (0.5, 2.0)  # how much darker or brighter a picture may be made
_COARSE = 32  # the side, in pixels, of the pictures from which faces are cut
_SLOPE = 0.2  # of the critics' leaky ReLU


class PartCrops(nn.Module):
    """Cuts the mouth and both eyes out of pictures (N, 3, S, S); right eyes are mirrored, so that all look like left ones.

    __call__(image, landmarks, shift), with landmarks (N, 68, 2) and shifts (N, 3, 2) of mouth, left and right crop, both in
    half-sides of the picture, gives the mouths (N, 3, *mouth_size) and the eyes (2 N, 3, *eye_size), at the resolution of
    pictures of `side` pixels; larger ones are reduced.
    """

    mouth_grid: Tensor
    eye_grid: Tensor
    face_grid: Tensor

    def __init__(self, side: int) -> None:
        super().__init__()
        self.side, self.coarse = side, min(side, _COARSE)
        face_size = (round(FACE_CROP[0] * self.coarse), round(FACE_CROP[1] * self.coarse))
        self.register_buffer("face_grid", _grid(face_size, FACE_CROP), persistent=False)
        self.mouth_size = (_pixels(MOUTH_CROP[0], side), _pixels(MOUTH_CROP[1], side))
        self.eye_size = (_pixels(EYE_CROP[0], side), _pixels(EYE_CROP[1], side))
        self.register_buffer("mouth_grid", _grid(self.mouth_size, MOUTH_CROP), persistent=False)
        self.register_buffer("eye_grid", _grid(self.eye_size, EYE_CROP), persistent=False)

    def forward(self, image: Tensor, landmarks: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        if image.shape[2] > self.side:
            image = F.adaptive_avg_pool2d(image, self.side)

        def crop(part: slice, k: int, grid: Tensor) -> Tensor:
            places = (landmarks[:, part].mean(1) + shift[:, k])[:, None, None] + grid
            return F.hardtanh(F.grid_sample(image, places, mode="bicubic", padding_mode="border", align_corners=False))

        left, right = crop(_LEFT_EYE, 1, self.eye_grid), crop(_RIGHT_EYE, 2, self.eye_grid)
        return crop(MOUTH_POINTS, 0, self.mouth_grid), torch.cat([left, right.flip(3)])

    def face(self, image: Tensor, landmarks: Tensor) -> Tensor:
        """The faces (N, 3, h, w), at the resolution of pictures of 32 pixels."""
        small = F.adaptive_avg_pool2d(image, self.coarse)
        places = landmarks.mean(1)[:, None, None] + self.face_grid
        return F.grid_sample(small, places, padding_mode="border", align_corners=False)


class PartCritics(nn.Module):
    """A critic of mouths and a critic of eyes, for the crops of `PartCrops`."""

    def __init__(self, attribute_dim: int, crops: PartCrops, width: int) -> None:
        super().__init__()

        def critic(size: tuple[int, int]) -> Discriminator:
            layers = max(2, min(size).bit_length() - 3)
            return Discriminator(attribute_dim, 3, size, width, layers, "he", _SLOPE)

        self.mouth, self.eyes = critic(crops.mouth_size), critic(crops.eye_size)


def in_light_of(image: Tensor, landmarks: Tensor, other: Tensor, theirs: Tensor) -> Tensor:
    """Another picture of each subject with the brightness and the colour of the light in `image`, by the skin of the cheeks.

    Pictures (N, 3, S, S) in [-1, 1], landmarks (N, 68, 2) in half-sides; `theirs` are those of `other`.
    """

    # The skin between the contour and the nostrils, which is seldom covered. By slices: a list of numbers would be copied to
    # the device, which a CUDA graph must not do.
    pictures, points = torch.cat([image, other]), torch.cat([landmarks, theirs])
    left, right = points[:, 1:4] + points[:, 31:32], points[:, 13:16] + points[:, 35:36]
    cheeks = torch.cat([left, right], 1)[:, :, None] / 2
    skin = F.grid_sample(pictures, cheeks, padding_mode="border", align_corners=False).mean((2, 3)) + 1
    ours, of_others = skin.chunk(2)
    gain = (ours / of_others.clamp(min=0.05)).clamp(*_GAINS)
    return ((other + 1) * gain[:, :, None, None] - 1).clamp(-1, 1)


def _pixels(half: float, side: int) -> int:
    return max(8, int(half * side) // 8 * 8)


def _grid(size: tuple[int, int], half: tuple[float, float]) -> Tensor:
    y = ((torch.arange(size[0]) + 0.5) / size[0] * 2 - 1) * half[0]
    x = ((torch.arange(size[1]) + 0.5) / size[1] * 2 - 1) * half[1]
    return torch.stack(torch.meshgrid(y, x, indexing="ij")[::-1], -1)
