"""The native library is there and says how it was built."""

from lssl.ops import build_info


def test_native_library_is_loaded():
    info = build_info()
    assert info["native"], info["reason"]
    assert info["simd"]
