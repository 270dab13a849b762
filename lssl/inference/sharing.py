"""Generators as folders to share: weights, settings and a model card, on disk or on the Hugging Face hub."""

import importlib.util
import json
import tempfile
from pathlib import Path
from typing import Any

from lssl.data.writer import write_atomic
from lssl.errors import LsslError
from lssl.models.export import FILE, WEIGHTS, TrainedGenerator, built_in_generators, save_generator

CARD = "README.md"
SETTINGS = "config.json"
_HUB_MISSING = "the Hugging Face hub needs huggingface_hub: pip install huggingface_hub"  # ends a sentence of `_hub`


def model_card(model: str | Path) -> str | None:
    """The model card, in Markdown, of a built-in generator or in a generator's folder; None if there is none."""
    path = Path(model)
    if str(model) in built_in_generators() and not (path.is_file() or (path / FILE.name).is_file()):
        path = WEIGHTS / f"{model}.md"
    elif path.is_dir():
        path = path / CARD
    else:
        return None
    return path.read_text(encoding="utf-8") if path.is_file() else None


def save_folder(folder: Path, generator: TrainedGenerator, card: str | None) -> None:
    """Writes generator.safetensors, config.json and README.md (the card) into a folder, created if missing."""
    folder.mkdir(parents=True, exist_ok=True)
    save_generator(folder / FILE.name, generator)
    settings = {
        "library_name": "lssl",
        "task": generator.task,
        "architecture": type(generator.network).__name__,
        "image_size": generator.image_size,
        "attributes": {group.name: list(group.values) for group in generator.schema.groups},
        "weights": FILE.name,
    }
    write_atomic(folder / SETTINGS, (json.dumps(settings, indent=2) + "\n").encode())
    write_atomic(folder / CARD, (card or _plain_card(generator)).encode())


def find_folder(name: str | Path) -> str | Path:
    """Returns a built-in name or a path as it is; `owner/name`, if there is no such folder, is fetched from the hub.

    Raises LsslError if the hub is needed but huggingface_hub is not installed.
    """
    text = str(name)
    if Path(name).exists() or text in built_in_generators() or text.count("/") != 1 or text.startswith((".", "/", "~")):
        return name
    hub = _hub(f"{text}: there is no such folder, and looking it up on ")
    return Path(hub.snapshot_download(text, allow_patterns=[FILE.name, SETTINGS, CARD]))


def push_folder(
    repository: str, generator: TrainedGenerator, card: str | None, *, private: bool, token: str | None, message: str
) -> str:
    """Uploads what `save_folder` writes to `owner/name`, created if missing; returns the address of the upload."""
    api = _hub("uploading to ").HfApi(token=token)
    api.create_repo(repository, private=private, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        save_folder(Path(folder), generator, card)
        return str(api.upload_folder(repo_id=repository, folder_path=folder, commit_message=message))


def _hub(why: str) -> Any:
    if importlib.util.find_spec("huggingface_hub") is None:
        raise LsslError(why + _HUB_MISSING)
    import huggingface_hub

    return huggingface_hub


def _plain_card(generator: TrainedGenerator) -> str:
    """A card with what the file itself knows; the rest is for its author to add."""
    groups = "; ".join(f"{group.name}: {', '.join(group.values)}" for group in generator.schema.groups)
    value = generator.schema.groups[0].values[-1]
    lines = [
        "---",
        "library_name: lssl",
        "pipeline_tag: image-to-image",
        "---",
        "# A face generator",
        "",
        f"- attributes: {groups}",
        f"- pictures: {generator.image_size}x{generator.image_size}",
        f"- network: `{type(generator.network).__name__}`",
        f"- training data: {generator.info.get('data', 'not said')}",
        f"- iterations: {generator.info.get('iterations', 'not said')}",
        "",
        "```python",
        "import lssl",
        "",
        f'lssl.FaceEditor.from_pretrained("this folder").edit("photo.jpg", "{value}").save("changed.png")',
        "```",
        "",
        "Licence of the training data, intended use and limits: to be added by the author.",
        "",
    ]
    return "\n".join(lines)
