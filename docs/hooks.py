"""What MkDocs asks while it builds the site: pages that stand elsewhere in the repository, and links that leave docs/."""

import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from nbconvert import MarkdownExporter

ROOT = Path(__file__).parents[1]
#: Pages of the site: files of the repository.
PAGES = {
    "index.md": "README.md",
    "changes.md": "CHANGELOG.md",
    "contributing.md": "CONTRIBUTING.md",
    **{f"cards/{path.stem}.md": f"lssl/weights/{path.name}" for path in (ROOT / "lssl" / "weights").glob("*.md")},
}
#: Pages of the API: a title, and the names whose docstrings it shows.
API = {
    "lssl": ("The front door", ["lssl.inference.editor.FaceEditor", "lssl.inference.editor.OpenPhotograph",
                                "lssl.inference.frontalize.frontal", "lssl.methods.run.train", "lssl.models.export"]),
    "ops": ("Operators", ["lssl.ops.pixel_shuffle_instance_norm.pixel_shuffle_instance_norm",
                          "lssl.ops.pixel_shuffle_instance_norm.PixelShuffleInstanceNorm", "lssl.ops.gradient_penalty.penalty",
                          "lssl.ops.gradient_penalty.critic_step", "lssl.ops.landmark_heatmap.landmark_heatmap",
                          "lssl.ops.rasterize.rasterize", "lssl.ops.interpolate.interpolate"]),
    "models": ("Networks", ["lssl.models.generator", "lssl.models.moving", "lssl.models.discriminator", "lssl.models.parser",
                            "lssl.models.classifier", "lssl.models.files"]),
    "data": ("Data", ["lssl.data.schema", "lssl.data.folder", "lssl.data.dataset", "lssl.data.portrait",
                      "lssl.data.landmarks", "lssl.data.readers.source"]),
    "face3d": ("3D faces", ["lssl.face3d.model.bilinear", "lssl.face3d.generate", "lssl.face3d.fitting.fit",
                            "lssl.face3d.frontal.draw", "lssl.face3d.scene.camera"]),
    "inference": ("Inference", ["lssl.inference.full_size", "lssl.inference.synthesis", "lssl.inference.synthetic_folder"]),
    "training": ("Training", ["lssl.training.config", "lssl.training.method", "lssl.training.face_method",
                              "lssl.training.losses", "lssl.training.loop", "lssl.training.seeds"]),
    "measures": ("Measures", [f"lssl.evaluation.measures.{path.stem}" for path in
                              sorted((ROOT / "lssl" / "evaluation" / "measures").glob("[!_]*.py"))]),
}  # fmt: skip


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Adds the pages that are not in docs/."""
    for page, source in PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / source).read_text(encoding="utf-8")))
    for page, (title, names) in API.items():
        text = f"# {title}\n\n" + "\n\n".join(f"::: {name}" for name in names) + "\n"
        files.append(File.generated(config, f"api/{page}.md", content=text))
    exported, resources = MarkdownExporter().from_filename(str(ROOT / "examples" / "first_steps.ipynb"))
    files.append(File.generated(config, "notebook.md", content=exported))
    for name, content in resources["outputs"].items():
        files.append(File.generated(config, name, content=content))
    return files


def on_page_markdown(markdown: str, page: object, **_: object) -> str:
    """Links of the repository as links of the site; those to files that are no pages become their names."""
    here = page.file.src_uri  # type: ignore[attr-defined]
    source = Path(PAGES.get(here, f"docs/{here}")).parent
    pages = {target: name for name, target in PAGES.items()}
    up = "../" * here.count("/")

    def link(match: re.Match[str]) -> str:
        mark, text, target = match.groups()
        path, _, anchor = target.partition("#")
        if "://" in target or not path:
            return match[0]
        place = (ROOT / source / path).resolve().relative_to(ROOT).as_posix()
        if place in pages:
            place = pages[place]
        elif place.startswith("docs/"):
            place = place.removeprefix("docs/")
        else:
            return f"{text} (`{place}`)" if text.strip("`") not in place else f"`{place}`"
        return f"{mark}[{text}]({up}{place}{'#' + anchor if anchor else ''})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, markdown)
