"""Large outputs on the CPU use the memory of those that were freed, never that of one that lives, and keep little."""

import subprocess
import sys

import pytest
import torch

from lssl.ops import landmark_heatmap, pixel_shuffle_instance_norm

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or tuple(map(int, torch.__version__.split(".")[:2])) < (2, 11),
    reason="Linux, and torch 2.11 or later",
)


def large(seed: int, layout: torch.memory_format = torch.contiguous_format) -> torch.Tensor:
    """Whose output has 40 MB."""
    picture = torch.randn(2, 1280, 64, 64, generator=torch.Generator().manual_seed(seed))
    return picture.contiguous(memory_format=layout)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_a_freed_outputs_memory_serves_the_next_call(layout):
    picture = large(0, layout)
    output = pixel_shuffle_instance_norm(picture)
    assert output.is_contiguous(memory_format=layout)
    assert output.shape == (2, 320, 128, 128)
    copy, address = output.clone(), output.data_ptr()
    del output
    elsewhere = torch.empty_like(copy)  # would be given that memory, had it gone back to the system
    again = pixel_shuffle_instance_norm(picture)
    assert again.data_ptr() == address
    assert again.data_ptr() != elsewhere.data_ptr()
    assert torch.equal(again, copy)


def test_memory_is_not_used_again_while_anything_looks_at_it():
    output = pixel_shuffle_instance_norm(large(0))
    part, values = output[1, 3], output[1, 3].clone()
    del output
    others = [pixel_shuffle_instance_norm(large(seed)) for seed in (1, 2)]
    assert len({part.data_ptr(), *(other[1, 3].data_ptr() for other in others)}) == 3
    assert torch.equal(part, values)


def test_gradients_are_those_of_small_outputs():
    picture = large(0).requires_grad_()
    parts = large(0).requires_grad_()
    pixel_shuffle_instance_norm(picture, activation="relu").square().sum().backward()
    for one in parts.split(1):
        pixel_shuffle_instance_norm(one, activation="relu").square().sum().backward()
    assert torch.equal(picture.grad, parts.grad)


def test_heatmaps_too():
    points = torch.tensor([[[5.0, 9.0], [100.0, 80.0]]]).expand(16, 2, 2)
    maps = landmark_heatmap(points, 512, 512, 3.0)
    address, peak = maps.data_ptr(), maps[3, 1, 80, 100]
    assert peak == 1
    assert maps[0, 0].argmax() == 9 * 512 + 5
    del maps, peak
    assert landmark_heatmap(points, 512, 512, 3.0).data_ptr() == address


PROGRAM = """
import os, torch
from lssl.ops import pixel_shuffle_instance_norm

def resident():
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) // 1024

picture = torch.ones(2, 1024, 64, 64)
pixel_shuffle_instance_norm(picture)
before = resident()
outputs = [pixel_shuffle_instance_norm(picture) for _ in range(20)]
most = resident()
del outputs
after = resident()
child = os.fork()
if child == 0:
    os._exit(int(bool(pixel_shuffle_instance_norm(torch.ones(2, 1024, 64, 64)).abs().max() > 0)))
print(most - before, after - before, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


def test_what_is_kept_is_bounded_and_survives_a_fork():
    run = [sys.executable, "-c", "import torch; torch.set_num_threads(1)\n" + PROGRAM]
    used, kept, child = map(int, subprocess.run(run, capture_output=True, text=True, check=True).stdout.split())
    assert used >= 20 * 32 - 64
    assert kept <= 256 + 32
    assert child == 0
