"""The bilinear face model (Vlasic et al. 2005, Face Transfer with Multilinear Models)."""

import io
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from lssl.data.writer import write_atomic
from lssl.errors import LsslError
from lssl.face3d.model.topology import FaceTopology

EXPRESSIONS = ("neutral", "angry", "contemptuous", "disgusted", "fearful", "happy", "sad", "surprised")

_FORMAT = "lssl.face3d.BilinearFaceModel"
_VERSION = 1


@dataclass(eq=False)
class BilinearFaceModel:
    """vertices = core x identity weights x expression weights.

    The core tensor (V, 3, I, E) is stored as basis (V, 3, R) times core (R, I, E), as HOSVD gives it: the same numbers
    in a fraction of the memory (an additive model such as ICT-FaceKit has R = I + E - 1). `dense_core` is the product.

    basis (V, 3, R), core (R, I, E): centimetres. Weights that represent a constant have mean 1 and std near 0.
    identity_mean, identity_std (I,), expression_mean, expression_std (E,): Gaussian priors of the weights.
    expressions: name -> expression weights (E,); "neutral" is always among them.
    albedo_mean (V, 3), albedo_modes (V, 3, A), albedo_std (A,): surface colour, sRGB-encoded, 0 to 1 (the renderer
    makes it linear); albedo weights have mean 0. A may be 0.
    name: where the model comes from. Raises ValueError naming the field if shapes disagree.
    """

    basis: Tensor
    core: Tensor
    identity_mean: Tensor
    identity_std: Tensor
    expression_mean: Tensor
    expression_std: Tensor
    expressions: dict[str, Tensor]
    albedo_mean: Tensor
    albedo_modes: Tensor
    albedo_std: Tensor
    topology: FaceTopology
    name: str = "unnamed"
    _faces: dict[torch.device, Tensor] = field(default_factory=dict, repr=False, init=False)

    def __post_init__(self) -> None:
        if self.core.ndim != 3 or self.albedo_modes.ndim != 3:
            raise ValueError("core and albedo_modes: expected three axes")
        v, rank = self.topology.num_vertices, self.core.shape[0]
        i, e, a = self.core.shape[1], self.core.shape[2], self.albedo_modes.shape[-1]
        expected = {
            "basis": (v, 3, rank),
            "identity_mean": (i,),
            "identity_std": (i,),
            "expression_mean": (e,),
            "expression_std": (e,),
            "albedo_mean": (v, 3),
            "albedo_modes": (v, 3, a),
            "albedo_std": (a,),
        }
        for name, shape in expected.items():
            if tuple(getattr(self, name).shape) != shape:
                raise ValueError(f"{name}: expected {shape}, got {tuple(getattr(self, name).shape)}")
        for name, weights in self.expressions.items():
            if tuple(weights.shape) != (e,):
                raise ValueError(f"expressions[{name!r}]: expected ({e},), got {tuple(weights.shape)}")
        if "neutral" not in self.expressions:
            raise ValueError("expressions: 'neutral' is missing")

    @property
    def num_identity(self) -> int:
        return self.core.shape[1]

    @property
    def num_expression(self) -> int:
        return self.core.shape[2]

    @property
    def num_albedo(self) -> int:
        return self.albedo_modes.shape[2]

    @property
    def device(self) -> torch.device:
        return self.basis.device

    @property
    def faces(self) -> Tensor:
        """(F, 3) int32 on the model's device."""
        if self.device not in self._faces:
            self._faces[self.device] = torch.from_numpy(self.topology.faces).to(self.device)
        return self._faces[self.device]

    @property
    def dense_core(self) -> Tensor:
        """Core tensor (V, 3, I, E); large for large models."""
        return torch.einsum("vcr,rie->vcie", self.basis, self.core)

    def vertices(self, identity: Tensor, expression: Tensor, subset: Tensor | None = None) -> Tensor:
        """Vertices (N, V, 3) in centimetres from weights (N, I) and (N, E); either may have N = 1.

        subset: vertex indices (K,), to compute only those, (N, K, 3). Differentiable in both weights.
        Raises ValueError if the numbers of weights do not match the model.
        """
        for name, weights, size in (
            ("identity", identity, self.num_identity),
            ("expression", expression, self.num_expression),
        ):
            if weights.ndim != 2 or weights.shape[1] != size:
                raise ValueError(f"{name}: expected (N, {size}), got {tuple(weights.shape)}")
        basis = self.basis if subset is None else self.basis[subset]
        coefficients = torch.einsum("rie,ni,ne->nr", self.core, *_broadcast_rows(identity, expression))
        return torch.einsum("vcr,nr->nvc", basis, coefficients)

    def albedo(self, weights: Tensor) -> Tensor:
        """Vertex colours (N, V, 3), sRGB-encoded in [0, 1], from weights (N, A)."""
        if weights.ndim != 2 or weights.shape[1] != self.num_albedo:
            raise ValueError(f"weights: expected (N, {self.num_albedo}), got {tuple(weights.shape)}")
        return (self.albedo_mean + torch.einsum("vca,na->nvc", self.albedo_modes, weights)).clamp(0, 1)

    def expression(self, name: str, intensity: Tensor | float = 1.0) -> Tensor:
        """Weights of a named expression between neutral (intensity 0) and full (1): (E,), or (N, E) for intensities
        (N,). Raises KeyError with the known names."""
        if name not in self.expressions:
            raise KeyError(f"no expression {name!r} in model {self.name!r}; it has {', '.join(self.expressions)}")
        neutral = self.expressions["neutral"]
        step = self.expressions[name] - neutral
        amount = torch.as_tensor(intensity, dtype=step.dtype, device=step.device)
        return neutral + amount[..., None] * step

    def sample_identity(self, count: int, generator: torch.Generator | None = None, spread: float = 1.0) -> Tensor:
        """Identity weights (count, I) from the prior, each within 2.5 standard deviations; spread scales them."""
        noise = torch.randn(count, self.num_identity, generator=generator).clamp(-2.5, 2.5).to(self.device)
        return self.identity_mean + spread * noise * self.identity_std

    def sample_albedo(self, count: int, generator: torch.Generator | None = None, spread: float = 1.0) -> Tensor:
        """Albedo weights (count, A) from the prior, each within 2.5 standard deviations."""
        noise = torch.randn(count, self.num_albedo, generator=generator).clamp(-2.5, 2.5).to(self.device)
        return spread * noise * self.albedo_std

    def mean_face(self, expression: str = "neutral") -> Tensor:
        """Vertices (V, 3) of the mean identity with a named expression."""
        return self.vertices(self.identity_mean[None], self.expression(expression)[None])[0]

    def landmark_indices(self, projected: Tensor) -> Tensor:
        """The vertex of each landmark in each picture, (N, 68): those of the jaw move to the silhouette as heads turn.

        projected (N, V, 3): as `Camera.project` returns it. Of a jaw landmark's candidates, the one furthest out in the
        image is taken: least x for landmarks 0 to 7, greatest for 9 to 16; the chin (8) stays.
        """
        fixed = torch.from_numpy(self.topology.landmarks).long().to(projected.device)
        candidates = torch.from_numpy(self.topology.jaw_contours).long().to(projected.device)
        indices = fixed.expand(len(projected), -1).clone()
        out = projected[:, candidates, 0].detach()
        side = torch.tensor([-1.0] * 8 + [0.0] + [1.0] * 8, device=projected.device, dtype=out.dtype)[:, None]
        choice = (out * side).argmax(-1)
        choice[:, 8] = 0
        indices[:, :17] = candidates.expand(len(projected), -1, -1).gather(-1, choice[..., None])[..., 0]
        return indices

    def landmarks(self, projected: Tensor) -> Tensor:
        """Landmarks (N, 68, 3): pixel x, pixel y, depth, from projected vertices (N, V, 3). Differentiable."""
        indices = self.landmark_indices(projected)
        return projected.gather(1, indices[..., None].expand(-1, -1, 3))

    def to(self, device: torch.device | str) -> "BilinearFaceModel":
        moved: dict[str, Any] = {f.name: getattr(self, f.name) for f in fields(self) if not f.name.startswith("_")}
        for name, value in moved.items():
            if isinstance(value, Tensor):
                moved[name] = value.to(device)
        moved["expressions"] = {name: weights.to(device) for name, weights in self.expressions.items()}
        return BilinearFaceModel(**moved)

    def with_albedo(self, mean: np.ndarray, modes: np.ndarray, std: np.ndarray) -> "BilinearFaceModel":
        """The same shapes with another albedo model: mean (V, 3), modes (V, 3, A), std (A,), encoded colours."""
        arrays = (np.ascontiguousarray(array, np.float32) for array in (mean, modes, std))
        mean_V3, modes_V3A, std_A = (torch.from_numpy(array).to(self.device) for array in arrays)
        return replace(self, albedo_mean=mean_V3, albedo_modes=modes_V3A, albedo_std=std_A)

    def save(self, path: str | Path, *, half: bool = False) -> None:
        """Writes a versioned .npz (no pickle); the file appears whole or not at all.

        half: stores numbers in half precision, in half the space; faces are exact to a hundredth of a millimetre.
        """
        path = Path(path)
        arrays: dict[str, Any] = {
            "format": np.array(_FORMAT),
            "version": np.array(_VERSION),
            "name": np.array(self.name),
        }
        for f in fields(self):
            value = getattr(self, f.name)
            if isinstance(value, Tensor):
                arrays[f.name] = value.detach().cpu().numpy().astype(np.float16 if half else np.float32)
        if half:
            # For numbers beyond a centimetre, what half precision loses would be visible as roughness: stored apart.
            basis = self.basis.detach().cpu().numpy()
            lost = np.where(np.abs(basis) > 1, basis - arrays["basis"].astype(np.float32), 0)
            arrays["basis_remainder"] = lost.astype(np.float16)
        arrays["expression_names"] = np.array(list(self.expressions))
        arrays["expression_weights"] = torch.stack(list(self.expressions.values())).detach().cpu().numpy()
        for f in fields(self.topology):
            arrays[f"topology_{f.name}"] = getattr(self.topology, f.name)
        buffer = io.BytesIO()
        np.savez_compressed(buffer, allow_pickle=False, **arrays)
        write_atomic(path, buffer.getvalue())

    @classmethod
    def load(cls, path: str | Path) -> "BilinearFaceModel":
        """Reads what `save` wrote. Raises LsslError naming the file, what is wrong, and what to do."""
        path = Path(path)
        make = "make one with 'lssl face-model build' or 'lssl face-model import'"
        try:
            if path.is_file() and not zipfile.is_zipfile(path):
                raise ValueError("no .npz archive")
            with np.load(path, allow_pickle=False) as archive:
                arrays = {key: archive[key] for key in archive.files}
        except FileNotFoundError:
            raise LsslError(f"{path}: no such file; {make}") from None
        except Exception as error:  # a damaged archive makes NumPy and zipfile raise almost anything
            raise LsslError(f"{path}: not a face model of this toolkit, or truncated ({error}); {make}") from error
        if str(arrays.get("format")) != _FORMAT:
            raise LsslError(f"{path}: an .npz, but not a face model of this toolkit; {make}")
        if (version := str(arrays.get("version"))) != str(_VERSION):
            raise LsslError(f"{path}: model version {version}, this lssl reads {_VERSION}; {make}")
        topology_names = [f.name for f in fields(FaceTopology)]
        tensor_names = [f.name for f in fields(cls) if f.type is Tensor]
        needed = [*tensor_names, "name", "expression_names", "expression_weights"]
        needed += [f"topology_{name}" for name in topology_names]
        if missing := [name for name in needed if name not in arrays]:
            raise LsslError(f"{path}: no {', '.join(missing)}; the file is damaged: {make}")
        for name in tensor_names:
            if arrays[name].dtype.kind not in "fiu" or not np.isfinite(arrays[name]).all():
                raise LsslError(f"{path}: {name} has values that are not finite; the file is damaged: {make}")
        try:
            if "basis_remainder" in arrays:
                arrays["basis"] = arrays["basis"].astype(np.float32) + arrays["basis_remainder"]
            topology = FaceTopology(**{name: arrays[f"topology_{name}"] for name in topology_names})
            names = [str(name) for name in arrays["expression_names"]]
            weights = torch.from_numpy(arrays["expression_weights"]).float()
            return cls(
                **{name: torch.from_numpy(arrays[name]).float() for name in tensor_names},
                expressions=dict(zip(names, weights, strict=True)),
                topology=topology,
                name=str(arrays["name"]),
            )
        except (ValueError, TypeError, IndexError, RuntimeError) as error:
            raise LsslError(f"{path}: {error}; the file is damaged: {make}") from error


def _broadcast_rows(*tensors: Tensor) -> Sequence[Tensor]:
    rows = max(len(t) for t in tensors)
    return [t.expand(rows, -1) if len(t) == 1 else t for t in tensors]
