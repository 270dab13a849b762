"""MUG facial expression database (Aifanti et al. 2010): takes with onset, peak and offset."""

from collections import defaultdict
from pathlib import Path

from lssl.data.readers.source import EXPRESSIONS, Listing, Reader, SourceRecord, match_files, middle

EXPECTED = "subjects3/001/anger/take000/img_0000.jpg (subject/expression/take/frame)"
ATTRIBUTES = ("expression",)
_PEAK_FRAMES = 3


def scan(root: Path, *, frames: int = _PEAK_FRAMES) -> Listing:
    """The `frames` in the middle of each take, where the expression is at its peak. Columns expression, take, frame."""
    pattern = (
        r"(?P<subject>\d+)/(?P<emotion>anger|disgust|fear|happiness|neutral|sadness|surprise)"
        r"/(?P<take>take\d+)/img_(?P<frame>\d+)\.\w+"
    )
    hits, listing = match_files(root, pattern, EXPECTED)
    takes = defaultdict(list)
    for path, match in hits:
        name = (match["subject"], match["emotion"].lower(), match["take"].lower())
        takes[name].append((int(match["frame"]), path))
    for (subject, emotion, take), members in sorted(takes.items()):
        members.sort()
        number = {path: frame for frame, path in members}
        used = middle([path for _, path in members], frames)
        listing.left_out["frames of onset and offset"] += len(members) - len(used)
        for path in used:
            expression = EXPRESSIONS[emotion]
            columns = {"expression": expression, "take": take, "frame": str(number[path])}
            key = f"{subject}_{expression}_{take}_{number[path]:04d}"
            listing.records.append(SourceRecord(key, path, subject, columns))
    return listing


READER = Reader("mug", scan, "MUG", EXPECTED, ATTRIBUTES, options=("frames",))
