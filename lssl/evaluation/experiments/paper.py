"""The paper's own figures: rows next to ours if the data set is the paper's; in comparisons of methods, a column of their
own that names their data set."""

#: experiment: (`source` in dataset.json, the table's title, [(method, accuracy in percent)])
_FIGURES: dict[str, tuple[str, str, list[tuple[str, float]]]] = {
    "augmentation": (
        "oulu-casia",
        "Table 1, Oulu-CASIA",
        [
            ("StarGAN", 83.90),
            ("LSSL without side input", 84.70),
            ("LSSL without bidirectional loss", 84.30),
            ("LSSL without parsing loss", 86.95),
            ("LSSL", 87.40),
        ],
    ),
    "transfer": (
        "mug",
        "Table 2, MUG",
        [
            ("real test faces", 90.42),
            ("CycleGAN", 84.40),
            ("IcGAN", 80.32),
            ("StarGAN", 85.15),
            ("LSSL without parsing loss", 89.91),
            ("LSSL", 90.35),
        ],
    ),
}


def paper_figures(experiment: str, source: str | None) -> tuple[str, list[tuple[str, float]]] | None:
    """(the paper's table, [(method, accuracy in percent)]), or None if the data set is not the paper's."""
    wanted, title, rows = _FIGURES[experiment]
    return (title, rows) if source == wanted else None


def published(experiment: str) -> tuple[str, dict[str, float]]:
    """(title of a column that names the paper's data set, {method: accuracy in percent})."""
    _, title, rows = _FIGURES[experiment]
    return f"paper ({title})", dict(rows)


_POSE: list[tuple[str, tuple[float, float, float]]] = [
    ("real profile faces", (70.15, 66.50, 58.90)),
    ("simulated frontal faces", (70.91, 65.90, 59.30)),
    ("CycleGAN", (71.60, 67.32, 61.50)),
    ("LSSL without parsing loss", (72.10, 68.52, 63.35)),
    ("LSSL", (72.70, 69.10, 64.05)),
]


def paper_pose_figures(source: str | None) -> tuple[str, list[tuple[str, dict[str, float]]]] | None:
    """(title, [(method, {"±15": accuracy in percent, ...})]) of Table 3, or None if the data set is not BU-3DFE."""
    if source != "bu3dfe":
        return None
    return "Table 3, BU-3DFE", [(name, dict(zip(("±15", "±30", "±45"), v, strict=True))) for name, v in _POSE]
