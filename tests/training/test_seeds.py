"""All randomness of training is made in one place."""

import re
from pathlib import Path

import torch

import lssl
from lssl.training import seeds


def test_equal_arguments_give_equal_numbers_and_others_others():
    def numbers(*arguments):
        return torch.rand(8, generator=seeds.generator(*arguments))

    assert torch.equal(numbers(0, 3, "flip"), numbers(0, 3, "flip"))
    for other in ((1, 3, "flip"), (0, 4, "flip"), (0, 3, "order")):
        assert not torch.equal(numbers(0, 3, "flip"), numbers(*other))


def test_nothing_else_in_training_makes_a_generator():
    root = Path(lssl.__file__).parent
    files = [
        path for folder in ("training", "methods") for path in (root / folder).rglob("*.py") if path.name != "seeds.py"
    ]
    assert len(files) > 20
    makers = [
        path.name for path in files if re.search(r"torch\.Generator\(|default_rng\(|manual_seed\(", path.read_text())
    ]
    assert makers == []
