"""FaceScape's bilinear model, version 1.6 (Yang et al. 2020): `facescape_bm_v1.6_847_*_52_id*.npz`.

shape_bm_core (3V, E, I): absolute vertex coordinates, millimetres, of E expressions (neutral first) for I identity
weights. Only its front (`v_indices_front`, `fv_indices_front`) is imported: the face without the back of the head.
"""

import pickle
from pathlib import Path
from typing import Any
from zipfile import BadZipFile

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.errors import LsslError
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.colours import part_colours
from lssl.face3d.model.decomposition import CONSTANT_STD, leading_subspace
from lssl.face3d.model.importers.naming import name_expressions
from lssl.face3d.model.marks import head_pivot, scan_topology
from lssl.progress import tqdm

_FIELDS = ("shape_bm_core", "fv_indices_front", "v_indices_front", "lm_list_v16", "id_mean", "id_var")
_MILLIMETRE = 0.1
_SPATIAL_RANK = 600


def import_facescape(path: str | Path, *, allow_pickle: bool = False, progress: bool = False) -> BilinearFaceModel:
    """The bilinear model of a FaceScape v1.6 file.

    allow_pickle: some of the file's arrays are Python objects, which only pickle reads, and pickle runs whatever code a
    file holds: allow it only for a file from FaceScape itself. Without it, a file that needs pickle is refused.
    Named expressions: lssl/face3d/model/importers/naming.py. Raises LsslError naming the file and the fix.
    """
    path = Path(path)
    arrays = _read(path, allow_pickle)
    with tqdm(total=3, desc="Importing", disable=not progress) as bar:
        core, faces, landmarks, mean, std = _check(path, arrays)
        bar.update()
        vertices, expressions, identities = core.shape[0] // 3, core.shape[1], core.shape[2]
        # Expressions as steps from neutral: weights (1, b), as FaceScape's own toolkit uses them.
        core[:, 1:] -= core[:, :1]
        neutral = (core[:, 0] @ mean).reshape(vertices, 3)
        origin = head_pivot(neutral, landmarks)
        steps = np.einsum("vei,i->ev", core[:, 1:], mean).reshape(expressions - 1, vertices, 3)
        _check_expressions(path, neutral, steps)
        topology = scan_topology(neutral - origin, faces, landmarks)
        rows = core.reshape(3 * vertices, expressions * identities).T
        spatial = leading_subspace(rows, _SPATIAL_RANK)
        small = (rows @ spatial.T).reshape(expressions, identities, -1)
        bar.update()
        # One more identity weight, always 1, moves the origin to the pivot.
        basis = np.concatenate([spatial.T, np.tile(-origin, vertices)[:, None]], 1).reshape(vertices, 3, -1)
        rank = basis.shape[-1]
        mixed = torch.zeros(rank, 1 + identities, expressions)
        mixed[:-1, 1:] = torch.from_numpy(small.transpose(2, 1, 0).astype(np.float32))
        mixed[-1, 0, 0] = 1.0
        activations = name_expressions(neutral[landmarks], (neutral + steps)[:, landmarks])
        bar.update()
    expression_std = torch.full((expressions,), 0.4)
    expression_std[0] = CONSTANT_STD
    albedo_mean, albedo_modes, albedo_std = part_colours(topology.vertex_parts, topology.faces)
    return BilinearFaceModel(
        basis=torch.from_numpy(basis.astype(np.float32)),
        core=mixed,
        identity_mean=torch.from_numpy(np.concatenate([[1.0], mean]).astype(np.float32)),
        identity_std=torch.from_numpy(np.concatenate([[CONSTANT_STD], std]).astype(np.float32)),
        expression_mean=torch.eye(expressions)[0],
        expression_std=expression_std,
        expressions={
            name: torch.from_numpy(np.concatenate([[1.0], amounts]).astype(np.float32))
            for name, amounts in activations.items()
        },
        albedo_mean=torch.from_numpy(albedo_mean).float(),
        albedo_modes=torch.from_numpy(albedo_modes).float(),
        albedo_std=torch.from_numpy(albedo_std).float(),
        topology=topology,
        name=f"FaceScape v1.6 ({path.name})",
    )


def _read(path: Path, allow_pickle: bool) -> dict[str, Any]:
    refusal = (
        f"{path}: needs Python's pickle, which runs any code a file holds; "
        "if this file came from FaceScape itself, allow it with --allow-pickle"
    )
    try:
        with np.load(path, allow_pickle=allow_pickle) as archive:
            if missing := [name for name in _FIELDS if name not in archive.files]:
                raise LsslError(
                    f"{path}: no {', '.join(missing)}; expected facescape_bm_v1.6_847_50_52_id_front.npz or its like"
                )
            return {name: archive[name] for name in _FIELDS}
    except LsslError:
        raise
    except FileNotFoundError:
        raise LsslError(f"{path}: no such file") from None
    except ValueError as error:
        if "allow_pickle" in str(error):
            raise LsslError(refusal) from None
        raise LsslError(f"{path}: not a readable .npz ({error}); download it again") from error
    except (BadZipFile, EOFError, OSError, AttributeError, TypeError, pickle.UnpicklingError) as error:
        raise LsslError(f"{path}: not a readable .npz, or truncated ({error}); download it again") from error


def _check(
    path: Path, arrays: dict[str, Any]
) -> tuple[NDArray[np.float32], NDArray[np.int32], NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
    """The front's core (3V, E, I) in centimetres, triangles, landmarks, identity mean and standard deviations."""
    try:
        core = np.asarray(arrays["shape_bm_core"], np.float32)
        front = np.asarray(arrays["v_indices_front"], np.int64).reshape(-1)
        faces = np.asarray(arrays["fv_indices_front"], np.int64)
        landmarks = np.asarray(arrays["lm_list_v16"], np.int64).reshape(-1)
        mean = np.asarray(arrays["id_mean"], np.float32).reshape(-1)
        variance = np.asarray(arrays["id_var"], np.float32).reshape(-1)
    except (TypeError, ValueError) as error:
        raise LsslError(f"{path}: its arrays are not numbers ({error}); download it again") from error
    if core.ndim != 3 or core.shape[0] % 3:
        raise LsslError(f"{path}: shape_bm_core is {core.shape}, expected (3 x vertices, expressions, identities)")
    if len(mean) != core.shape[2] or len(variance) != core.shape[2] or len(landmarks) != 68:
        raise LsslError(
            f"{path}: id_mean {mean.shape}, id_var {variance.shape}, lm_list_v16 {landmarks.shape} "
            f"do not match shape_bm_core {core.shape} and 68 landmarks"
        )
    total = core.shape[0] // 3
    if front.min() < 0 or front.max() >= total or faces.ndim != 2 or faces.shape[1] not in (3, 4):
        raise LsslError(f"{path}: v_indices_front or fv_indices_front do not match {total} vertices")
    faces = faces - 1  # counted from 1, as in an OBJ
    if faces.min() < 0 or faces.max() >= len(front):
        raise LsslError(f"{path}: fv_indices_front names vertices beyond the {len(front)} of the front")
    if faces.shape[1] == 4:
        faces = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
    place = np.full(total, -1, np.int64)
    place[front] = np.arange(len(front))
    if (place[landmarks] < 0).any():
        raise LsslError(f"{path}: a landmark is not on the front of the face")
    core = core.reshape(total, 3, *core.shape[1:])[front].reshape(3 * len(front), *core.shape[1:]) * _MILLIMETRE
    if not np.isfinite(core).all():
        raise LsslError(f"{path}: has coordinates that are not finite; download it again")
    return core, faces.astype(np.int32), place[landmarks], mean, np.sqrt(variance.clip(min=1e-12))


def _check_expressions(path: Path, neutral: NDArray[np.floating], steps: NDArray[np.floating]) -> None:
    """Raises LsslError unless the expression axis holds faces; in the `_id_exp` files it holds principal components."""
    size = float(np.linalg.norm(neutral - neutral.mean(0)))
    largest = float(np.linalg.norm(steps.reshape(len(steps), -1), axis=1).max())
    if largest > 0.5 * size:
        raise LsslError(
            f"{path}: its expression weights are principal components, not expressions; "
            "take the file whose name ends in _id or _id_front"
        )
