"""The state of an experiment on disk, one JSON file per finished part, so that a killed one can continue."""

import json
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lssl.data.lock import hold_folder
from lssl.data.writer import write_atomic
from lssl.errors import LsslError

_SETTINGS = "settings.json"
_SECONDS = "seconds"
_SHOWN = 4  # differences between settings that a message lists


class ExperimentState:
    """The finished parts of an experiment, in `folder/state/`.

    Args:
        folder: the experiment's output folder, created if missing.
        settings: everything that the results depend on. A folder begun with other settings is refused.
        overwrite: delete an earlier state.

    Raises LsslError naming the settings that differ, or if another process works in the folder.
    """

    def __init__(self, folder: str | Path, settings: Mapping[str, Any], *, overwrite: bool = False) -> None:
        self.root = Path(folder) / "state"
        self.settings: dict[str, Any] = json.loads(json.dumps(dict(settings)))
        hold_folder(self.root.parent)
        if overwrite and self.root.is_dir():
            shutil.rmtree(self.root)
        path = self.root / _SETTINGS
        if path.is_file():
            if changes := differences(_read(path), self.settings):
                more = f"; and {len(changes) - _SHOWN} more" if len(changes) > _SHOWN else ""
                raise LsslError(
                    f"{self.root.parent} holds an experiment with other settings ({'; '.join(changes[:_SHOWN])}{more}); "
                    "repeat them, choose another --out, or add --overwrite"
                )
        else:
            self.root.mkdir(parents=True, exist_ok=True)
            write_atomic(path, (json.dumps(self.settings, indent=2) + "\n").encode())

    def folder(self, name: str) -> Path:
        """A folder for a part's own files (a run, pictures)."""
        path = self.root / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    def done(self, name: str) -> bool:
        return (self.root / f"{name}.json").is_file()

    def part(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The result of the part `name`: read if it is finished, else made, and written atomically.

        Either way the values have been through JSON, so that a resumed experiment ends in the same table.
        """
        path = self.root / f"{name}.json"
        if not path.is_file():
            begun = time.monotonic()
            values = json.dumps(make(), indent=1) + "\n"
            write_atomic(self.root / _SECONDS, f"{self.seconds + time.monotonic() - begun:.1f}\n".encode())
            write_atomic(path, values.encode())
        return _read(path)

    @property
    def seconds(self) -> float:
        """The time that the finished parts took, in this call and earlier ones."""
        try:
            return float((self.root / _SECONDS).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # nothing is finished, or somebody changed the file
            return 0.0


def _read(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise LsslError(f"{path}: not readable ({error}); delete it, or add --overwrite") from None
    return values


def differences(then: Any, now: Any, name: str = "") -> list[str]:
    """What differs between two trees of settings, each as "schedule.iterations: 10 then, 20 now"."""
    if isinstance(then, dict) and isinstance(now, dict):
        return [
            change
            for key in sorted(set(then) | set(now))
            for change in differences(then.get(key), now.get(key), f"{name}.{key}" if name else key)
        ]
    if then == now:
        return []
    was, is_now = ("absent" if value is None else repr(value) for value in (then, now))
    return [f"{name}: {was} then, {is_now} now"]
