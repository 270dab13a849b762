import pytest
import torch

from lssl.data import AttributeGroup, AttributeSchema
from lssl.errors import LsslError

SCHEMA = AttributeSchema(
    (
        AttributeGroup("expression", ("neutral", "happy", "sad")),
        AttributeGroup("yaw", ("-15", "0", "15")),
        AttributeGroup("glasses", ("0", "1"), binary=True),
    )
)


def test_layout_and_names() -> None:
    assert SCHEMA.dimension == 7
    assert SCHEMA.names == ["neutral", "happy", "sad", "-15", "0", "15", "glasses"]
    assert SCHEMA.slices["yaw"] == slice(3, 6)


def test_encode_and_decode_are_inverse() -> None:
    values = {"expression": "sad", "yaw": "-15", "glasses": "1"}
    y = SCHEMA.encode(values)
    assert y.tolist() == [0, 0, 1, 1, 0, 0, 1]
    assert SCHEMA.decode(y) == [values]
    columns = {name: [value] * 2 for name, value in values.items()}
    assert torch.equal(SCHEMA.encode_columns(columns), y.repeat(2, 1))


def test_from_columns_sorts_numbers_as_numbers_and_puts_neutral_first() -> None:
    schema = AttributeSchema.from_columns(
        {"e": ["sad", "neutral", "angry"], "yaw": ["15", "-45", "0"], "male": ["yes", "no", "no"]}
    )
    assert schema.group("e").values == ("neutral", "angry", "sad")
    assert schema.group("yaw").values == ("-45", "0", "15")
    assert schema.group("male").binary
    assert schema.group("male").values == ("no", "yes")


def test_json_round_trip() -> None:
    assert AttributeSchema.from_dict(SCHEMA.to_dict()) == SCHEMA
    with pytest.raises(LsslError, match="not an attribute schema"):
        AttributeSchema.from_dict({"groups": [{"name": "a"}]})


def test_samples_are_valid_uniform_and_repeatable() -> None:
    y = SCHEMA.sample(3000, torch.Generator().manual_seed(1))
    assert torch.equal(y, SCHEMA.sample(3000, torch.Generator().manual_seed(1)))
    assert torch.equal(y[:, :3].sum(1), torch.ones(3000))
    assert (y.mean(0)[:6] - 1 / 3).abs().max() < 0.04
    assert abs(float(y[:, 6].mean()) - 0.5) < 0.04


def test_with_value_changes_one_group_only() -> None:
    y = SCHEMA.encode({"expression": "sad", "yaw": "-15", "glasses": "1"})
    changed = SCHEMA.with_value(y[None], "expression", "happy")
    assert changed.tolist() == [[0, 1, 0, 1, 0, 0, 1]]
    assert SCHEMA.with_value(y, "glasses", "0").tolist() == [0, 0, 1, 1, 0, 0, 0]
    assert SCHEMA.indices(changed, "expression").tolist() == [1]


def test_find_understands_what_users_write() -> None:
    assert SCHEMA.find("happy") == ("expression", "happy")
    assert SCHEMA.find("yaw=15") == ("yaw", "15")
    assert SCHEMA.find("glasses") == ("glasses", "1")
    with pytest.raises(LsslError, match="may mean yaw=0, glasses=0"):
        SCHEMA.find("0")
    with pytest.raises(LsslError, match="no attribute value 'grinning'; known are expression: neutral, happy"):
        SCHEMA.find("grinning")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: AttributeSchema.from_columns({"e": ["happy", "happy"]}), "has one class only"),
        (lambda: AttributeSchema(()), "at least one group"),
        (lambda: AttributeSchema.from_columns({"e": ["a", "b"]}, binary=["f"]), "no attribute column 'f'"),
        (lambda: SCHEMA.encode({"expression": "sad", "yaw": "0"}), "'glasses' is missing"),
        (lambda: SCHEMA.encode({"expression": "glad"}), "no value 'glad'; it has: neutral, happy, sad"),
        (lambda: SCHEMA.encode_columns({"yaw": ["0"]}), "missing attribute column 'expression'"),
    ],
)
def test_errors_say_what_is_known(make, message) -> None:
    with pytest.raises(LsslError, match=message):
        make()
