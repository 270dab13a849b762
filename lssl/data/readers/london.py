"""Face Research Lab London Set (DeBruine and Jones 2017), in full or reduced to one folder per expression."""

from pathlib import Path

from lssl.data.readers.source import EXPRESSIONS, Listing, Reader, SourceRecord, match_files

EXPECTED = "neutral_front/001_03.jpg and smiling_front/001_08.jpg, or neutral/001.jpg and smiling/001.jpg"
ATTRIBUTES = ("expression",)


def scan(root: Path) -> Listing:
    """Every photograph; columns expression (neutral, happy) and view (front, or what the folder's name says)."""
    pattern = r"(?P<expression>neutral|smiling)(?:_(?P<view>\w+))?/(?P<subject>\d+)(?:_\d+)?\.\w+"
    hits, listing = match_files(root, pattern, EXPECTED)
    for path, match in hits:
        expression = EXPRESSIONS[match["expression"].lower()]
        view = (match["view"] or "front").lower()
        key = f"{match['subject']}_{expression}" + ("" if view == "front" else f"_{view}")
        columns = {"expression": expression, "view": view}
        listing.records.append(SourceRecord(key, path, match["subject"], columns))
    return listing


READER = Reader("london", scan, "Face Research Lab London Set", EXPECTED, ATTRIBUTES)
