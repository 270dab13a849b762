"""Colours for models that have none: a mean colour and modes of variation for each named part."""

import numpy as np
from numpy.typing import NDArray

from lssl.face3d.model.topology import Part

Array = NDArray[np.float64]

# sRGB-encoded, 0 to 1.
_SKIN = (0.80, 0.62, 0.52)
_BASE: dict[Part, tuple[float, float, float]] = {
    Part.SKIN: _SKIN,
    Part.NOSE: (0.81, 0.61, 0.52),
    Part.EARS: (0.79, 0.58, 0.50),
    Part.NECK: (0.77, 0.60, 0.50),
    Part.LIPS: (0.72, 0.42, 0.40),
    Part.SCLERA: (0.90, 0.89, 0.88),
    Part.IRIS: (0.38, 0.33, 0.26),
    Part.PUPIL: (0.04, 0.04, 0.05),
    Part.BROWS: (0.36, 0.26, 0.20),
    Part.LASHES: (0.15, 0.11, 0.09),
    Part.INNER_MOUTH: (0.17, 0.06, 0.06),
    Part.TONGUE: (0.48, 0.21, 0.21),
    Part.TEETH: (0.90, 0.87, 0.80),
    Part.HAIR: (0.30, 0.22, 0.17),
    Part.CLOTHES: (0.36, 0.42, 0.50),
}
_FLESH = (Part.SKIN, Part.NOSE, Part.EARS, Part.NECK)

# Each mode: part -> change of the encoded colour at one standard deviation.
_MODES: tuple[dict[Part, tuple[float, float, float]], ...] = (
    dict.fromkeys(_FLESH, (0.115, 0.125, 0.125)) | {Part.LIPS: (0.075, 0.055, 0.055)},  # light and dark skin
    dict.fromkeys(_FLESH, (0.025, 0.0, -0.02)) | {Part.LIPS: (0.030, -0.015, -0.010)},  # warm and cool
    {Part.LIPS: (0.045, -0.015, -0.005)},
    {Part.HAIR: (0.14, 0.10, 0.06), Part.BROWS: (0.06, 0.04, 0.02)},
    {Part.HAIR: (0.05, -0.01, -0.02), Part.BROWS: (0.02, 0.0, -0.01)},
    {Part.IRIS: (-0.08, 0.02, 0.13)},
    {Part.CLOTHES: (0.12, 0.12, 0.12)},
    {Part.CLOTHES: (0.12, -0.02, -0.10)},
)


def soften(parts: NDArray[np.uint8], faces: NDArray[np.int32], among: tuple[Part, ...], rounds: int) -> Array:
    """The share (V, parts) of each part at each vertex, blurred `rounds` times along the mesh among parts `among`."""
    share = np.eye(len(Part))[parts]
    flesh = np.isin(parts, among)
    edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = edges[flesh[edges].all(1)]
    edges = np.unique(np.sort(edges, 1), axis=0)
    both = np.concatenate([edges, edges[:, ::-1]])
    degree = np.bincount(both[:, 0], minlength=len(parts))[:, None]
    for _ in range(rounds):
        total = np.zeros_like(share)
        np.add.at(total, both[:, 0], share[both[:, 1]])
        share = np.where(degree > 0, 0.5 * share + 0.5 * total / np.maximum(degree, 1), share)
    return share


def part_colours(
    parts: NDArray[np.uint8], faces: NDArray[np.int32], shares: Array | None = None
) -> tuple[Array, Array, Array]:
    """Albedo mean (V, 3), modes (V, 3, A) and std (A,) from part labels (V,), or from shares (V, parts).

    Without shares, lips, brows and hair are blurred a little into the skin.
    """
    if shares is None:
        shares = soften(parts, faces, (*_FLESH, Part.LIPS, Part.BROWS, Part.HAIR), 2)
    base = np.array([_BASE[part] for part in Part])
    modes = np.array([[mode.get(part, (0.0, 0.0, 0.0)) for part in Part] for mode in _MODES])
    return shares @ base, np.einsum("vp,apc->vca", shares, modes), np.ones(len(_MODES))
