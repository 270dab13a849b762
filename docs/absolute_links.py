"""README.md for a package index, where links and pictures of the repository would lead nowhere.

python docs/absolute_links.py https://github.com/OWNER/LSSL COMMIT        rewrites README.md in place; for a release
"""

import re
import sys
from pathlib import Path

README = Path(__file__).parents[1] / "README.md"


def absolute(text: str, repository: str, commit: str) -> str:
    """The text with its relative links made absolute: pictures to their raw files, all others to their pages."""

    def link(match: re.Match[str]) -> str:
        mark, label, target = match.groups()
        if "://" in target or target.startswith("#"):
            return match[0]
        return f"{mark}[{label}]({repository.rstrip('/')}/{'raw' if mark else 'blob'}/{commit}/{target})"

    return re.sub(r"(!?)\[([^\]]*)\]\(([^)\s]+)\)", link, text)


if __name__ == "__main__":
    README.write_text(absolute(README.read_text(encoding="utf-8"), *sys.argv[1:3]), encoding="utf-8")
