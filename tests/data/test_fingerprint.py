import torch

from lssl.data.fingerprint import file_fingerprint, weights_fingerprint


def test_a_file_is_known_by_its_bytes(tmp_path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"1")
    (tmp_path / "c").write_bytes(b"2")
    assert file_fingerprint(tmp_path / "a") == file_fingerprint(tmp_path / "b") != file_fingerprint(tmp_path / "c")


def test_a_network_is_known_by_its_weights() -> None:
    torch.manual_seed(0)
    first, other = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    before = weights_fingerprint(first)
    assert before != weights_fingerprint(other)
    other.load_state_dict(first.state_dict())
    assert before == weights_fingerprint(other)
