"""`lssl evaluate images`."""

from pathlib import Path

import click

from .evaluate_options import QUICK_CLASSIFIER, command_line, print_report
from .output import SEED, kept_json_option, of_context, quiet_option

QUICK_PICTURES, QUICK_PAIRS = 200, 50


@click.command()
@click.argument("real", type=click.Path(path_type=Path))
@click.argument("fake", type=click.Path(path_type=Path))
@click.option(
    "--out", "-o", type=click.Path(path_type=Path), help="Folder of the report.  [default: runs/images-<FAKE>]"
)
@click.option(
    "--network",
    type=click.Path(exists=True, path_type=Path),
    help="Network for the features of FID, KID, precision and recall: Inception v3 weights (pytorch-fid's file gives "
    "the published FID), a classifier of lssl train-classifier, ResNet-50 or VGG-16 weights.  [default: a small "
    "classifier of REAL's labels, trained first]",
)
@click.option(
    "--identity-network",
    type=click.Path(exists=True, path_type=Path),
    help="Network for the identity distance, a file as for --network.  [default: dlib, if it is installed]",
)
@click.option(
    "--lpips",
    "lpips_files",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Weights of LPIPS; give it twice: torchvision's AlexNet or VGG-16, and lpips' alex.pth or vgg.pth.",
)
@click.option(
    "--attribute", help="Column that says what was synthesized.  [default: FAKE's first attribute that REAL has, too]"
)
@click.option(
    "--split",
    type=click.Choice(["train", "test", "all"]),
    default="all",
    show_default=True,
    help="Which of REAL's pictures to compare FAKE with. The fakes' sources are looked up in all of them.",
)
@click.option("--limit", type=click.IntRange(8), default=10_000, show_default=True, help="Most pictures of each set.")
@click.option("--pairs", type=click.IntRange(2), default=300, show_default=True, help="Most pairs of each kind.")
@click.option("--quick", is_flag=True, help="200 pictures of each set, 50 pairs, a network trained only briefly.")
@click.option("--seed", type=SEED, default=0, show_default=True)
@click.option("--device", help="cpu, cuda, cuda:1.  [default: a GPU if there is one]")
@click.option("--overwrite", is_flag=True, help="Delete what an earlier run with other options kept in --out.")
@quiet_option
@kept_json_option
def command(
    real: Path,
    fake: Path,
    out: Path | None,
    network: Path | None,
    identity_network: Path | None,
    lpips_files: tuple[Path, ...],
    attribute: str | None,
    split: str,
    limit: int,
    pairs: int,
    quick: bool,
    seed: int,
    device: str | None,
    overwrite: bool,
    quiet: bool,
) -> None:
    """Compare synthesized pictures FAKE with real ones REAL: quality, similarity, identity, diversity.

    \b
    lssl augment runs/london london/ made/ --per-class 200
    lssl evaluate images london/ made/
    lssl evaluate images london/ made/ \\
        --network pt_inception-2015-12-05-6726825d.pth
    lssl evaluate images london/ made/ \\
        --lpips alexnet-owt-7be5be79.pth --lpips alex.pth
    lssl evaluate images photographs/ pictures/ --network runs/classifier

    Both are data set folders or plain folders of pictures, all of the same size. FID, KID, precision and recall are given
    next to what real pictures of other people reach. If it is known which picture each fake was made from (by the column
    made_from of lssl augment, or equal file names), pairs are measured by SSIM, PSNR, LPIPS and identity distance, and
    compared with real pairs. Diversity over targets and over people reveals ignored targets and mode collapse.
    """
    from lssl.data import detect
    from lssl.device import choose_device
    from lssl.evaluation.experiments.image_report import compare_images, own_network
    from lssl.evaluation.experiments.state import ExperimentState
    from lssl.evaluation.measures.compare_images import Judges, dlib_embedding, network_embedding
    from lssl.evaluation.measures.features import open_network
    from lssl.evaluation.measures.image_sets import check_same_size, choose_attribute, limited, open_images
    from lssl.evaluation.report import Report
    from lssl.models.pretrained.lpips import load_lpips

    chosen = choose_device(device)
    out = out or Path("runs") / f"images-{fake.resolve().name}"
    if quick:
        limit, pairs = min(limit, QUICK_PICTURES), min(pairs, QUICK_PAIRS)
    report = Report(f"Pictures of {fake.name}, compared with {real.name}", command_line(), seed)
    sources = open_images(real)
    reals = limited(sources if split == "all" else open_images(real, split), limit, seed)
    fakes = limited(open_images(fake), limit, seed)
    check_same_size(reals, fakes)
    attribute = choose_attribute(reals, fakes, attribute)
    features = open_network(network, chosen) if network else None
    person = open_network(identity_network, chosen) if identity_network else None
    lpips = load_lpips(lpips_files).to(chosen) if lpips_files else None
    settings = {
        "experiment": "images",
        "real": real.name,
        "fake": fake.name,
        "pictures": [len(reals), len(fakes)],
        "split": split,
        "attribute": attribute,
        "network": None if features is None else features.weights,
        "quick": quick,
        "seed": seed,
    }
    state = ExperimentState(out, settings, overwrite=overwrite)
    if features is None:
        iterations = QUICK_CLASSIFIER if quick else 0
        kept = state.folder("classifier")
        features = own_network(reals, attribute, kept, iterations=iterations, seed=seed, device=chosen, quiet=quiet)
    judges = Judges(features, lpips)
    if person is not None:
        judges = Judges(features, lpips, network_embedding(person), f"{person.name}, features of length 1")
    elif detect.available():
        name = "dlib's embedding, under 0.6 is usually the same person"
        judges = Judges(features, lpips, dlib_embedding, name)
    else:
        report.paragraph(f"No identity distance: {detect.EXTRA_MISSING}.")
    of_context().say(f"{len(reals)} real and {len(fakes)} fake pictures; features: {features.name}; on {chosen}")
    compare_images(
        report,
        reals,
        fakes,
        sources,
        judges,
        attribute=attribute,
        pairs=pairs,
        seed=seed,
        cache=state.folder("features"),
        progress=not quiet,
    )
    report.write(out)
    print_report(report, out)
