"""What `prepare_run` refuses before any work: bad data, settings that do not fit the data."""

import json
from pathlib import Path

import numpy as np
import pytest

from lssl.errors import LsslError
from lssl.methods.run import prepare_run


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            lambda f: (f / "images" / "0_0.png").write_bytes(b"no picture"),
            r"0_0\.png: not a readable picture",
        ),
        (lambda f: (f / "images" / "0_0.png").unlink(), r"0_0\.png is missing"),
        (
            lambda f: np.save(f / "landmarks.npy", np.zeros((3, 68, 2))),
            "has 3 rows but metadata.csv has 20",
        ),
        (lambda f: np.save(f / "landmarks.npy", np.zeros((20, 5, 2))), r"expected \(rows, 68, 2\)"),
        (lambda f: (f / "landmarks.npy").unlink(), "no landmarks.npy"),
        (lambda f: (f / "metadata.csv").unlink(), "metadata.csv is missing"),
        (lambda f: replace_text(f, "subject", "person"), "no column 'subject'"),
        (lambda f: replace_text(f, ",test,", ",train,"), "no row with split 'test'"),
    ],
)
def test_bad_data_is_found_before_work(config, faces, tmp_path, spoil, message):
    spoil(faces)
    with pytest.raises(LsslError, match=message):
        prepare_run(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def replace_text(folder: Path, old: str, new: str) -> None:
    path = folder / "metadata.csv"
    path.write_text(path.read_text().replace(old, new))


def test_one_class_and_unknown_attribute(config, faces, tmp_path):
    with pytest.raises(LsslError, match="no attribute column 'age'"):
        prepare_run(config.with_overrides({"data.attributes": "age"}), tmp_path / "run", quiet=True)
    replace_text(faces, "happy", "neutral")
    with pytest.raises(LsslError, match="one class only"):
        prepare_run(config.with_overrides({"data.attributes": "expression"}), tmp_path / "run", quiet=True)


def test_columns_that_do_not_vary_are_left_out_unless_asked_for(config, faces, tmp_path):
    table = [
        line + ("," + ("yaw" if n == 0 else "0")) for n, line in enumerate((faces / "metadata.csv").read_text().split())
    ]
    (faces / "metadata.csv").write_text("\n".join(table) + "\n")
    (faces / "dataset.json").write_text(json.dumps({"attributes": ["expression", "yaw"]}))
    loop = prepare_run(config, tmp_path / "run", quiet=True)
    assert loop.method.schema.names == ["neutral", "happy"]
    with pytest.raises(LsslError, match="one class only"):
        prepare_run(config.with_overrides({"data.attributes": "expression,yaw"}), tmp_path / "run2", quiet=True)


def test_sizes_that_do_not_fit(config, tmp_path):
    with pytest.raises(LsslError, match=r"16x16.*divisible by 64"):
        prepare_run(config.with_overrides({"network.critic_layers": 6}), tmp_path / "run", quiet=True)
    with pytest.raises(LsslError, match="fewer than the batch"):
        prepare_run(config.with_overrides({"schedule.batch_size": 100}), tmp_path / "run", quiet=True)


def test_a_person_in_both_splits_is_named(config, faces, tmp_path):
    table = (faces / "metadata.csv").read_text().splitlines()
    subject = next(line.split(",")[1] for line in table if ",test," in line)
    of_it = [k for k, line in enumerate(table) if line.split(",")[1] == subject]
    table[of_it[0]] = table[of_it[0]].replace(",test,", ",train,")
    (faces / "metadata.csv").write_text("\n".join(table) + "\n")
    with pytest.warns(UserWarning, match=rf"metadata.csv: 1 people \({subject}\) have pictures in both splits"):
        prepare_run(config, tmp_path / "run", quiet=True)
