"""Topology: checks, mirror map, jaw paths, and the models' own topologies."""

import numpy as np
import pytest
import torch

from lssl.data.landmarks import FLIP_68
from lssl.face3d import FaceTopology, Part
from lssl.face3d.embedded import load_embedded_model
from lssl.face3d.model.topology import (
    PARSER_CLASS_OF_PART,
    jaw_paths,
    mirror_by_position,
    vertex_parts_to_faces,
)


def grid_topology(**changes):
    count = 100
    values = {
        "faces": np.array([[0, 1, 2], [1, 3, 2]]),
        "vertex_parts": np.zeros(count),
        "face_parts": np.zeros(2),
        "landmarks": np.arange(68),
        "jaw_contours": np.arange(17)[:, None],
        "mirror": np.arange(count),
    }
    return FaceTopology(**(values | changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("faces", np.array([[0, 1, 2], [0, 1, 100]])),
        ("landmarks", np.arange(67)),
        ("jaw_contours", np.arange(1, 18)[:, None]),
        ("mirror", np.roll(np.arange(100), 1)),
        ("vertex_parts", np.full(100, 99)),
        ("face_parts", np.zeros(3)),
    ],
)
def test_a_wrong_field_is_named(name, value):
    with pytest.raises(ValueError, match=name):
        grid_topology(**{name: value})


def test_every_part_has_a_parser_class():
    assert set(PARSER_CLASS_OF_PART) == set(Part)
    assert {PARSER_CLASS_OF_PART[p] for p in (Part.SCLERA, Part.IRIS, Part.PUPIL)} == {3}
    assert PARSER_CLASS_OF_PART[Part.TEETH] == PARSER_CLASS_OF_PART[Part.HAIR] == 0


def test_mirror_by_position_pairs_sides_and_leaves_the_rest():
    points = np.array([[1.0, 0, 0], [-1.0, 0.001, 0], [0, 1, 0], [3, 3, 3]])
    assert mirror_by_position(points, 0.01).tolist() == [1, 0, 2, 3]


def test_faces_take_the_part_most_corners_have():
    parts = np.array([0, 1, 1, 2], np.uint8)
    faces = np.array([[0, 1, 2], [1, 0, 2], [0, 0, 1], [3, 0, 1]], np.int32)
    assert vertex_parts_to_faces(faces, parts).tolist() == [1, 1, 0, 2]


def test_jaw_paths_run_along_edges_from_start_to_end():
    side = 6
    y, x = np.mgrid[0:side, 0:side]
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(side * side)], 1).astype(float)
    quads = [(r * side + c, r * side + c + 1, (r + 1) * side + c) for r in range(side - 1) for c in range(side - 1)]
    start, end = np.zeros(17, int), np.full(17, side - 1)
    paths = jaw_paths(vertices, np.array(quads, np.int32), start, end)
    assert paths[0].tolist() == list(range(side))


def test_embedded_mirror_map_is_an_involution_that_mirrors():
    model = load_embedded_model()
    mirror = model.topology.mirror
    assert np.array_equal(mirror[mirror], np.arange(len(mirror)))
    face = model.mean_face().numpy()
    gap = np.linalg.norm(face[mirror] * [-1, 1, 1] - face, axis=1)
    assert gap.max() < 0.2
    assert (mirror != np.arange(len(mirror))).mean() > 0.9
    other_side = model.topology.landmarks[list(FLIP_68)]
    assert np.array_equal(mirror[model.topology.landmarks], other_side)


def test_embedded_triangles_face_outwards():
    model = load_embedded_model()
    face = model.mean_face()
    skin = torch.from_numpy(model.topology.face_parts == Part.NOSE)
    a, b, c = (face[model.faces[skin, i].long()] for i in range(3))
    normals = torch.linalg.cross(b - a, c - a)
    assert (normals[:, 2] > 0).float().mean() > 0.75
