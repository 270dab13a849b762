"""Two operators in a network of your own: a fused upsampling block, and the gradient penalty of WGAN-GP.

python examples/op_in_your_network.py
"""

import torch
from torch import Tensor, nn

from lssl.ops import PixelShuffleInstanceNorm, gradient_penalty


class Upsample(nn.Sequential):
    """Twice the side: a convolution to four times the channels; shuffle, instance norm and ReLU in one pass."""

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__(
            nn.Conv2d(channels_in, 4 * channels_out, 3, padding=1, bias=False),
            PixelShuffleInstanceNorm(channels_out, upscale_factor=2, activation="relu"),
        )


def main(steps: int = 20) -> list[float]:
    """Trains a GAN to draw grey squares; returns the critic's loss of each step."""
    torch.manual_seed(0)
    generator = nn.Sequential(Upsample(16, 16), Upsample(16, 8), nn.Conv2d(8, 1, 3, padding=1), nn.Tanh())
    critic = nn.Sequential(
        nn.Conv2d(1, 16, 4, 2, 1), nn.LeakyReLU(0.01), nn.Conv2d(16, 32, 4, 2, 1), nn.LeakyReLU(0.01), nn.Conv2d(32, 1, 4)
    )  # fmt: skip
    of_generator = torch.optim.Adam(generator.parameters(), 1e-3, (0.5, 0.9))
    of_critic = torch.optim.Adam(critic.parameters(), 1e-3, (0.5, 0.9))
    losses = []
    for _ in range(steps):
        real, fake = squares(8), generator(torch.randn(8, 16, 4, 4))
        loss = critic(fake.detach()).mean() - critic(real).mean()
        loss = loss + 10 * gradient_penalty(critic, real, fake.detach())  # exact, without double backward
        of_critic.zero_grad()
        loss.backward()
        of_critic.step()
        of_generator.zero_grad()
        (-critic(fake).mean()).backward()
        of_generator.step()
        losses.append(loss.item())
    return losses


def squares(count: int) -> Tensor:
    """White squares somewhere on black, (N, 1, 16, 16) in [-1, 1]."""
    images = torch.full((count, 1, 16, 16), -1.0)
    for image in images:
        row, column = torch.randint(0, 10, (2,)).tolist()
        image[:, row : row + 6, column : column + 6] = 1.0
    return images


if __name__ == "__main__":
    print("critic's loss:", " ".join(f"{loss:.2f}" for loss in main()))
