"""`lssl evaluate`: a group of commands, a file each (`evaluate_<name>.py`)."""

import click

from .main import LazyGroup

# command: (module, one line for `lssl evaluate --help`)
EXPERIMENTS = {
    "transfer": ("evaluate_transfer", "Table 2: are synthesized versions of unseen faces recognised as their target?"),
    "augmentation": ("evaluate_augmentation", "Table 1, Fig. 8: does a classifier learn more from synthesized faces?"),
    "diagnosis": ("evaluate_diagnosis", "Why synthesized faces help a classifier or harm it, and what mends it."),
    "domain-adaptation": (
        "evaluate_domain_adaptation",
        "Paper 3.2: do simulated faces, made to look real, teach a classifier of real ones?",
    ),
    "ablation": ("evaluate_ablation", "Tables 1 and 2 without side image, bidirectional loss, parsing loss."),
    "pose": ("evaluate_pose", "Table 3: turned faces, raw, drawn from the front, and normalized."),
    "figure": ("evaluate_figure", "Fig. 6: unseen people, a row a method, a column a class."),
    "images": (
        "evaluate_images",
        "FID, KID, likeness, identity and diversity of synthesized pictures beside real ones.",
    ),
    "activations": ("evaluate_activations", "Fig. 10: the face regions that activate units of the encoder most."),
}


@click.command(cls=LazyGroup, modules=EXPERIMENTS)
def command() -> None:
    """The paper's experiments on any data set folder, each with its own report.

    \b
    lssl evaluate transfer --data london/ --model runs/london
    lssl evaluate augmentation --data faces/ --quick
    lssl evaluate ablation --data faces/ --quick

    Each writes report.html, results.json (with the subjects of each fold) and results.csv, and prints its table. A run
    that was stopped goes on when it is repeated.
    """
