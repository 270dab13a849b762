"""Whether `lssl train` takes a data set, said by those who make one before the user waits for it."""

from collections.abc import Collection

from lssl.training.config import TrainConfig


def why_not_trainable(
    train_faces: int, test_faces: int, attributes: Collection[Collection[str]], size: int, preset: str = "standard"
) -> list[str]:
    """Why training by a preset refuses a data set of so many faces, with these values of each attribute, `size` pixels
    a side; empty where it takes it."""
    config = TrainConfig.preset(preset)
    reasons = []
    if not train_faces or not test_faces:
        reasons.append("one split is empty; it wants people to train on and others to look at")
    elif train_faces < config.schedule.batch_size:
        reasons.append(f"{train_faces} training faces, fewer than the batch of {config.schedule.batch_size}")
    if all(len(values) < 2 for values in attributes):
        reasons.append("no attribute has two values, so there is nothing to change")
    network = config.to_dict()["network"]
    # A method without depths of its own has those that follow from the size, and takes sides that divide by 16.
    depths = [network[name] for name in ("num_downsamplings", "critic_layers") if name in network]
    factor = 2 ** max(depths, default=4)
    if size % factor:
        reasons.append(f"pictures of {size} pixels, which do not divide by {factor}")
    return reasons
