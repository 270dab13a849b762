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
    network = config.to_dict()["network"]
    # A method without such settings derives its depths from the size, and needs sides divisible by 16.
    depths = [network[name] for name in ("num_downsamplings", "critic_layers") if name in network]
    factor = 2 ** max(depths, default=4)
    if size % factor:
        reasons.append(f"pictures of {size} pixels, which is not divisible by {factor}")
    return reasons
