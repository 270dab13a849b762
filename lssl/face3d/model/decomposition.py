"""A bilinear model from registered scans: higher-order SVD (Vlasic et al. 2005, section 4; De Lathauwer et al. 2000).

Each mode's factor is the constant vector and the leading singular vectors of that mode's centred unfolding, scaled so
that a weight of 1 is one standard deviation of the scans. The constant keeps the mean face in the model whatever the
rank, as PCA does, and makes the mean weights (1, 0, 0, ...).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.errors import LsslError
from lssl.face3d.model.bilinear import BilinearFaceModel
from lssl.face3d.model.topology import FaceTopology
from lssl.progress import tqdm

Array = NDArray[np.float64]

CONSTANT_STD = 1e-3  # prior of the weight that multiplies a mode's mean
_MANY = 1600  # scans beyond which their span is found approximately
_NUMERICAL_RANK = 1e-12  # of the greatest eigenvalue


@dataclass(frozen=True)
class BuildReport:
    """What a build kept and lost; errors are distances between vertices, in the scans' unit.

    retained_*: the share of the variance about the mean face that each mode's factor keeps. rms_error, max_error: on
    the scans themselves. held_out_error: expression -> rms error on identities left out of the build, with weights
    fitted to all their scans; transfer_error: the same, fitted to their neutral scan only.
    """

    identities: int
    expressions: int
    missing: int
    rank_identity: int
    rank_expression: int
    rank_spatial: int
    retained_identity: float
    retained_expression: float
    rms_error: float
    max_error: float
    held_out_error: dict[str, float] = field(default_factory=dict)
    transfer_error: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Decomposition:
    """tensor (I, E, R') ~ core x_1 identity x_2 expression; core (I', E', R'), identity (I, I'), expression (E, E')."""

    core: Array
    identity: Array
    expression: Array
    retained_identity: float
    retained_expression: float

    def reconstruct(self) -> Array:
        return np.einsum("abr,ia,eb->ier", self.core, self.identity, self.expression)


def decompose(tensor: Array, variance: float, max_identity: int | None, max_expression: int | None) -> Decomposition:
    """HOSVD of (I, E, R) with as many components per mode as keep `variance` (0 to 1) of its centred variance."""
    identity, retained_identity = _mode_factor(tensor, 0, variance, max_identity)
    expression, retained_expression = _mode_factor(tensor, 1, variance, max_expression)
    # The columns are orthogonal with squared norm I (or E), so the transpose over that is the pseudo-inverse.
    core = np.einsum("ier,ia,eb->abr", tensor, identity / len(identity), expression / len(expression))
    return Decomposition(core, identity, expression, retained_identity, retained_expression)


def impute(
    tensor: Array,
    present: NDArray[np.bool_],
    variance: float,
    max_identity: int | None = None,
    max_expression: int | None = None,
    iterations: int = 200,
    tolerance: float = 1e-7,
) -> Array:
    """Fills the missing scans of (I, E, R), where present (I, E) is false.

    Starts from the expression's mean plus the identity's mean departure from the means of the expressions it has. Then
    decomposes, and takes the missing entries from the low-rank reconstruction, until they change by less than
    `tolerance` of their size. Raises LsslError if an identity or an expression has no scan at all.
    """
    if present.all():
        return tensor
    if not present.any(1).all() or not present.any(0).all():
        raise LsslError("each identity and each expression needs at least one scan")
    known = np.where(present[..., None], tensor, 0.0)
    mean = known.sum(0) / present.sum(0)[:, None]
    departure = (known - np.where(present[..., None], mean, 0.0)).sum(1) / present.sum(1)[:, None]
    filled = np.where(present[..., None], tensor, mean + departure[:, None])
    scale = max(float(np.linalg.norm((filled - filled.mean((0, 1)))[~present])), 1e-12)
    for _ in range(iterations):
        guess = decompose(filled, variance, max_identity, max_expression).reconstruct()
        step = float(np.linalg.norm((guess - filled)[~present]))
        filled = np.where(present[..., None], filled, guess)
        if step < tolerance * scale:
            break
    return filled


def build_model(
    scans: NDArray[np.floating],
    expression_names: Sequence[str],
    topology: FaceTopology,
    *,
    present: NDArray[np.bool_] | None = None,
    albedos: NDArray[np.floating] | None = None,
    variance: float = 0.999,
    max_identity: int | None = None,
    max_expression: int | None = None,
    max_albedo: int | None = 12,
    folds: int = 0,
    name: str = "scans",
    progress: bool = False,
) -> tuple[BilinearFaceModel, BuildReport]:
    """A bilinear model of scans (I, E, V, 3) in vertex correspondence, and what the build kept.

    expression_names (E), one of them "neutral". present (I, E): false where a scan is missing (its values are not
    read). albedos (I, V, 3): encoded colours in [0, 1], for the albedo modes; without them the face is grey.
    variance: the share of each mode's variance that the ranks must keep. folds: the number of folds to leave out for
    the report, 0 for none. Raises LsslError naming what does not match.
    """
    identities, expressions, vertices = scans.shape[:3]
    _check(scans.shape, expression_names, topology, variance)
    present = np.ones((identities, expressions), bool) if present is None else present
    limits = variance, max_identity, max_expression
    with tqdm(total=2 + folds, desc="Building", disable=not progress) as bar:
        coefficients, spatial = _compress(scans, present)
        bar.update()
        parts = decompose(impute(coefficients, present, *limits), *limits)
        model = _assemble(parts, spatial, expression_names, topology, albedos, max_albedo, name)
        bar.update()
        error = (parts.reconstruct() - coefficients)[present]
        points = (error @ spatial).reshape(len(error), -1, 3)
        distance = np.linalg.norm(points, axis=-1)
        held_out, transfer = _held_out_errors(coefficients, present, limits, folds, vertices, expression_names, bar)
    report = BuildReport(
        identities=identities,
        expressions=expressions,
        missing=int((~present).sum()),
        rank_identity=model.num_identity,
        rank_expression=model.num_expression,
        rank_spatial=model.core.shape[0],
        retained_identity=parts.retained_identity,
        retained_expression=parts.retained_expression,
        rms_error=float(np.sqrt((distance**2).mean())),
        max_error=float(distance.max()),
        held_out_error=held_out,
        transfer_error=transfer,
    )
    return model, report


def _check(shape: tuple[int, ...], expression_names: Sequence[str], topology: FaceTopology, variance: float) -> None:
    """Raises LsslError if a build's arguments do not fit one another."""
    identities, expressions, vertices = shape[:3]
    if len(expression_names) != expressions or "neutral" not in expression_names:
        raise LsslError(f"expression_names: expected {expressions} names with 'neutral', got {list(expression_names)}")
    if vertices != topology.num_vertices:
        raise LsslError(f"scans have {vertices} vertices, the topology {topology.num_vertices}")
    if not 0 < variance <= 1:
        raise LsslError(f"variance: expected 0 < variance <= 1, got {variance}")
    if identities < 2:
        raise LsslError(f"expected scans of at least two identities, got {identities}")


def principal_components(rows: NDArray[np.floating], variance: float, limit: int | None) -> tuple[Array, Array, Array]:
    """Mean (D,), orthonormal modes (K, D) and standard deviations (K,) of rows (n, D), from the n x n Gram matrix."""
    mean = rows.mean(0, dtype=np.float64)
    centred = rows - mean
    values, vectors = _leading(centred @ centred.T, variance, limit)
    modes = (vectors / np.sqrt(values)).T @ centred
    return mean, modes, np.sqrt(values / len(rows))


def leading_subspace(rows: NDArray[np.floating], rank: int, seed: int = 0) -> NDArray[np.floating]:
    """Orthonormal directions (rank, D) that span nearly all of rows (n, D), by a randomised range finder with one power
    iteration (Halko et al. 2011): for tensors whose Gram matrix would be too large. At most min(n, D) directions."""
    rank = min(rank, *rows.shape)
    test = np.random.default_rng(seed).standard_normal((len(rows), rank)).astype(rows.dtype)
    for _ in range(2):
        directions = np.linalg.qr(rows.T @ test)[0]
        test = rows @ directions
    directions = np.linalg.qr(rows.T @ np.linalg.qr(test)[0])[0]
    return np.ascontiguousarray(directions.T)


def _compress(scans: NDArray[np.floating], present: NDArray[np.bool_]) -> tuple[Array, Array]:
    """The present scans in an orthonormal basis of their span: (I, E, R) and (R, 3V). Exact up to `_MANY` scans."""
    rows = scans[present].reshape(int(present.sum()), -1)
    if not np.isfinite(rows).all():
        raise LsslError("scans: some coordinates are not finite")
    if len(rows) > _MANY:
        spatial = leading_subspace(rows, _MANY // 2).astype(np.float64)
        coefficients = np.zeros((*present.shape, len(spatial)))
        coefficients[present] = rows @ spatial.T
        return coefficients, spatial
    rows = rows.astype(np.float64)
    values, vectors = _leading(rows @ rows.T, 1.0, None)
    spatial = (vectors / np.sqrt(values)).T @ rows
    # Gram matrices square the condition number: one orthonormalisation restores the precision of small directions.
    spatial = np.linalg.qr(spatial.T)[0].T
    coefficients = np.zeros((*present.shape, len(spatial)))
    coefficients[present] = rows @ spatial.T
    return coefficients, spatial


def _mode_factor(tensor: Array, mode: int, variance: float, limit: int | None) -> tuple[Array, float]:
    unfolded = np.moveaxis(tensor, mode, 0).reshape(tensor.shape[mode], -1)
    centred = unfolded - unfolded.mean(0)
    left, singular, _ = np.linalg.svd(centred, full_matrices=False)
    energy = singular**2
    # Directions no larger than the whole tensor's rounding errors are not directions of this mode's spread.
    noise = (np.linalg.norm(unfolded) * np.finfo(np.float64).eps * 10) ** 2
    rank = _rank(np.where(energy > noise, energy, 0.0), variance, limit)
    left = left[:, :rank] * np.sqrt(len(left))
    left *= np.where(left[np.abs(left).argmax(0), np.arange(rank)] < 0, -1.0, 1.0)
    kept = 1.0 if energy.sum() <= noise else float(energy[:rank].sum() / energy.sum())
    return np.concatenate([np.ones((len(left), 1)), left], 1), kept


def _leading(gram: Array, variance: float, limit: int | None) -> tuple[Array, Array]:
    values, vectors = np.linalg.eigh(gram)
    values, vectors = values[::-1].clip(min=0), vectors[:, ::-1]
    rank = max(1, _rank(values, variance, limit))
    return np.maximum(values[:rank], np.finfo(np.float64).tiny), vectors[:, :rank]


def _rank(energy: Array, variance: float, limit: int | None) -> int:
    """The least number of leading components that keep `variance`; none of them is numerical noise."""
    meaningful = int((energy > energy.max(initial=0.0) * _NUMERICAL_RANK).sum()) if energy.any() else 0
    share = np.cumsum(energy) / max(energy.sum(), np.finfo(np.float64).tiny)
    rank = meaningful if variance >= 1 else int(np.searchsorted(share, variance) + 1)
    return min(rank, meaningful, limit if limit is not None else meaningful)


def _assemble(
    parts: Decomposition,
    spatial: Array,
    expression_names: Sequence[str],
    topology: FaceTopology,
    albedos: NDArray[np.floating] | None,
    max_albedo: int | None,
    name: str,
) -> BilinearFaceModel:
    rank_i, rank_e = parts.core.shape[:2]
    rows = parts.core.reshape(rank_i * rank_e, -1)
    # Spatial rank: what the truncated core still spans, to a millionth of its energy beyond the leading direction.
    left, singular, right = np.linalg.svd(rows, full_matrices=False)
    keep = max(1, int((singular > 1e-7 * singular[0]).sum()))
    core = (left[:, :keep] * singular[:keep]).T.reshape(keep, rank_i, rank_e)
    basis = (right[:keep] @ spatial).T.reshape(-1, 3, keep)

    if albedos is None:
        mean, modes, std = (
            np.full(3 * topology.num_vertices, 0.7),
            np.zeros((0, 3 * topology.num_vertices)),
            np.zeros(0),
        )
    else:
        mean, modes, std = principal_components(albedos.reshape(len(albedos), -1).astype(np.float64), 0.995, max_albedo)

    def tensor(array: Array) -> torch.Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, dtype=np.float32))

    def prior(rank: int) -> tuple[torch.Tensor, torch.Tensor]:
        unit, spread = torch.zeros(rank), torch.ones(rank)
        unit[0], spread[0] = 1.0, CONSTANT_STD
        return unit, spread

    identity_mean, identity_std = prior(rank_i)
    expression_mean, expression_std = prior(rank_e)
    return BilinearFaceModel(
        basis=tensor(basis),
        core=tensor(core),
        identity_mean=identity_mean,
        identity_std=identity_std,
        expression_mean=expression_mean,
        expression_std=expression_std,
        expressions=dict(zip(expression_names, tensor(parts.expression), strict=True)),
        albedo_mean=tensor(mean.reshape(-1, 3)),
        albedo_modes=tensor(modes.T.reshape(topology.num_vertices, 3, -1)),
        albedo_std=tensor(std),
        topology=topology,
        name=name,
    )


def _held_out_errors(
    coefficients: Array,
    present: NDArray[np.bool_],
    limits: tuple[float, int | None, int | None],
    folds: int,
    vertices: int,
    expression_names: Sequence[str],
    bar: tqdm,
) -> tuple[dict[str, float], dict[str, float]]:
    """Rms vertex error of each expression on identities left out, fitted to all their scans, and to neutral only.

    limits: of `decompose`.
    """
    identities, expressions = present.shape
    neutral = list(expression_names).index("neutral")
    squares = np.zeros((2, expressions))
    counts = np.zeros((2, expressions))
    for fold in range(folds):
        out = np.arange(identities) % folds == fold
        bar.update()
        if out.all() or not out.any() or not present[~out].any(0).all():
            continue
        parts = decompose(impute(coefficients[~out], present[~out], *limits), *limits)
        design = np.einsum("abr,eb->ear", parts.core, parts.expression)
        for person in np.flatnonzero(out):
            have = np.flatnonzero(present[person])
            for kind, source in enumerate((have, np.array([neutral]) if present[person, neutral] else have[:0])):
                if not len(source):
                    continue
                weights = _fit_identity(design[source], coefficients[person, source])
                for e in have:
                    error = weights @ design[e] - coefficients[person, e]
                    squares[kind, e] += (error**2).sum() / vertices
                    counts[kind, e] += 1
    tables = []
    for kind in range(2):
        rms = np.sqrt(squares[kind] / np.maximum(counts[kind], 1))
        tables.append({n: float(r) for n, r, c in zip(expression_names, rms, counts[kind], strict=True) if c})
    return tables[0], tables[1]


def _fit_identity(design: Array, target: Array, prior_strength: float = 1e-4) -> Array:
    """Least-squares identity weights (I',) for design (S, I', R) and target (S, R), with a weak Gaussian prior and the
    constant weight fixed at 1."""
    columns = design.transpose(1, 0, 2).reshape(design.shape[1], -1)
    residual = target.reshape(-1) - columns[0]
    gram = columns[1:] @ columns[1:].T
    ridge = prior_strength * np.trace(gram) / max(len(gram), 1) * np.eye(len(gram))
    return np.concatenate([[1.0], np.linalg.solve(gram + ridge, columns[1:] @ residual)])
