"""rasterize and interpolate: exactness against the reference, the fill rule, depth, derivatives, bad input."""

import itertools
import math
import sys

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck, gradgradcheck

from lssl.ops import interpolate, rasterize, reference
from lssl.ops._library import native_available

needs_native = pytest.mark.skipif(not native_available(), reason="the native operators are not built")
property_test = settings(
    max_examples=60, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> str:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return request.param


def random_mesh(
    seed: int, n: int, v: int, f: int, spread: float, grid: float, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor]:
    """Vertices around (8, 8), rounded to multiples of `grid` so that edges meet pixel centres; random faces."""
    g = torch.Generator().manual_seed(seed)
    xy = (torch.randn(n, v, 2, generator=g, dtype=dtype) * spread + 8).div(grid).round() * grid
    z = torch.randint(-3, 4, (n, v, 1), generator=g).to(dtype) + torch.rand(n, v, 1, generator=g, dtype=dtype).round()
    return torch.cat([xy, z], -1), torch.randint(0, v, (f, 3), generator=g, dtype=torch.int32)


def equal_nan_safe(a: Tensor, b: Tensor) -> bool:
    return a.dtype == b.dtype and torch.equal(a.cpu(), b.cpu())


def jittered_grid(seed: int, rows: int, snap: float) -> tuple[Tensor, Tensor]:
    """A planar mesh over [0, 12] x [0, 12]: random diagonals and windings, vertices on multiples of `snap`."""
    g = torch.Generator().manual_seed(seed)
    u = torch.linspace(0, 12, rows)
    y, x = torch.meshgrid(u, u, indexing="ij")
    inner = torch.zeros(rows, rows, 2)
    # A quarter of a cell at most: more, and a cell could fold over its diagonal.
    inner[1:-1, 1:-1] = (torch.rand(rows - 2, rows - 2, 2, generator=g) - 0.5) * 6 / (rows - 1)
    xy = ((torch.stack([x, y], -1) + inner) / snap).round() * snap
    vertices = torch.cat([xy, torch.zeros(rows, rows, 1)], -1).reshape(1, -1, 3)
    faces = []
    for i, j in itertools.product(range(rows - 1), range(rows - 1)):
        a, b, c, d = i * rows + j, i * rows + j + 1, (i + 1) * rows + j, (i + 1) * rows + j + 1
        pair = [[a, b, c], [b, d, c]] if torch.rand((), generator=g) < 0.5 else [[a, b, d], [a, d, c]]
        faces += [face[:: int(torch.randint(0, 2, (), generator=g)) * 2 - 1] for face in pair]
    return vertices, torch.tensor(faces, dtype=torch.int32)


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 3),
    v=st.integers(1, 20),
    f=st.integers(0, 30),
    size=st.tuples(st.integers(1, 21), st.integers(1, 21)),
    spread=st.sampled_from([0.5, 3.0, 20.0, 3000.0, 6e4]),
    grid=st.sampled_from([1.0, 0.5, 2**-12, 1e-6]),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    bad=st.sampled_from([None, math.nan, math.inf, -math.inf, 1e9, -3e38]),
)
@property_test
def test_is_the_reference_bit_for_bit(device, seed, n, v, f, size, spread, grid, dtype, bad):
    vertices, faces = random_mesh(seed, n, v, f, spread, grid, dtype)
    if bad is not None and n:
        vertices[0, seed % v, seed % 3] = bad
    outputs = rasterize(vertices.to(device), faces.to(device), *size)
    for output, expected in zip(outputs, reference.rasterize(vertices, faces, *size), strict=True):
        assert equal_nan_safe(output, expected)


@given(seed=st.integers(0, 10**6), grid=st.sampled_from([1.0, 0.25, 2**-12]))
@property_test
def test_pixels_are_where_plain_geometry_puts_them(device, seed, grid):
    """Each pixel shows a triangle that contains it, in front of every triangle that does (float64, brute force)."""
    vertices, faces = random_mesh(seed, 1, 12, 9, 6.0, grid, torch.float64)
    triangle, barycentric, depth = (
        output[0].cpu() for output in rasterize(vertices.to(device), faces.to(device), 17, 19)
    )
    y, x = torch.meshgrid(torch.arange(17.0), torch.arange(19.0), indexing="ij")
    pixel_HW2 = torch.stack([x, y], -1).double()
    nearest = torch.full((17, 19), math.inf, dtype=torch.float64)
    inside_any = torch.zeros(17, 19, dtype=torch.bool)
    for face in faces.long():
        a, b, c = vertices[0, face]
        matrix = torch.stack([b[:2] - a[:2], c[:2] - a[:2]], 1)
        if abs(torch.linalg.det(matrix)) < 1e-9:
            continue
        w12 = (pixel_HW2 - a[:2]) @ torch.linalg.inv(matrix).T
        weights = torch.cat([1 - w12.sum(-1, keepdim=True), w12], -1)
        inside = (weights > 1e-9).all(-1)
        inside_any |= (weights > -1e-9).all(-1)
        z = weights @ torch.stack([a[2], b[2], c[2]])
        nearest = torch.where(inside, torch.minimum(nearest, z), nearest)
    shown = triangle >= 0
    assert (shown | nearest.isinf()).all()
    assert (inside_any | ~shown).all()
    assert (depth <= nearest + 1e-9).all()
    assert depth[~shown].isinf().all()
    assert (barycentric[~shown] == 0).all()
    corners = vertices[0, faces.long()[triangle[shown].long()]]
    rebuilt = (barycentric[shown][..., None] * corners).sum(1)
    torch.testing.assert_close(rebuilt[:, :2], pixel_HW2[shown], atol=1e-9, rtol=0)
    torch.testing.assert_close(rebuilt[:, 2], depth[shown], atol=1e-9, rtol=0)
    assert (barycentric[shown] >= 0).all()


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize(("rows", "snap"), [(4, 1.0), (7, 0.5), (7, 0.25), (7, 1e-3), (13, 1e-3)])
def test_shared_edges_cover_each_pixel_exactly_once(device, seed, rows, snap):
    vertices, faces = jittered_grid(seed, rows, snap)
    hits = torch.zeros(14, 14, dtype=torch.int32)
    for face in faces:
        triangle, _, _ = rasterize(vertices.to(device), face[None].to(device), 14, 14)
        hits += (triangle[0].cpu() >= 0).int()
    expected = torch.zeros(14, 14, dtype=torch.int32)
    expected[:12, :12] = 1  # the left and top borders belong to the mesh, the right and bottom ones do not
    assert torch.equal(hits, expected)


def test_a_square_owns_its_left_and_top_edges(device):
    vertices = torch.tensor([[[2.0, 3, 1], [6, 3, 1], [6, 7, 1], [2, 7, 1]]], device=device)
    faces = torch.tensor([[0, 1, 2], [0, 2, 3]], dtype=torch.int32, device=device)
    triangle, barycentric, depth = rasterize(vertices, faces, 10, 10)
    covered = torch.zeros(10, 10, dtype=torch.bool, device=device)
    covered[3:7, 2:6] = True
    assert torch.equal(triangle[0] >= 0, covered)
    assert (depth[0][covered] == 1).all()
    assert barycentric[0, 3, 2].tolist() == [1, 0, 0]


def test_windings_differ_only_in_the_order_of_weights(device):
    vertices, faces = random_mesh(3, 2, 15, 12, 6.0, 0.25)
    vertices, faces = vertices.to(device), faces.to(device)
    one = rasterize(vertices, faces, 16, 16)
    other = rasterize(vertices, faces[:, [0, 2, 1]].contiguous(), 16, 16)
    assert (one[0] >= 0).any()
    assert torch.equal(one[0], other[0])
    assert torch.equal(one[1], other[1][..., [0, 2, 1]])


def test_nearer_triangles_hide_farther_ones_in_any_order(device):
    near, far = [[0.0, 0, 1], [9, 0, 1], [0, 9, 1]], [[0.0, 0, 2], [9, 0, 2], [0, 9, 2]]
    vertices = torch.tensor([near + far], device=device)
    for faces, nearest in (([[0, 1, 2], [3, 4, 5]], 0), ([[3, 4, 5], [0, 1, 2]], 1)):
        triangle, _, depth = rasterize(vertices, torch.tensor(faces, dtype=torch.int32, device=device), 4, 4)
        assert (triangle == nearest).all()
        assert (depth == 1).all()


def test_triangles_that_cross_are_split_where_their_depths_meet(device):
    flat = [[0.0, 0, 0.5], [20, 0, 0.5], [0, 20, 0.5]]
    tilted = [[0.0, 0, -4], [20, 0, 16], [0, 20, -4]]  # depth x - 4
    vertices = torch.tensor([flat + tilted], device=device)
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.int32, device=device)
    triangle, _, depth = rasterize(vertices, faces, 8, 8)
    assert (triangle[0, :, :5] == 1).all()
    assert (triangle[0, :, 5:] == 0).all()
    torch.testing.assert_close(depth[0, 0].cpu(), torch.tensor([-4, -3, -2, -1, 0, 0.5, 0.5, 0.5]), atol=1e-5, rtol=0)


def test_equal_depths_go_to_the_lowest_triangle(device):
    g = torch.Generator().manual_seed(0)
    vertices = torch.rand(1, 30, 3, generator=g) * 16
    vertices[..., 2] = 0.7  # overlapping triangles of one depth, though their weights round differently
    faces = torch.arange(30, dtype=torch.int32).reshape(10, 3)
    triangle, _, depth = (output.cpu() for output in rasterize(vertices.to(device), faces.to(device), 16, 16))
    lowest = torch.full((16, 16), -1)
    for i in reversed(range(10)):
        alone, _, _ = reference.rasterize(vertices, faces[i : i + 1], 16, 16)
        lowest[alone[0] >= 0] = i
    assert torch.equal(triangle[0].long(), lowest)
    assert (depth[triangle >= 0] == torch.tensor(0.7)).all()


@pytest.mark.parametrize(
    "corners",
    [
        [[1.0, 1, 0], [5, 5, 0], [9, 9, 0]],
        [[1.0, 1, 0], [1, 1, 0], [9, 3, 0]],
        [[-50.0, 1, 0], [-3, 5, 0], [-9, 9, 0]],
        [[1.0, 100, 0], [3, 50, 0], [9, 90, 0]],
        [[2.1, 2.1, 0], [2.4, 2.1, 0], [2.1, 2.9, 0]],
        [[math.nan, 1, 0], [9, 1, 0], [1, 9, 0]],
        [[1.0, 1, math.nan], [9, 1, 0], [1, 9, 0]],
        [[1.0, math.inf, 0], [9, 1, 0], [1, 9, 0]],
        [[1.0, 1, -math.inf], [9, 1, 0], [1, 9, 0]],
        [[-1e30, 1, 0], [9, 1, 0], [1, 9, 0]],
        [[-131073.0, 1, 0], [9, 1, 0], [1, 9, 0]],
    ],
    ids=["line", "point twice", "left", "below", "between centres", "nan", "nan depth", "inf", "-inf depth", "huge",
         "guard"],
)  # fmt: skip
def test_skipped(device, corners):
    """Alone it draws nothing; beside another triangle it changes nothing."""
    other = [[0.0, 0, 1], [12, 0, 1], [0, 12, 1]]
    vertices = torch.tensor([corners + other], device=device)
    faces = torch.tensor([[0, 1, 2], [3, 4, 5]], dtype=torch.int32, device=device)
    triangle, barycentric, depth = rasterize(vertices, faces[:1], 11, 12)
    assert (triangle == -1).all()
    assert (barycentric == 0).all()
    assert depth.isposinf().all()
    triangle, _, depth = rasterize(vertices, faces, 11, 12)
    assert set(triangle.unique().tolist()) == {-1, 1}
    assert depth[triangle == 1].eq(1).all()


def test_triangles_larger_than_the_window_are_clipped(device):
    vertices = torch.tensor([[[-131072.0, -131072, 3], [131072, -131072, 3], [0, 131072, 3]]], device=device)
    faces = torch.tensor([[0, 1, 2]], dtype=torch.int32, device=device)
    triangle, barycentric, depth = rasterize(vertices, faces, 5, 9)
    assert (triangle == 0).all()
    assert (depth == 3).all()
    torch.testing.assert_close(barycentric.sum(-1).cpu(), torch.ones(1, 5, 9))


def test_a_window_is_a_part_of_a_larger_picture(device):
    vertices, faces = random_mesh(5, 1, 25, 20, 8.0, 0.5, torch.float64)
    whole = rasterize(vertices.to(device), faces.to(device), 24, 24)
    moved = vertices - torch.tensor([7.0, 4.0, 0.0])
    part = rasterize(moved.to(device), faces.to(device), 11, 13)
    for a, b in zip(whole, part, strict=True):
        assert torch.equal(a[:, 4:15, 7:20], b)


@pytest.mark.parametrize(("n", "v", "f"), [(0, 5, 3), (2, 5, 0), (2, 0, 0), (0, 0, 0)])
def test_empty(device, n, v, f):
    vertices = torch.zeros(n, v, 3, device=device)
    faces = torch.zeros(f, 3, dtype=torch.int32, device=device)
    triangle, barycentric, depth = rasterize(vertices, faces, 4, 6)
    assert triangle.shape == depth.shape == (n, 4, 6)
    assert (triangle == -1).all()
    attributes = torch.ones(n, v, 2, device=device, requires_grad=True)
    image = interpolate(triangle, barycentric, faces, attributes)
    assert image.shape == (n, 4, 6, 2)
    assert (image == 0).all()
    image.sum().backward()
    assert torch.equal(attributes.grad, torch.zeros_like(attributes))


def test_strides_do_not_matter(device):
    vertices, faces = random_mesh(1, 2, 16, 12, 6.0, 0.25)
    vertices, faces = vertices.to(device), faces.to(device)
    expected = rasterize(vertices, faces, 9, 11)
    strided = vertices.mT.contiguous().mT
    outputs = rasterize(strided, faces.mT.contiguous().mT, 9, 11)
    assert not strided.is_contiguous()
    assert all(map(torch.equal, outputs, expected))
    attributes = torch.randn(2, 16, 6, device=device)
    image = interpolate(*expected[:2], faces, attributes[..., ::2])
    assert torch.equal(image, interpolate(*expected[:2], faces, attributes[..., ::2].contiguous()))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_is_computed_in_float32(device, dtype):
    vertices, faces = random_mesh(2, 2, 16, 12, 6.0, 0.25)
    vertices, faces = vertices.to(device, dtype), faces.to(device)
    outputs = rasterize(vertices, faces, 16, 16)
    assert all(map(torch.equal, outputs, rasterize(vertices.float(), faces, 16, 16)))
    attributes = torch.randn(2, 16, 3, device=device).to(dtype)
    image = interpolate(*outputs[:2], faces, attributes)
    assert torch.equal(image, interpolate(*outputs[:2], faces, attributes.float()).to(dtype))
    assert image.dtype == dtype


def test_same_bits_on_every_run_and_thread_count(device):
    g = torch.Generator().manual_seed(0)
    vertices = torch.rand(1, 300, 3, generator=g).to(device) * 64
    faces = torch.randint(0, 300, (500, 3), generator=g, dtype=torch.int32).to(device)
    attributes = torch.randn(1, 300, 3, generator=g).to(device).requires_grad_()
    weight = torch.randn(1, 64, 64, 3, generator=g).to(device)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 2, 3, 5, 1, 2):
            torch.set_num_threads(count)
            outputs = rasterize(vertices, faces, 64, 64)
            barycentric = outputs[1].clone().requires_grad_()
            image = interpolate(outputs[0], barycentric, faces, attributes)
            results.append([*outputs, image, *torch.autograd.grad(image, (attributes, barycentric), weight)])
    finally:
        torch.set_num_threads(threads)
    for result in results[1:]:
        assert all(map(torch.equal, result, results[0]))


def test_the_picture_is_not_differentiable(device):
    vertices, faces = random_mesh(2, 1, 16, 12, 6.0, 0.25)
    outputs = rasterize(vertices.to(device).requires_grad_(), faces.to(device), 8, 8)
    assert not any(output.requires_grad for output in outputs)


def test_without_native_operators(monkeypatch):
    vertices, faces = random_mesh(2, 2, 16, 12, 6.0, 0.25)
    attributes = torch.randn(2, 16, 3)
    expected = rasterize(vertices, faces, 8, 8)
    image = interpolate(*expected[:2], faces, attributes)
    for module in ("lssl.ops.rasterize", "lssl.ops.interpolate"):  # lssl.ops.rasterize is the function
        monkeypatch.setattr(sys.modules[module], "use_native", lambda *tensors: False)
    outputs = rasterize(vertices, faces, 8, 8)
    assert all(map(torch.equal, outputs, expected))
    torch.testing.assert_close(interpolate(*outputs[:2], faces, attributes), image)


MESH = torch.zeros(2, 4, 3)
FACES = torch.zeros(5, 3, dtype=torch.int32)


@pytest.mark.parametrize(
    ("vertices", "faces", "height", "width", "message"),
    [
        (MESH[0], FACES, 4, 4, r"vertices must be \(N, V, 3\)"),
        (MESH[..., :2], FACES, 4, 4, r"vertices must be \(N, V, 3\)"),
        (MESH.int(), FACES, 4, 4, "vertices must be floating point"),
        (MESH, FACES.long(), 4, 4, "faces must be int32"),
        (MESH, FACES[:, :2], 4, 4, r"faces must be \(F, 3\)"),
        (MESH, FACES.to("meta"), 4, 4, "faces must be on cpu"),
        (MESH, FACES, 0, 4, "height must be 1 to 32768, got 0"),
        (MESH, FACES, 4, 40000, "width must be 1 to 32768, got 40000"),
        (MESH, FACES + 4, 4, 4, r"faces has an index outside \[0, 4\)"),
        (MESH, FACES - 1, 4, 4, r"faces has an index outside \[0, 4\)"),
    ],
)
def test_errors_name_the_argument(vertices, faces, height, width, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        rasterize(vertices, faces, height, width)


IDS = torch.zeros(2, 6, 7, dtype=torch.int32)
WEIGHTS = torch.zeros(2, 6, 7, 3)


@pytest.mark.parametrize(
    ("triangle", "barycentric", "faces", "attributes", "message"),
    [
        (IDS[0], WEIGHTS, FACES, MESH, "triangle must be"),
        (IDS.long(), WEIGHTS, FACES, MESH, "triangle must be"),
        (IDS, WEIGHTS[:, :5], FACES, MESH, "barycentric must be"),
        (IDS, WEIGHTS.int(), FACES, MESH, "barycentric must be"),
        (IDS, WEIGHTS, FACES, MESH[0], r"attributes must be \(N, V, C\)"),
        (IDS, WEIGHTS, FACES, MESH[:1], "attributes must have triangle's batch size 2, got 1"),
        (IDS, WEIGHTS, FACES, MESH.int(), "attributes must be floating point"),
        (IDS, WEIGHTS, FACES[0], MESH, r"faces must be \(F, 3\)"),
        (IDS.to("meta"), WEIGHTS, FACES, MESH, "triangle must be on cpu"),
        (IDS, WEIGHTS, FACES + 9, MESH, r"faces has an index outside \[0, 4\)"),
    ],
)
def test_interpolate_errors_name_the_argument(triangle, barycentric, faces, attributes, message):
    with pytest.raises((ValueError, RuntimeError), match=message):
        interpolate(triangle, barycentric, faces, attributes)


def picture(seed: int, n: int, v: int, f: int, size: tuple[int, int], channels: int, device: str) -> list[Tensor]:
    """triangle, barycentric, faces, attributes in float64, with empty pixels and one index out of range."""
    vertices, faces = random_mesh(seed, n, v, f, 5.0, 0.25, torch.float64)
    triangle, barycentric, _ = reference.rasterize(vertices, faces, *size)
    triangle[:, 0, 0] = f
    g = torch.Generator().manual_seed(seed)
    attributes = torch.randn(n, v, channels, generator=g, dtype=torch.float64)
    return [tensor.to(device) for tensor in (triangle, barycentric, faces, attributes)]


@given(
    seed=st.integers(0, 10**6),
    n=st.integers(0, 3),
    size=st.tuples(st.integers(1, 17), st.integers(1, 17)),
    channels=st.integers(0, 7),
    dtype=st.sampled_from([torch.float64, torch.float32, torch.bfloat16, torch.float16]),
)
@property_test
def test_interpolate_is_the_reference(device, seed, n, size, channels, dtype):
    triangle, barycentric, faces, attributes = picture(seed, n, 12, 9, size, channels, device)
    attributes = attributes.to(dtype).requires_grad_()
    barycentric = barycentric.to(torch.promote_types(dtype, torch.float32)).requires_grad_()
    image = interpolate(triangle, barycentric, faces, attributes)
    exact = [tensor.detach().double().requires_grad_() for tensor in (barycentric, attributes)]
    expected = reference.interpolate(triangle, exact[0], faces, exact[1])
    tolerance = {torch.float64: 1e-12, torch.float32: 2e-5, torch.bfloat16: 3e-2, torch.float16: 4e-3}[dtype]
    torch.testing.assert_close(image.double(), expected, atol=tolerance, rtol=tolerance)
    weight = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed)).to(device)
    gradients = torch.autograd.grad(image, (barycentric, attributes), weight.to(dtype))
    exact_gradients = torch.autograd.grad(expected, exact, weight.to(dtype).double())
    for gradient, exact_gradient in zip(gradients, exact_gradients, strict=True):
        torch.testing.assert_close(gradient.double(), exact_gradient, atol=10 * tolerance, rtol=10 * tolerance)


def test_interpolate_derivatives(device):
    triangle, barycentric, faces, attributes = picture(4, 2, 10, 8, (5, 6), 3, device)
    inputs = (barycentric.requires_grad_(), attributes.requires_grad_())

    def image(barycentric: Tensor, attributes: Tensor) -> Tensor:
        return interpolate(triangle, barycentric, faces, attributes)

    assert gradcheck(image, inputs)
    assert gradgradcheck(image, inputs)


@needs_native
def test_opcheck(device):
    triangle, barycentric, faces, attributes = picture(4, 2, 10, 8, (5, 6), 3, device)
    vertices, _ = random_mesh(4, 2, 10, 8, 5.0, 0.25)
    vertices = vertices.to(device)
    grad = torch.randn(2, 5, 6, 3, dtype=torch.float64, device=device).requires_grad_()
    barycentric.requires_grad_()
    attributes.requires_grad_()
    ops = torch.ops.lssl
    for op, arguments in (
        (ops.rasterize, (vertices, faces, 7, 9)),
        (ops.rasterize, (vertices.double().requires_grad_(), faces, 7, 9)),
        (ops.interpolate, (triangle, barycentric, faces, attributes)),
        (ops.interpolate_attributes_backward, (grad, triangle, barycentric, faces, 10)),
        (ops.interpolate_barycentric_backward, (grad, triangle, faces, attributes)),
    ):
        torch.library.opcheck(op.default, arguments)


class Draw(torch.nn.Module):
    def forward(self, vertices: Tensor, faces: Tensor, attributes: Tensor) -> Tensor:
        triangle, barycentric, depth = rasterize(vertices, faces, 12, 13)
        return interpolate(triangle, barycentric, faces, attributes) + torch.where(depth.isinf(), 0, depth)[..., None]


@needs_native
def test_compiles_and_exports(device):
    inputs = []
    for n in (2, 3):
        vertices, faces = random_mesh(6, n, 14, 9, 5.0, 0.25)
        inputs.append((vertices.to(device), faces.to(device), torch.randn(n, 14, 3, device=device)))
    compiled = torch.compile(Draw(), backend="aot_eager", fullgraph=True, dynamic=True)
    batch = torch.export.Dim("batch", min=1)
    exported = torch.export.export(Draw(), inputs[0], dynamic_shapes=({0: batch}, None, {0: batch})).module()
    for vertices, faces, attributes in inputs:
        expected_attributes, compiled_attributes = (attributes.clone().requires_grad_() for _ in range(2))
        expected = Draw()(vertices, faces, expected_attributes)
        image = compiled(vertices, faces, compiled_attributes)
        assert torch.equal(image, expected)
        assert torch.equal(exported(vertices, faces, attributes), expected)
        expected.square().sum().backward()
        image.square().sum().backward()
        assert torch.equal(compiled_attributes.grad, expected_attributes.grad)


def test_autocast_changes_nothing(device):
    vertices, faces = random_mesh(6, 2, 14, 9, 5.0, 0.25)
    vertices, faces = vertices.to(device), faces.to(device)
    attributes = torch.randn(2, 14, 3, device=device)
    expected = Draw()(vertices, faces, attributes)
    with torch.autocast(device, dtype=torch.bfloat16):
        assert torch.equal(Draw()(vertices, faces, attributes), expected)
