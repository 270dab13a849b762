"""The paper's own figures, shown beside ours where the data set is the paper's, and nowhere else."""

#: experiment: (`source` in dataset.json, what it is called, [(method, accuracy in percent)])
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
    """(the paper's table, [(method, accuracy)]), or None where the data set is not the paper's."""
    wanted, title, rows = _FIGURES[experiment]
    return (title, rows) if source == wanted else None
