"""Fig. 6: photographs of unseen people with one row per method and one column per class; `lssl evaluate figure`."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from lssl.data.sheet import draw_sheet
from lssl.data.writer import save_picture
from lssl.evaluation.experiments.contenders import open_contenders, train_contender
from lssl.evaluation.experiments.experiment import Settings, check_unseen, open_experiment
from lssl.evaluation.experiments.transfer import spread_people, transfer
from lssl.models.export import load_generator


def draw_figure(
    faces: NDArray[np.uint8], made: Sequence[NDArray[np.uint8]], names: Sequence[str], classes: Sequence[str]
) -> Image.Image:
    """For each of the faces (N, S, S, 3): the face, and for each method a row of its results. made: for each method
    (N, classes, S, S, 3); all uint8."""
    empty = np.full_like(faces[0], 255)
    rows, labels = [], []
    for k, face in enumerate(faces):
        for number, (pictures, name) in enumerate(zip(made, names, strict=True)):
            rows.append([face if number == 0 else empty, *pictures[k]])
            labels.append(name)
    return draw_sheet(rows, columns=["input", *classes], labels=labels, gap=2)


def make_figure(
    settings: Settings,
    models: Mapping[str, Path],
    methods: Sequence[str],
    out: Path,
    *,
    faces: int = 4,
    changes: Mapping[str, Any] | None = None,
    quick: Mapping[str, Any] | None = None,
) -> Image.Image:
    """Draws out/figure.png: the rows of the given models, then those of presets, which are first trained on the training
    split.

    changes, quick: to the presets' settings, see `open_contenders`. Trained generators are kept in `out` and reused.
    Raises LsslError before work starts if the data or the settings do not fit.
    """
    given = {name: load_generator(path, settings.device) for name, path in models.items()}
    contenders = open_contenders(methods, settings, changes or {}, quick)
    kept = {contender.name: contender.config.to_dict() for contender in contenders}
    experiment = open_experiment("figure", settings, out, methods=kept)
    for model in given.values():
        check_unseen(model, experiment.folds)
    fold = experiment.folds[0]
    train, test = experiment.train_rows(fold), experiment.test_rows(fold)
    for contender in contenders:
        parser = experiment.state.root / "parser.safetensors"
        folder = experiment.state.folder(contender.name)
        given[contender.name], _ = train_contender(experiment, contender, train, 0, folder, parser_path=parser)
    shown = test.select(spread_people(test.subjects, faces))
    results = [transfer(model, shown, experiment.group.name) for model in given.values()]
    figure = draw_figure(results[0].images, [r.pictures for r in results], list(given), results[0].classes)
    save_picture(out / "figure.png", figure)
    return figure
