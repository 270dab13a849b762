"""The one place that chooses a device."""

import pytest
import torch

from lssl.device import choose_device
from lssl.errors import LsslError


def test_a_gpu_where_there_is_one(monkeypatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device() == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert choose_device() == torch.device("cuda")
    assert choose_device("cpu") == torch.device("cpu")


@pytest.mark.parametrize("name", ["gpu", "cuda:99", "meta", ""])
def test_what_is_not_there_is_said(name) -> None:
    with pytest.raises(LsslError, match="--device"):
        choose_device(name)
