"""`lssl.train`: a run in one call."""

import pytest
import torch

import lssl
from lssl.errors import LsslError


def test_a_run_in_one_call(tiny, faces, tmp_path) -> None:
    sections = {name: values for name, values in tiny("paper").to_dict().items() if isinstance(values, dict)}
    settings = {f"{name}.{key}": value for name, values in sections.items() for key, value in values.items()}
    del settings["data.folder"]
    generator = lssl.train(faces, preset="paper", out=tmp_path / "run", device="cpu", quiet=True, **settings)
    assert [value for _, value in generator.schema.targets()] == ["neutral", "happy"]
    kept = lssl.load_generator(tmp_path / "run").state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in generator.state_dict().items())
    with pytest.raises(LsslError, match="holds a run already"):
        lssl.train(faces, preset="paper", out=tmp_path / "run", device="cpu", quiet=True, iterations=2)
    with pytest.raises(LsslError, match="speling"):
        lssl.train(faces, preset="paper", out=tmp_path / "other", device="cpu", quiet=True, speling=2)
