"""`lssl evaluate`: a group of commands, one file each (`evaluate_<name>.py`)."""

import click

from .main import LazyGroup

# command: (module, one line for `lssl evaluate --help`)
EXPERIMENTS = {
    "transfer": ("evaluate_transfer", "Table 2: are synthesized versions of unseen faces recognised as their target?"),
    "augmentation": ("evaluate_augmentation", "Table 1, Fig. 8: does a classifier learn more from synthesized faces?"),
    "diagnosis": ("evaluate_diagnosis", "Why synthesized faces help or harm a classifier, and which remedies work."),
    "domain-adaptation": (
        "evaluate_domain_adaptation",
        "Paper 3.2: can simulated faces, made to look real, train a classifier of real ones?",
    ),
    "ablation": ("evaluate_ablation", "Tables 1 and 2 without side image, bidirectional loss, parsing loss."),
    "pose": ("evaluate_pose", "Table 3: turned faces: as they are, drawn from the front, and normalized."),
    "figure": ("evaluate_figure", "Fig. 6: unseen people, one row per method, one column per class."),
    "images": (
        "evaluate_images",
        "FID, KID, similarity, identity and diversity of synthesized pictures, compared with real ones.",
    ),
    "activations": ("evaluate_activations", "Fig. 10: the face regions that activate units of the encoder most."),
}


@click.command(cls=LazyGroup, modules=EXPERIMENTS)
def command() -> None:
    """Run the paper's experiments on any data set folder, each with its own report.

    \b
    lssl evaluate transfer --data london/ --model runs/london
    lssl evaluate augmentation --data faces/ --quick
    lssl evaluate ablation --data faces/ --quick

    Each writes report.html, results.json (with the subjects of each fold) and results.csv, and prints its tables. To
    continue a run that was stopped, repeat the command.
    """
