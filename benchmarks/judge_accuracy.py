"""How good is the judge? A classifier's accuracy on real faces of unseen people, by themselves and relative to their own
photographs.

    python benchmarks/judge_accuracy.py london/ --folds 6

Trains the classifier of `lssl train-classifier` in folds by subject, and counts how many real faces of the other people it
recognises: picture by picture, and relative to the mean of the same person's photographs (as in the second table of
`lssl evaluate transfer`). If single pictures are hard to label (smiles that hardly smile), the first figure shows how much
of a generator's error is the judge's.
"""

from pathlib import Path

import click
import numpy as np
from tqdm import tqdm

from lssl.data import read_metadata, to_uint8
from lssl.errors import LsslError
from lssl.evaluation.experiments.folds import check_faces, rows_of, subject_folds
from lssl.evaluation.experiments.transfer import classify, logits, own_middle
from lssl.training.classifier_training import ClassifierConfig, labelled_faces, train_classifier


@click.command(
    help="Accuracy of a classifier on real faces of unseen people, alone and relative to their own photographs."
)
@click.argument("data", type=click.Path(exists=True, path_type=Path))
@click.option("--attribute", default="", help="[default: the folder's first]")
@click.option("--folds", "count", default=6, show_default=True)
@click.option("--seed", default=0, show_default=True)
def main(data: Path, attribute: str, count: int, seed: int) -> None:
    try:
        folder = read_metadata(data)
        attribute = attribute or folder.attributes[0]
        folds = subject_folds(folder.subjects, count, seed)
        group = check_faces(folder, attribute, folds)
    except LsslError as error:
        raise click.ClickException(str(error)) from None
    alone, beside = [], []
    for fold in tqdm(folds, unit="fold"):
        learnt = labelled_faces(rows_of(folder, fold.train), attribute, group=group)
        judge = train_classifier(learnt, ClassifierConfig(seed=seed), progress=True).classifier
        tested = labelled_faces(rows_of(folder, fold.test, "test"), attribute, group=group)
        images = to_uint8(tested.batch(list(range(len(tested)))).image).permute(0, 2, 3, 1).numpy()
        classes = np.array([group.index(value) for value in tested.folder.columns[attribute]])
        alone.append(classify(judge, images) == classes)
        values = logits(judge, images)
        middle = own_middle(values, classes, tested.folder.subjects)
        known = ~np.isnan(middle[:, 0])
        beside.append(((values - middle).argmax(1) == classes)[known])
    for name, found in (("alone", alone), ("relative to the same person's photographs", beside)):
        right = np.concatenate(found)
        click.echo(f"real faces of unseen people {name}: {right.sum()} of {len(right)} recognised in {count} folds")


if __name__ == "__main__":
    main()
