"""Whether `lssl train` will accept a data set, so that commands that make one can say so before the user waits for it."""

from collections.abc import Collection

from lssl.training.config import TrainConfig


def why_not_trainable(
    train_faces: int, test_faces: int, attributes: Collection[Collection[str]], size: int, preset: str = "standard"
) -> list[str]:
    """Reasons why training with a preset would refuse a data set; empty if it would not.

    attributes: the values of each attribute. size: the pictures' side in pixels.
    """
    config = TrainConfig.preset(preset)
    reasons = []
    if not train_faces or not test_faces:
        reasons.append("one split is empty; it needs people to train on and others to test on")
    elif train_faces < config.schedule.batch_size:
        reasons.append(f"{train_faces} training faces, fewer than the batch of {config.schedule.batch_size}")
    if all(len(values) < 2 for values in attributes):
        reasons.append("no attribute has two values, so there is nothing to change")
    if size % (factor := side_factor(preset)):
        reasons.append(f"pictures of {size} pixels, which is not divisible by {factor}")
    return reasons


def side_factor(preset: str = "standard") -> int:
    """What the side of a preset's pictures in pixels must be divisible by."""
    network = TrainConfig.preset(preset).to_dict()["network"]
    # A method without such settings derives its depths from the size, and needs sides divisible by 16.
    depths = [network[name] for name in ("num_downsamplings", "critic_layers") if name in network]
    return int(2 ** max(depths, default=4))


def other_size(size: int, preset: str = "standard") -> str:
    """A sentence on pictures whose side training with a preset refuses, with the nearest sides; empty if it takes them."""
    factor = side_factor(preset)
    if size % factor == 0:
        return ""
    nearest = " or ".join(str(side) for side in (size // factor * factor, -(-size // factor) * factor) if side)
    return f"`lssl train` refuses pictures of {size} pixels: the side must be divisible by {factor}; --size {nearest}"
