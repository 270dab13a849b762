"""The report is one file without outside references, and its data files hold the same values."""

import csv
import json

import matplotlib as mpl

mpl.use("Agg")
import numpy as np
from matplotlib import pyplot as plt

from lssl.evaluation.report import Report, Table, console_table, format_value


def make_report(tmp_path):
    report = Report("Augmentation <test>", "lssl evaluate augmentation --quick", seed=3)
    report.table(
        Table(
            "Accuracy",
            ["method", "accuracy"],
            [["real", (81.5, 1.25)], ["real + fake", (84.0, 0.5)]],
            best=["accuracy"],
        )
    )
    report.image(np.zeros((4, 4, 3), np.uint8), "four by four")
    figure, axes = plt.subplots()
    axes.plot([0, 1], [0, 1], label="curve")
    report.plot(figure, "a curve")
    plt.close(figure)
    report.results["folds"] = [{"test": ["001"], "train": ["002"]}]
    return report.write(tmp_path)


def test_page_needs_no_network_and_escapes_text(tmp_path):
    page = make_report(tmp_path).read_text()
    assert "&lt;test&gt;" in page
    assert "<script" not in page
    assert 'src="http' not in page
    assert 'href="http' not in page.split("<svg")[0]
    assert "<td class=best>84.00 ± 0.50</td>" in page


def test_json_and_csv_hold_the_tables(tmp_path):
    make_report(tmp_path)
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["seed"] == 3
    assert results["tables"][0]["rows"][1] == ["real + fake", [84.0, 0.5]]
    assert results["folds"][0]["test"] == ["001"]
    rows = list(csv.DictReader((tmp_path / "results.csv").open()))
    assert rows[0]["row"] == "real"


def test_console_table_lines_up():
    lines = console_table(Table("T", ["name", "x"], [["a", 1.0], ["long name", None]])).splitlines()
    assert len({len(line) for line in lines[1:]}) == 1


def test_small_numbers_keep_their_digits():
    assert format_value(0.0123) == "0.0123"
    assert format_value(float("nan")) == "–"
