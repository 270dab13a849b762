"""Names of files in tables, and how the disk spells them."""

from pathlib import Path

from lssl.data.picture_files import SUFFIXES
from lssl.data.tables import same_name


class FileNames:
    """Finds the files that a table names even if the disk spells them differently: composed or decomposed letters
    (macOS), capitals (Windows), backslashes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._listed: dict[Path, dict[str, list[str]]] = {}

    def on_disk(self, name: str) -> str:
        """The name as the disk spells it, below `root`; unchanged if nothing matches."""
        try:
            if (self.root / name).exists():
                return name
        except (OSError, ValueError):  # too long, or with a NUL in it
            return name
        folder, parts = self.root, []
        for part in same_name(name).split("/"):
            found = self._spelt(folder, part)
            if found is None:
                return name
            parts.append(found)
            folder = folder / found
        return "/".join(parts)

    def meant(self, name: str) -> str:
        """The picture in `root` that a name which is not there may mean: the last part of a path of another computer, or
        a name without its suffix; empty if there is none, or several."""
        last = same_name(name).rsplit("/", 1)[-1]
        self._spelt(self.root, last)
        there = [path for names in self._listed.get(self.root, {}).values() for path in names]
        exact = [path for path in there if same_name(path).casefold() == last.casefold()]
        stems = [p for p in there if Path(p).stem.casefold() == last.casefold() and Path(p).suffix.lower() in SUFFIXES]
        found = exact or stems
        return found[0] if len(found) == 1 and found[0] != name else ""

    def _spelt(self, folder: Path, part: str) -> str | None:
        if part in ("", ".", ".."):
            return part or "."
        if folder not in self._listed:
            names: dict[str, list[str]] = {}
            for path in sorted(folder.iterdir()) if folder.is_dir() else []:
                names.setdefault(same_name(path.name).casefold(), []).append(path.name)
            self._listed[folder] = names
        there = self._listed[folder].get(part.casefold(), [])
        alike = [name for name in there if same_name(name) == part]
        chosen = alike or there
        return chosen[0] if len(chosen) == 1 else None
