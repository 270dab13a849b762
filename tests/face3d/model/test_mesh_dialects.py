"""OBJ and PLY as programs write them: one cube in every dialect."""

import struct

import numpy as np
import pytest

from lssl.errors import LsslError
from lssl.face3d.model.meshes import read_mesh, scan_paths

CUBE = np.array([[x, y, z] for z in (0, 1) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))], float)
QUADS = [[0, 3, 2, 1], [4, 5, 6, 7], [0, 1, 5, 4], [1, 2, 6, 5], [2, 3, 7, 6], [3, 0, 4, 7]]
MIXED = [QUADS[0], [4, 5, 6], [4, 6, 7], *QUADS[2:]]


def fans(polygons):
    return [[p[0], p[k], p[k + 1]] for p in polygons for k in range(1, len(p) - 1)]


def obj(vertex="v {x} {y} {z}", face="f {}", corner="{}", first=1, polygons=QUADS, end="\n", between=""):
    lines = [vertex.format(x=x, y=y, z=z) for x, y, z in CUBE] + [between] * bool(between)
    lines += [face.format(" ".join(corner.format(k + first) for k in polygon)) for polygon in polygons]
    return end.join([*lines, ""])


def interleaved() -> str:
    """Each face after its own four vertices, which it refers to by negative numbers."""
    quads = [[CUBE[k] for k in quad] for quad in QUADS]
    return "".join("".join(f"v {x} {y} {z}\n" for x, y, z in quad) + "f -4 -3 -2 -1\n" for quad in quads)


OBJ = {
    "plain": obj(),
    "triangles and quads": obj(polygons=MIXED),
    "tabs": obj("v\t{x}\t{y}\t{z}").replace(" ", "\t"),
    "indented": "  " + obj().replace("\n", "\n  "),
    "Windows lines": obj(end="\r\n"),
    "old Mac lines": obj(end="\r"),
    "remarks": "# a cube\n" + obj().replace("\nf", " # here\nf"),
    "byte order mark": "\ufeff" + obj(),
    "continued faces": obj().replace(" ", " \\\n ", 30).replace("v \\\n", "v "),
    "continued with Windows lines": obj(face="f \\\r\n{}"),
    "texture": obj(corner="{0}/{0}", between="vt 0 0\nvt 1 1"),
    "texture and normals": obj(corner="{0}/1/{0}", between="vn 0 0 1\nusemtl a#b\no cube\ng side\ns off"),
    "normals": obj(corner="{0}//7"),
    "counted back": obj(first=-8),
    "weights": obj("v {x} {y} {z} 1.0"),
    "exponents": obj("v {x:.3e} {y:.3e} {z:.3e}"),
    "lines and points": obj() + "l 1 2\np 3\n",
}


@pytest.mark.parametrize("name", OBJ)
def test_obj_dialects(tmp_path, name) -> None:
    (tmp_path / "a_neutral.OBJ").write_bytes(OBJ[name].encode())
    mesh = read_mesh(tmp_path / "a_neutral.OBJ")
    assert np.array_equal(mesh.vertices, CUBE)
    assert mesh.faces.tolist() == fans(MIXED if name == "triangles and quads" else QUADS)
    assert mesh.colours is None


def test_negative_numbers_count_back_from_where_the_face_stands(tmp_path) -> None:
    (tmp_path / "a_neutral.obj").write_text(interleaved())
    mesh = read_mesh(tmp_path / "a_neutral.obj")
    assert np.array_equal(mesh.vertices[mesh.faces], CUBE[np.array(fans(QUADS))])


@pytest.mark.parametrize(("scale", "form"), [(1, "{:.4f}"), (255, "{:.0f}")])
def test_obj_colours_behind_the_vertices(tmp_path, scale, form) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (8, 3)) / 255
    lines = [
        f"v {x} {y} {z} " + " ".join(form.format(c * scale) for c in colour)
        for (x, y, z), colour in zip(CUBE, colours, strict=True)
    ]
    (tmp_path / "a.obj").write_text("\n".join([*lines, "f 1 2 3"]))
    assert np.abs(read_mesh(tmp_path / "a.obj").colours - colours).max() < 1e-3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (obj(first=0), r"line 9: a face names vertex 0, but OBJ counts from 1"),
        (obj(first=0, corner="{0}/{0}/{0}"), "vertex 0"),
        (obj(first=-9), r"line 9: a face counts back 9 vertices, but 8 stand above it"),
        (obj(first=2), "names vertex 9, but there are 8"),
        (obj("v {x},0 {y} {z}"), "write a decimal point, not a comma"),
        (obj("v {x} {y} nan"), "not finite"),
        (obj(corner="{}.5"), "is not a vertex of a face"),
        (obj().replace("f 1 4 3 2", "f 1 4"), "fewer than three vertices"),
        (obj(polygons=[]), "no faces"),
    ],
)
def test_a_wrong_obj_is_refused_with_its_line(tmp_path, text, message) -> None:
    (tmp_path / "a.obj").write_text(text)
    with pytest.raises(LsslError, match=rf"a\.obj.*{message}"):
        read_mesh(tmp_path / "a.obj")


def ply(form, *, polygons=QUADS, index="int", count="uchar", name="vertex_indices", extra=False, end="\n", swap=False):
    """The cube as PLY: `form` is ascii or binary_..._endian."""
    sign = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(form)
    codes = {"uchar": "B", "int": "i", "uint": "I", "ushort": "H", "int32": "i", "uint8": "B", "double": "d"}
    more = ["property uchar red", "property uchar green", "property uchar blue", "property float quality"] * extra
    vertex = ["element vertex 8", *(f"property double {axis}" for axis in "xyz"), *more]
    face = [f"element face {len(polygons)}", *["property uchar flags"] * extra, f"property list {count} {index} {name}"]
    blocks = [face, vertex] if swap else [vertex, face]
    edge = ["element edge 1", "property int vertex1", "property int vertex2"] * extra
    header = ["ply", f"format {form} 1.0", "comment made by a test", "obj_info none", *blocks[0], *blocks[1], *edge]

    def pack(codes_, *values):
        return struct.pack(sign + codes_, *values) if sign else (" ".join(map(str, values)) + end).encode()

    points = b"".join(pack("ddd" + "BBBf" * extra, *p, *([255, 0, 51, 0.5] * extra)) for p in CUBE)
    faces = b"".join(
        pack("B" * extra + codes[count] + codes[index] * len(p), *[7] * extra, len(p), *p) for p in polygons
    )
    body = faces + points if swap else points + faces
    return end.join([*header, "end_header", ""]).encode() + body + (pack("ii", 0, 1) if extra else b"")


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
@pytest.mark.parametrize("polygons", [QUADS, MIXED, fans(QUADS)])
@pytest.mark.parametrize("extra", [False, True])
@pytest.mark.parametrize("swap", [False, True])
def test_ply_dialects(tmp_path, form, polygons, extra, swap) -> None:
    for number, (index, count, name, end) in enumerate(
        (
            ("int", "uchar", "vertex_indices", "\n"),
            ("uint", "int", "vertex_index", "\r\n"),
            ("ushort", "uint8", "vertex_index", "\n"),
        )
    ):
        path = tmp_path / f"{number}.ply"
        path.write_bytes(
            ply(form, polygons=polygons, index=index, count=count, name=name, extra=extra, end=end, swap=swap)
        )
        mesh = read_mesh(path)
        assert np.array_equal(mesh.vertices, CUBE)
        assert mesh.faces.tolist() == fans(polygons)
        assert (mesh.colours is not None) == extra
        if extra:
            assert np.allclose(mesh.colours, [1, 0, 0.2])


def test_ply_strips(tmp_path) -> None:
    header = ply("ascii").decode().split("element face")[0]
    text = header + "element tristrips 1\nproperty list int int vertex_indices\nend_header\n"
    text += "".join(f"{x} {y} {z}\n" for x, y, z in CUBE) + "8 0 1 2 3 -1 4 5 6\n"
    (tmp_path / "a.ply").write_text(text)
    assert read_mesh(tmp_path / "a.ply").faces.tolist() == [[0, 1, 2], [2, 1, 3], [4, 5, 6]]


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian"])
@pytest.mark.parametrize("polygons", [QUADS, MIXED])
def test_a_truncated_or_wrong_ply_is_refused(tmp_path, form, polygons) -> None:
    data = ply(form, polygons=polygons)
    for damage in (data[:-9], data[: len(data) // 3], data.replace(b"vertex 8", b"vertex 800000000000"),
                   data.replace(b"double x", b"quad x"), data.replace(b"vertex 8", b"vertex -8")):  # fmt: skip
        (tmp_path / "a.ply").write_bytes(damage)
        with pytest.raises(LsslError, match=r"a\.ply: not a readable PLY"):
            read_mesh(tmp_path / "a.ply")
    (tmp_path / "a.ply").write_bytes(ply(form, polygons=[[0, 1, 20]]))
    with pytest.raises(LsslError, match="a vertex that does not exist"):
        read_mesh(tmp_path / "a.ply")


def test_other_meshes_in_a_folder_of_scans_do_not_vanish(tmp_path) -> None:
    (tmp_path / "a_neutral.obj").write_text(obj())
    (tmp_path / "a_happy.STL").write_text("solid")
    with pytest.raises(LsslError, match=r"a_happy\.STL: \.STL is not read; export it as \.obj or \.ply"):
        scan_paths([tmp_path])


def test_a_comment_may_speak_of_the_headers_end(tmp_path) -> None:
    text = "ply\nformat ascii 1.0\ncomment the end_header line follows\nelement vertex 3\nproperty float x\n"
    text += "property float y\nproperty float z\nelement face 1\nproperty list uchar int vertex_indices\nend_header\n"
    (tmp_path / "a.ply").write_text(text + "0 0 0\n1 0 0\n0 1 0\n3 0 1 2\n")
    assert read_mesh(tmp_path / "a.ply").faces.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("form", ["v {x} {y} {z} 0.25 0.5 {x} 1", "v {x} {y} {z} 1 0.25 0.5 {x}"])
def test_of_seven_values_opacity_and_weight_are_no_colour(tmp_path, form) -> None:
    (tmp_path / "a.obj").write_text(obj(form))
    colours = read_mesh(tmp_path / "a.obj").colours
    assert np.allclose(colours[:, :2], [0.25, 0.5])
    assert np.allclose(colours[:, 2], CUBE[:, 0])


def test_a_vertex_number_of_many_digits_is_refused(tmp_path) -> None:
    (tmp_path / "a.obj").write_text(obj() + "f 1 2 99999999999999999999\n")
    with pytest.raises(LsslError, match="a face names vertex 99999999999999999999; the file is damaged"):
        read_mesh(tmp_path / "a.obj")
