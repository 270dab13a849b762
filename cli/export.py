"""`lssl export`."""

from pathlib import Path

import click

from .output import Output, json_option, quiet_option
from .values import ModelPath

_AGREEMENT = 1e-3


@click.command()
@click.argument("model", type=ModelPath())
@click.option("--onnx", "kind", flag_value="onnx", help="For onnxruntime and others (pip install 'lssl[export]').")
@click.option("--pt2", "kind", flag_value="pt2", help="PyTorch's own exported program, for torch.export.load.")
@click.option("-o", "--out", type=click.Path(path_type=Path), help="File to write.  [default: <model>.onnx or .pt2]")
@click.option(
    "--side",
    type=click.Choice(["landmarks", "heatmap"]),
    default="landmarks",
    show_default=True,
    help="What the file takes in addition to the picture: 68 landmarks, or their heatmap.",
)
@quiet_option
@json_option
def command(model: Path, kind: str | None, out: Path | None, side: str, quiet: bool, as_json: bool) -> None:
    """Write the generator MODEL (generator.safetensors, a run folder, or a built-in name) for programs without lssl.

    \b
    lssl export london --onnx -o london.onnx
    lssl export runs/mine --pt2

    The file takes any number of aligned faces, image (N, 3, S, S) in [-1, 1], with their landmarks (N, 68, 2) in pixels and
    the attributes (N, A) that they should show, and returns the changed faces. Its metadata (ONNX: metadata_props; .pt2:
    the extra file lssl.json) describes these inputs and the meaning of each number. The file is then run once, and its
    results are compared with the network's.
    """
    import importlib.util

    from lssl.errors import LsslError
    from lssl.inference.export import Translation, export_generator, largest_difference
    from lssl.inference.synthesis import EDIT_3D
    from lssl.models.export import load_generator

    if kind is None:
        raise click.UsageError("choose the kind of file: --onnx or --pt2")
    if str(model) == EDIT_3D:
        raise LsslError("3d is not a network: it fits a face model to each photograph, which such a file cannot do")
    output = Output(quiet, as_json)
    generator = load_generator(model)
    out = out or Path(f"{model.resolve().name if model.is_dir() else model.stem}.{kind}")
    if out.suffix != f".{kind}":
        raise click.BadParameter(f"{out} does not end in .{kind}", param_hint="--out")
    output.say(f"Exporting {model} to {out}; this takes seconds to minutes, by the network and the computer")
    export_generator(generator, out, kind, side=side)
    difference = None
    if kind == "pt2" or importlib.util.find_spec("onnxruntime") is not None:
        output.say("Written; comparing its results with the network's")
        difference = largest_difference(generator, out, side=side)
        if not difference < _AGREEMENT:
            raise LsslError(f"{out}: its results differ from the network's by {difference:.2g}; do not use it")
        output.say(f"{out}: agrees with the network to {difference:.1g} (on a scale from -1 to 1)")
    else:
        output.warn(f"{out}: not compared with the network, since onnxruntime is not installed")
    about = Translation(generator, side).describe()
    for name, text in about.items():
        if name.startswith(("input", "output")):
            output.say(f"  {name}: {text}")
    output.result(out=out, difference=difference, **about)
