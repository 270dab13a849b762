"""The embedded face model: of procedural people, built once by the same HOSVD as from scans, kept in the user's cache.

`load_embedded_model()` needs no data file; the first call takes some seconds, later ones read the cache.
"""

import hashlib
import os
from pathlib import Path

import numpy as np
import platformdirs
import torch
from numpy.typing import NDArray

from lssl.face3d import procedural
from lssl.face3d.model import decomposition
from lssl.face3d.model.bilinear import EXPRESSIONS, BilinearFaceModel
from lssl.face3d.model.topology import Part
from lssl.face3d.procedural import albedo, expression, identity, mesh, topology

VERSION = 1
PEOPLE = 100
COLOURINGS = 240
MAX_IDENTITY = 64
ALBEDO_MODES = 14
SEED = 20190715

# The model's origin in the template's coordinates: between the eyes and the mouth, on the axis about which heads turn.
ORIGIN = np.array([0.0, -3.0, 2.5])


def procedural_scans(people: int, seed: int) -> NDArray[np.float32]:
    """Registered scans (people, 8, V, 3), centimetres: each person's eight expressions, in `EXPRESSIONS` order."""
    generator = np.random.default_rng(seed)
    dimensions = identity.sample_dimensions(people, generator)
    dimensions -= dimensions.mean(0)  # so that the mean face is the template's
    scans = np.empty((people, len(EXPRESSIONS), len(mesh.build_template().vertices), 3), np.float32)
    for person in range(people):
        neutral = identity.neutral_vertices(dimensions[person])
        reach = expression.sample_reach(generator)
        for e, name in enumerate(EXPRESSIONS):
            actions = expression.EXPRESSION_ACTIONS[name]
            scans[person, e] = expression.pose(neutral, actions, reach) - ORIGIN
    return scans


def build_embedded_model() -> BilinearFaceModel:
    """Builds the model from scratch, in some seconds; always the same on one machine."""
    model, _ = decomposition.build_model(
        procedural_scans(PEOPLE, SEED),
        EXPRESSIONS,
        topology.build_topology(),
        variance=0.9995,
        max_identity=MAX_IDENTITY,
        name="embedded",
    )
    _colour(model)
    return model


def _colour(model: BilinearFaceModel) -> None:
    """Gives the model albedo modes; irises and lips have more weight than their few vertices would give them, or no
    mode would keep the colour of the eyes."""
    generator = np.random.default_rng(SEED + 1)
    parts = mesh.build_template().vertex_parts
    weight = np.where(parts == Part.IRIS, 5.0, np.where(np.isin(parts, (Part.LIPS, Part.HAIR)), 1.5, 1.0))[:, None]
    colours = albedo.sample_albedos(COLOURINGS, generator) * weight
    mean, modes, std = decomposition.principal_components(
        colours.reshape(COLOURINGS, -1).astype(np.float64), 0.9995, ALBEDO_MODES
    )
    unweighted = modes.reshape(len(modes), -1, 3) / weight
    model.albedo_mean = torch.from_numpy((mean.reshape(-1, 3) / weight).astype(np.float32))
    model.albedo_modes = torch.from_numpy(unweighted.transpose(1, 2, 0).astype(np.float32).copy())
    model.albedo_std = torch.from_numpy(std.astype(np.float32))


def cache_key() -> str:
    """Changes with the code and the settings that make the model, so that an old cache is never read."""
    settings = (VERSION, PEOPLE, COLOURINGS, MAX_IDENTITY, ALBEDO_MODES, SEED, np.__version__)
    digest = hashlib.sha256(repr(settings).encode())
    sources = sorted(Path(str(procedural.__file__)).parent.glob("*.py"))
    for path in [*sources, Path(str(decomposition.__file__)), Path(__file__)]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def cache_path() -> Path:
    """The cached model: `$LSSL_CACHE`, else the user's cache folder."""
    root = os.environ.get("LSSL_CACHE") or platformdirs.user_cache_dir("lssl")
    return Path(root) / f"embedded-{VERSION}-{cache_key()}.npz"


def load_embedded_model(*, rebuild: bool = False) -> BilinearFaceModel:
    """The embedded model, read from the cache, or built and cached; rebuild: build it again in any case.

    A damaged cache is replaced, and one that cannot be written is not used.
    """
    path = cache_path()
    if not rebuild and path.exists():
        try:
            return BilinearFaceModel.load(path)
        except ValueError:
            pass
    model = build_embedded_model()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        model.save(path)
    except OSError:
        pass
    return model
