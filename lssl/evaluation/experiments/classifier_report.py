"""How well a classifier does on people that it has not seen: the report of `lssl train-classifier`."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from lssl.data import FaceDataset
from lssl.data.sheet import labelled_grid
from lssl.data.writer import write_atomic
from lssl.evaluation.figures import confusion_figure
from lssl.evaluation.measures.confusion import confusion_matrix
from lssl.evaluation.report import Report, Table
from lssl.models.classifier import FILE_NAME, save_classifier
from lssl.training.classifier_training import ClassifierConfig, ClassifierResult, predict_faces

_MISTAKES = 8


def class_table(matrix: NDArray[np.integer], classes: tuple[str, ...], title: str = "Accuracy by class") -> Table:
    """Per class: faces, accuracy (share of its faces that are recognised) and precision (share of the predictions of it that
    are correct), in percent. matrix: (C, C), rows are true classes."""
    rows: list[list[Any]] = []
    for k, name in enumerate(classes):
        faces, predicted = int(matrix[k].sum()), int(matrix[:, k].sum())
        right = float(matrix[k, k])
        rows.append(
            [name, faces, 100 * right / faces if faces else None, 100 * right / predicted if predicted else None]
        )
    total = int(matrix.sum())
    rows.append(["all", total, 100 * float(np.trace(matrix)) / total if total else None, None])
    return Table(title, ["class", "faces", "accuracy", "precision"], rows)


def write_classifier_run(
    out: Path,
    result: ClassifierResult,
    train: FaceDataset,
    test: FaceDataset,
    config: ClassifierConfig,
    command: str,
) -> Report:
    """Tests a trained classifier, and writes classifier.safetensors, confusion.png, report.html, results.json and
    results.csv to the folder `out`."""
    classifier = result.classifier
    true, predicted = predict_faces(classifier, test)
    matrix = confusion_matrix(true.numpy(), predicted.numpy(), len(classifier.classes))
    accuracy = float(np.trace(matrix)) / len(test)
    used = config.resolved(len(train), len(classifier.classes))
    classifier.info.update(
        data=train.folder.root.name,
        trained_on=len(train),
        tested_on=len(test),
        test_accuracy=round(accuracy, 4),
        iterations=result.iterations,
        interrupted=result.interrupted,
        config=vars(used),
        subjects=train.subjects,
    )
    out.mkdir(parents=True, exist_ok=True)
    save_classifier(out / FILE_NAME, classifier)

    report = Report(f"Classifier of {classifier.group.name}: {train.folder.root.name}", command, config.seed)
    report.earlier_seconds = result.seconds
    report.paragraph(
        f"A {classifier.architecture} network was trained for {result.iterations} iterations of {config.batch_size} faces on "
        f"{len(train)} faces of {len(train.subjects)} people, and tested on {len(test)} faces of "
        f"{len(test.subjects)} other people: {100 * accuracy:.2f}% correct."
        + (" The training was interrupted." if result.interrupted else "")
    )
    report.table(class_table(matrix, classifier.classes))
    figure = confusion_figure(matrix, classifier.classes)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png", dpi=120, facecolor="white")
    write_atomic(out / "confusion.png", drawn.getvalue())
    report.plot(figure, "Confusion on unseen people, in percent of each true class.")
    _mistakes(report, test, true, predicted, classifier.classes)
    report.results.update(
        classes=list(classifier.classes),
        confusion=matrix.tolist(),
        accuracy=accuracy,
        subjects={"train": train.subjects, "test": test.subjects},
        settings=vars(used),
        loss=[list(entry) for entry in result.log],
    )
    report.write(out)
    return report


def _mistakes(
    report: Report, test: FaceDataset, true: torch.Tensor, predicted: torch.Tensor, classes: tuple[str, ...]
) -> None:
    wrong = (true != predicted).nonzero()[:, 0]
    if not len(wrong):
        report.paragraph("Every unseen face is classified correctly.")
        return
    shown = wrong[:_MISTAKES]
    columns = [test[int(row)]["image"][None] for row in shown]
    names = [f"{classes[predicted[row]]}" for row in shown.tolist()]
    truths = sorted({classes[true[row]] for row in shown.tolist()})
    report.heading("Mistakes")
    report.image(
        np.asarray(labelled_grid(columns, names)),
        f"{len(shown)} of {len(wrong)} mistakes, each under the class predicted; the true classes: {', '.join(truths)}.",
    )
