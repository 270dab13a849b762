"""Small scans and files of published models for tests, made from the embedded model."""

from pathlib import Path

import numpy as np
import torch

from lssl.face3d import BilinearFaceModel

NAMES = ("neutral", "happy", "surprised", "sad")


def people(model: BilinearFaceModel, count: int, seed: int = 0) -> np.ndarray:
    """Scans (count, 4, V, 3) of people with the expressions NAMES."""
    identity = model.sample_identity(count, torch.Generator().manual_seed(seed))
    rows = [model.vertices(identity, model.expression(name)[None]) for name in NAMES]
    return torch.stack(rows, 1).numpy()


def write_obj(path: Path, vertices: np.ndarray, faces: np.ndarray, texture: bool = False) -> None:
    """An OBJ; with `texture`, it has texture seams and a material per half, at which a reader might split vertices."""
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    if texture:
        lines += ["mtllib none.mtl", *(f"vt {k / 10:.1f} 0.5" for k in range(10)), "vn 0 0 1"]
    for number, (a, b, c) in enumerate(np.asarray(faces) + 1):
        if texture and number in (0, len(faces) // 2):
            lines.append(f"usemtl half{number}")
        u = number % 10 + 1
        lines.append(f"f {a}/{u}/1 {b}/{u}/1 {c}/{u}/1" if texture else f"f {a} {b} {c}")
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")


def write_facewarehouse(root: Path, model: BilinearFaceModel, count: int = 5) -> Path:
    """A tree of Tester_<n>/ with 4 shapes each, half the size; returns the landmark file."""
    for number, shapes in enumerate(people(model, count), start=1):
        folder = root / f"Tester_{number}" / "Blendshape"
        folder.mkdir(parents=True)
        header = np.array([shapes.shape[0], shapes.shape[1], len(model.topology.faces)], "<i4")
        (folder / "shape.bs").write_bytes(header.tobytes() + (0.5 * shapes).astype("<f4").tobytes())
        if number == 1:
            (root / "Tester_1" / "TrainingPose").mkdir()
            write_obj(root / "Tester_1" / "TrainingPose" / "pose_0.obj", shapes[0], model.topology.faces, texture=True)
    marks = root / "landmarks.txt"
    marks.write_text("# iBUG\n" + "\n".join(map(str, model.topology.landmarks)), encoding="utf-8")
    return marks


def write_facescape(path: Path, model: BilinearFaceModel, **changes: object) -> None:
    """facescape_bm_v1.6-like: core (3V, 4, I), absolute millimetres, extra vertices that `front` leaves out."""
    rows = torch.stack([model.expression(name) for name in NAMES])
    core = torch.einsum("vcr,rie,xe->vcxi", model.basis, model.core[:, :6], rows).numpy()
    core[:, 2, :, 0] += 40.0  # the file has an origin of its own
    behind = np.zeros((10, *core.shape[1:]), np.float32)
    core = np.concatenate([behind, core]).reshape(-1, len(NAMES), 6) * 10
    arrays = {
        "shape_bm_core": core.astype(np.float32),
        "v_indices_front": np.arange(10, 10 + model.topology.num_vertices),
        "fv_indices_front": model.topology.faces + 1,
        "lm_list_v16": model.topology.landmarks + 10,
        "id_mean": model.identity_mean[:6].numpy(),
        "id_var": model.identity_std[:6].numpy() ** 2,
        "sym_dict": np.array({1: 2}, dtype=object),
    }
    np.savez(path, **(arrays | changes))
