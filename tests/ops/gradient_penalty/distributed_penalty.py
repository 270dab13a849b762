"""Run by test_compiled.py, once a rank: python distributed_penalty.py RANK STORE_FILE.

Each case compares the gradients that DistributedDataParallel leaves with the mean over both ranks' images of the
gradients that double backward gives an unwrapped critic.
"""

import itertools
import sys

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from lssl.models import Discriminator
from lssl.ops import gradient_penalty, reference


def described() -> nn.Module:
    return Discriminator(5, in_channels=3, image_size=16, width=4, num_layers=2)


def smooth() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 4, 4, 2, 1), nn.InstanceNorm2d(4, affine=True), nn.ReLU(), nn.Conv2d(4, 1, 3))


def hooked() -> nn.Module:
    critic = smooth()
    critic.register_forward_hook(lambda module, inputs, output: 2 * output)
    return critic


def images(rank: int) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(rank)
    real, fake = torch.randn(2, 3, 3, 16, 16, dtype=torch.float64, generator=generator)
    return real, fake, torch.rand(3, generator=generator)


def realism(output) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def loss(critic, penalty: Tensor, real: Tensor, fake: Tensor, whole: bool) -> Tensor:
    if not whole:
        return 10 * penalty
    of_real, of_fake = critic(real), critic(fake)
    attributes = of_real[1].square().mean() if isinstance(of_real, tuple) else 0
    return realism(of_fake).mean() - realism(of_real).mean() + attributes + 10 * penalty


def expected_gradients(make, whole: bool) -> list[Tensor]:
    torch.manual_seed(0)
    critic = make().double()
    total = torch.zeros((), dtype=torch.float64)
    for rank in range(2):
        real, fake, alpha = images(rank)
        penalty = reference.gradient_penalty(critic, real, fake, alpha=alpha)
        total = total + loss(critic, penalty, real, fake, whole) / 2
    total.backward()
    return [torch.zeros_like(p) if p.grad is None else p.grad for p in critic.parameters()]


def check(rank: int, make, implementation: str, whole: bool, first: bool, compiled: str, **options) -> None:
    torch.manual_seed(0)
    inner = make().double()
    if compiled == "inside":
        inner = torch.compile(inner, backend="eager")
    critic = DistributedDataParallel(inner, **options)
    if compiled == "outside":
        critic = torch.compile(critic, backend="eager")
    fired: list[int] = []
    for index, parameter in enumerate(critic.parameters()):
        parameter.register_post_accumulate_grad_hook(lambda p, index=index: fired.append(index))
    real, fake, alpha = images(rank)
    expected = expected_gradients(make, whole)
    for _ in range(3):  # DDP rebuilds its buckets after the first, and checks each at the start of the next
        critic.zero_grad()
        fired.clear()

        def penalty() -> Tensor:
            return gradient_penalty(critic, real, fake, alpha=alpha, implementation=implementation)

        before = penalty() if first else None
        if whole and first:
            total = loss(critic, before, real, fake, whole)
        else:
            total = loss(critic, torch.zeros(()), real, fake, whole) if whole else 0
            total = total + 10 * (before if first else penalty())
        total.backward()
        assert len(fired) == len(set(fired)), "a parameter's hook fired twice"
        for parameter, wanted in zip(critic.parameters(), expected, strict=True):
            found = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
            case = f"{make.__name__} {implementation} {whole=} {first=} {compiled} {options}"
            torch.testing.assert_close(
                found, wanted, rtol=1e-9, atol=1e-11, msg=lambda text, case=case: f"{case}: {text}"
            )


def main(rank: int, store: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", store=distributed.FileStore(store, 2), rank=rank, world_size=2)
    for make, implementation in [
        (described, "auto"),
        (described, "forward_over_reverse"),
        (described, "double_backward"),
        (smooth, "auto"),
        (hooked, "auto"),
    ]:
        for whole, unused in itertools.product((False, True), (False, True)):
            check(rank, make, implementation, whole, False, "", find_unused_parameters=unused)
    check(rank, described, "auto", True, True, "", find_unused_parameters=False)
    check(rank, described, "auto", True, False, "", gradient_as_bucket_view=True)
    check(rank, described, "auto", False, False, "", static_graph=True)
    for compiled in ("inside", "outside"):
        check(rank, described, "auto", False, False, compiled)
        check(rank, smooth, "auto", False, False, compiled)
    distributed.barrier()
    print("all cases hold")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
