import pytest

from lssl.errors import LsslError
from lssl.models.parser import FILE, FaceParser, load_parser


def test_a_parser_of_other_classes_is_named(tmp_path) -> None:
    path = tmp_path / "p.safetensors"
    FILE.write(path, FaceParser(4, 2), {"width": 4, "num_levels": 3, "classes": ["hair", "hat"]})
    with pytest.raises(LsslError, match=r"p\.safetensors: parses hair, hat, not "):
        load_parser(path)


def test_a_description_that_makes_no_parser_is_named(tmp_path) -> None:
    path = tmp_path / "p.safetensors"
    FILE.write(path, FaceParser(4, 2), {"width": 4})
    with pytest.raises(
        LsslError, match=r"p\.safetensors: written by lssl .* cannot build this face parser \('classes'\)"
    ):
        load_parser(path)
