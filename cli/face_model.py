"""`lssl face-model`: build, import, show."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .output import SEED, Output, kept_json_option, kept_quiet_option, of_context, quiet_option

if TYPE_CHECKING:
    from lssl.face3d.model.decomposition import BuildReport

_OUTPUT = click.option(
    "-o",
    "--out",
    "--output",
    "output",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to write.",
)


@click.group()
def command() -> None:
    """Bilinear 3D face models: build one from scans, import a published one, look at one.

    \b
    lssl face-model build scans/ -o model.npz --landmarks template.txt
    lssl face-model import ict FaceXModel/ -o ict.npz
    lssl face-model show ict.npz -o sheet.png
    lssl face-model show embedded -o sheet.png
    lssl face-model show ict -o ict.png
    """


@command.command(context_settings={"show_default": True})
@click.argument("meshes", nargs=-1, required=True, type=click.Path(path_type=Path))
@_OUTPUT
@click.option(
    "--landmarks",
    required=True,
    type=click.Path(path_type=Path),
    help="Text file with the vertex numbers, from 0, of the 68 landmarks in iBUG order; optionally followed by the 17 of "
    "the jaw line of turned faces.",
)
@click.option(
    "--parts", type=click.Path(path_type=Path), help="Text file with one part per vertex (skin, lips, sclera, ...)."
)
@click.option(
    "--variance",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.999,
    help="Share of the variance to keep in each mode.",
)
@click.option("--max-identity", type=click.IntRange(1), help="Most identity weights, not counting the constant one.")
@click.option(
    "--max-expression", type=click.IntRange(1), help="Most expression weights, not counting the constant one."
)
@click.option(
    "--folds", type=click.IntRange(0), default=5, help="Folds for measuring errors on held-out identities; 0: none."
)
@click.option(
    "--unit",
    type=click.Choice(["cm", "mm", "m"]),
    default="cm",
    help="Unit of the scans; the model is in centimetres.",
)
@quiet_option
@kept_json_option
def build(
    meshes: tuple[Path, ...],
    output: Path,
    landmarks: Path,
    parts: Path | None,
    variance: float,
    max_identity: int | None,
    max_expression: int | None,
    folds: int,
    unit: str,
    quiet: bool,
) -> None:
    """Build a model from registered scans by higher-order SVD. MESHES are files, or folders of files, named
    <identity>_<expression>.obj or .ply, all with the same triangles; one expression is "neutral". Missing scans are filled
    in.

    \b
    lssl face-model build scans/ -o model.npz --landmarks template.txt
    lssl face-model build 001_neutral.obj 001_happy.obj ... -o model.npz \\
        --landmarks template.txt --variance 0.99
    """
    from lssl.face3d.model.colours import part_colours
    from lssl.face3d.model.decomposition import build_model
    from lssl.face3d.model.marks import pose_doubt, read_landmark_vertices, read_parts, scan_topology, size_doubt
    from lssl.face3d.model.meshes import read_scans

    scale = {"cm": 1.0, "mm": 0.1, "m": 100.0}[unit]
    say = of_context()
    _check_model_output(output)
    marks = read_landmark_vertices(landmarks)
    labels = None if parts is None else read_parts(parts)
    scans = read_scans(meshes, progress=not quiet)
    say.say(
        f"{len(scans.identities)} identities, {len(scans.expressions)} expressions "
        f"({', '.join(scans.expressions)}), {int((~scans.present).sum())} scans missing, "
        f"{scans.vertices.shape[2]} vertices, variance {variance:g}"
    )
    neutral = scans.vertices[:, 0][scans.present[:, 0]].mean(0) * scale
    topology = scan_topology(neutral, scans.faces, marks, labels)
    for doubt in (size_doubt(neutral, marks, unit), pose_doubt(neutral, marks)):
        if doubt:
            click.secho(f"! {doubt}", fg="yellow", err=True)
    model, report = build_model(
        scans.vertices * scale,
        scans.expressions,
        topology,
        present=scans.present,
        albedos=scans.colours,
        variance=variance,
        max_identity=max_identity,
        max_expression=max_expression,
        folds=min(folds, len(scans.identities)),
        name=output.stem,
        progress=not quiet,
    )
    if scans.colours is None:
        model = model.with_albedo(*part_colours(topology.vertex_parts, topology.faces))
    model.save(output)
    _print_report(report, scale, unit, say)
    say.say(f"Model: {output}")
    say.result(out=output, expressions=model.expressions, rms_error=report.rms_error, max_error=report.max_error)


@command.command("import")
@click.argument("kind", type=click.Choice(["ict", "facewarehouse", "facescape"]))
@click.argument("path", type=click.Path(path_type=Path))
@_OUTPUT
@click.option(
    "--landmarks",
    type=click.Path(path_type=Path),
    help="facewarehouse: text file with the 68 landmarks' vertex numbers, which its own files lack.",
)
@click.option(
    "--allow-pickle",
    is_flag=True,
    help="facescape: read its file with Python's pickle, which runs any code in the file; only for files you trust.",
)
@quiet_option
@kept_json_option
def import_(kind: str, path: Path, output: Path, landmarks: Path | None, allow_pickle: bool, quiet: bool) -> None:
    """Read a published model and write it as a model file of lssl.

    \b
    ict            the FaceXModel folder of ICT-FaceKit (or its .tar.xz)
    facewarehouse  the folder with Tester_1 ... Tester_150
    facescape      facescape_bm_v1.6_*.npz

    \b
    lssl face-model import ict FaceXModel/ -o ict.npz
    lssl face-model import facewarehouse FaceWarehouse/ -o fw.npz \\
        --landmarks fw68.txt
    lssl face-model import facescape facescape_bm_v1.6_847_50_52_id_front.npz \\
        -o facescape.npz --allow-pickle
    """
    from lssl.face3d.model.importers.facescape import import_facescape
    from lssl.face3d.model.importers.facewarehouse import import_facewarehouse
    from lssl.face3d.model.importers.ict import import_ict

    _check_model_output(output)
    say = of_context()
    say.say(f"Reading {kind} from {path}")
    if kind == "ict":
        model = import_ict(path, progress=not quiet)
    elif kind == "facescape":
        model = import_facescape(path, allow_pickle=allow_pickle, progress=not quiet)
    else:
        model, report = import_facewarehouse(path, landmarks, progress=not quiet)
        _print_report(report, 1.0, "cm", say)
    model.save(output)
    say.say(
        f"{output}: {model.topology.num_vertices} vertices, {model.num_identity} identity and "
        f"{model.num_expression} expression weights; expressions: {', '.join(model.expressions)}"
    )
    say.result(out=output, vertices=model.topology.num_vertices, expressions=model.expressions)


@command.command(context_settings={"show_default": True})
@click.argument("model")
@click.option(
    "-o",
    "--out",
    "--output",
    "output",
    type=click.Path(path_type=Path, dir_okay=False),
    default="sheet.png",
    help="Picture to write.",
)
@click.option("--size", type=click.IntRange(32, 1024), default=160, help="Side of each face in pixels.")
@click.option("--modes", type=click.IntRange(1, 20), default=5, help="How many identity modes to show.")
@click.option("--seed", type=SEED, default=0, help="Seed of the row of random people.")
@kept_quiet_option
@kept_json_option
def show(model: str, output: Path, size: int, modes: int, seed: int) -> None:
    """Draw a contact sheet of MODEL (an .npz, "embedded" or "ict"): all expressions, the mean, the first identity modes at
    -2 and +2 standard deviations, random people, yaw from -90 to 90 degrees, and the lightings.

    \b
    lssl face-model show embedded -o sheet.png
    lssl face-model show ict.npz -o ict.png --size 200
    """
    from lssl.data.writer import save_picture
    from lssl.face3d.builtin import load_face_model
    from lssl.face3d.sheet import model_sheet

    if output.suffix.lower() not in (".png", ".jpg", ".jpeg"):
        raise click.BadParameter(f"{output}: expected a .png or .jpg name", param_hint="--out")
    _check_output(output)
    face_model = load_face_model(model)
    save_picture(output, model_sheet(face_model, size, modes, seed))
    say = of_context()
    say.say(f"{face_model.name}: {output}")
    say.result(out=output, model=face_model.name)


def _check_model_output(output: Path) -> None:
    """As `_check_output`; a name that does not end in .npz is refused, since it may be a scan's."""
    if output.suffix.lower() != ".npz":
        raise click.BadParameter(f"{output}: expected a .npz name", param_hint="--out")
    _check_output(output)


def _check_output(output: Path) -> None:
    from lssl.data.lock import check_writable

    check_writable(output.parent)
    if not output.parent.is_dir():
        raise click.ClickException(f"{output}: the folder {output.parent} does not exist; create it first")


def _print_report(report: "BuildReport", scale: float, unit: str, output: Output) -> None:
    output.say(
        f"Ranks: {report.rank_identity} identity, {report.rank_expression} expression, {report.rank_spatial} spatial\n"
        f"Variance kept: identity {report.retained_identity:.4%}, expression {report.retained_expression:.4%}\n"
        f"Reconstruction: rms {report.rms_error / scale:.4g} {unit}, worst {report.max_error / scale:.4g} {unit}"
    )
    if report.held_out_error:
        output.say("Held-out people, rms error by expression (fitted to all their scans; to the neutral one only):")
        for name, error in report.held_out_error.items():
            other = report.transfer_error.get(name)
            transfer = "" if other is None else f"; {other / scale:.4g} {unit}"
            output.say(f"  {name:14} {error / scale:.4g} {unit}{transfer}")
