"""Class names that people have, and files that are written under them."""

import csv
from pathlib import Path

from click.testing import CliRunner

from lssl.cli.main import main
from lssl.data import read_metadata

ODD = ["very happy", "-rf", "Happy", "happy", "con", "a/b", "../up", "..", "ünïcøde 笑顔", 'a,b "q"', "x" * 200]


def renamed(faces: Path, values: dict[str, str]) -> None:
    path = faces / "metadata.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.reader(file))
    column = rows[0].index("expression")
    for row in rows[1:]:
        row[column] = values[row[column]]
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)


def test_odd_class_names_stay_in_the_table_and_out_of_the_paths(tmp_path) -> None:
    names = ["neutral", "happy", "sad", "surprised", "angry", "disgusted", "fearful", "contemptuous"]
    for chosen in (ODD[:8], ODD[3:]):
        work = tmp_path / chosen[0]
        faces, made = work / "faces", work / "out" / "made"
        options = ["--subjects", "5", "--expressions", ",".join(names), "--size", "32", "--quiet"]
        assert CliRunner().invoke(main, ["generate-faces", str(faces), *options]).exit_code == 0
        renamed(faces, dict(zip(names, chosen, strict=True)))
        result = CliRunner().invoke(main, ["augment", "morph", str(faces), str(made), "--per-class", "2", "--quiet"])
        assert result.exit_code == 0, result.output
        folder = read_metadata(made)
        assert sorted(folder.columns["expression"]) == sorted([*chosen, *chosen])
        assert {path.parent for path in made.rglob("*.png")} == {made / "images"}
        assert len({name.casefold() for name in folder.file_names}) == len(folder) == 16
        assert [path.name for path in made.parent.iterdir()] == ["made"]
        assert all(len(Path(name).name.encode()) < 200 for name in folder.file_names)
