"""Lights: ambient, directional, spherical harmonics; in camera space, so they stay put as the head turns."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Self

import torch
from torch import Tensor

from lssl.errors import LsslError

LIGHTINGS = ("normal", "weak", "dark", "warm", "cold", "dim")

# Named lightings after the paper's Fig. 2b (Oulu-CASIA: all lights on; only the screen; lights off): ambient, then
# (azimuth, elevation, strength) of key and fill light, degrees, azimuth positive to the image's right.
_NAMED: dict[str, tuple[float, tuple[tuple[float, float, float], ...]]] = {
    "normal": (0.40, ((-30.0, 35.0, 0.62), (40.0, 15.0, 0.25))),
    "weak": (0.085, ((-20.0, -5.0, 0.18), (45.0, 20.0, 0.05))),
    "dark": (0.026, ((-10.0, 5.0, 0.042), (50.0, 30.0, 0.012))),
    "warm": (0.34, ((-30.0, 30.0, 0.55), (40.0, 15.0, 0.22))),
    "cold": (0.38, ((-30.0, 40.0, 0.55), (40.0, 15.0, 0.22))),
    "dim": (0.10, ((-35.0, 35.0, 0.15), (40.0, 15.0, 0.05))),
}
# Red, green and blue of the lights that are not white, linear: a filament's bulb, an overcast sky.
_TINTS = {"warm": (1.45, 0.62, 0.10), "cold": (0.50, 0.85, 1.35)}


def light_colour(name: str) -> tuple[float, float, float]:
    """Red, green and blue of a named lighting, linear; white is (1, 1, 1)."""
    return _TINTS.get(name, (1.0, 1.0, 1.0))


def directions_from_angles(azimuth: Tensor, elevation: Tensor) -> Tensor:
    """Unit vectors (..., 3) towards a light; degrees; azimuth 0, elevation 0 is behind the camera."""
    azimuth, elevation = torch.deg2rad(azimuth), torch.deg2rad(elevation)
    return torch.stack(
        [elevation.cos() * azimuth.sin(), elevation.sin(), elevation.cos() * azimuth.cos()],
        -1,
    )


@dataclass(frozen=True)
class Lighting:
    """The light in N pictures; strengths are linear: 1 on a white surface that faces the light gives white.

    ambient (N, 3). directions (N, L, 3): unit vectors towards the lights. colours (N, L, 3).
    harmonics (N, 9, 3): irradiance coefficients of the first nine real spherical harmonics, in the order
    1, y, z, x, xy, yz, 3z^2-1, xz, x^2-y^2; added to the other light; zero for none.
    """

    ambient: Tensor
    directions: Tensor
    colours: Tensor
    harmonics: Tensor

    @classmethod
    def named(
        cls,
        names: str | Sequence[str],
        *,
        azimuth: Tensor | float = 0.0,
        elevation: Tensor | float = 0.0,
        strength: Tensor | float = 1.0,
    ) -> Self:
        """Lights by name (`LIGHTINGS`), one per picture, turned by azimuth and elevation (degrees, number or (N,)).

        strength: multiplies all of them, number or (N,). Raises LsslError for an unknown name.
        """
        names = [names] if isinstance(names, str) else list(names)
        if unknown := sorted(set(names) - set(_NAMED)):
            raise LsslError(f"unknown lighting {', '.join(unknown)}; known: {', '.join(LIGHTINGS)}")
        ambient = torch.tensor([_NAMED[name][0] for name in names])
        tint = torch.tensor([light_colour(name) for name in names])
        lights = torch.tensor([_NAMED[name][1] for name in names])
        turn, rise, power = (torch.as_tensor(v).expand(len(names))[:, None] for v in (azimuth, elevation, strength))
        return cls(
            ambient=ambient[:, None] * power * tint,
            directions=directions_from_angles(lights[..., 0] + turn, lights[..., 1] + rise),
            colours=(lights[..., 2] * power)[..., None] * tint[:, None],
            harmonics=torch.zeros(len(names), 9, 3),
        )

    @classmethod
    def from_harmonics(cls, harmonics: Tensor) -> Self:
        """Light from spherical harmonics (N, 9, 3) only."""
        zeros = harmonics.new_zeros
        count = len(harmonics)
        return cls(zeros(count, 3), zeros(count, 0, 3), zeros(count, 0, 3), harmonics)

    def __len__(self) -> int:
        return len(self.ambient)

    def __getitem__(self, index: int | slice | Tensor) -> "Lighting":
        index = slice(index, index + 1) if isinstance(index, int) else index
        return Lighting(*(getattr(self, f.name)[index] for f in fields(self)))

    def to(self, device: torch.device | str) -> "Lighting":
        return Lighting(*(getattr(self, f.name).to(device) for f in fields(self)))


def harmonic_basis(normals: Tensor) -> Tensor:
    """First nine real spherical harmonics (..., 9) of unit normals (..., 3) (Ramamoorthi and Hanrahan 2001)."""
    x, y, z = normals.unbind(-1)
    a, b, c, d, e = (
        0.5 / math.sqrt(math.pi),
        math.sqrt(3 / (4 * math.pi)),
        math.sqrt(15 / (4 * math.pi)),
        math.sqrt(5 / (16 * math.pi)),
        math.sqrt(15 / (16 * math.pi)),
    )
    return torch.stack(
        [
            torch.full_like(x, a),
            b * y,
            b * z,
            b * x,
            c * x * y,
            c * y * z,
            d * (3 * z * z - 1),
            c * x * z,
            e * (x * x - y * y),
        ],
        -1,
    )
