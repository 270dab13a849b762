"""Oulu-CASIA NIR&VIS (Zhao et al. 2011): sequences from neutral to the peak of an expression."""

from collections import defaultdict
from pathlib import Path

from lssl.data.readers.source import EXPRESSIONS, Listing, Reader, SourceRecord, match_files

EXPECTED = "VL/Strong/P001/Anger/000.jpeg (camera/light/subject/expression/frame)"
ATTRIBUTES = ("expression", "lighting")
#: The paper uses the visible-light camera.
ONLY = {"modality": ("vl",)}
_LIGHTING = {"strong": "normal", "weak": "weak", "dark": "dark"}
_PEAK_FRAMES = 3


def scan(root: Path, *, frames: int = _PEAK_FRAMES, neutral: bool = False) -> Listing:
    """The last `frames` of each sequence as its expression and, where asked for, the first as neutral.

    Columns expression, lighting (normal, weak, dark), modality (vl, ni), frame.
    """
    pattern = (
        r"(?P<modality>VL|NI)[^/]*/(?P<lighting>Strong|Weak|Dark)[^/]*/(?P<subject>P\d+)"
        r"/(?P<emotion>Anger|Disgust|Fear|Happiness|Sadness|Surprise)\w*/(?P<frame>\d+)\.\w+"
    )
    hits, listing = match_files(root, pattern, EXPECTED)
    sequences = defaultdict(list)
    for path, match in hits:
        name = tuple(match[part].lower() for part in ("modality", "lighting", "subject", "emotion"))
        sequences[name].append((int(match["frame"]), path, match["subject"].upper()))
    for (modality, light, _, emotion), sequence in sorted(sequences.items()):
        sequence.sort()
        used = sequence[-frames:]
        if neutral and len(sequence) > frames:
            used = [sequence[0], *used]
        listing.left_out["frames between neutral and peak"] += len(sequence) - len(used)
        for number, path, subject in used:
            is_neutral = neutral and number == sequence[0][0] and len(sequence) > frames
            expression = "neutral" if is_neutral else EXPRESSIONS[emotion]
            columns = {
                "expression": expression,
                "lighting": _LIGHTING[light],
                "modality": modality,
                "frame": str(number),
            }
            key = f"{subject}_{modality}_{columns['lighting']}_{EXPRESSIONS[emotion]}_{number:03d}"
            listing.records.append(SourceRecord(key, path, subject, columns))
    return listing


READER = Reader("oulu-casia", scan, "Oulu-CASIA NIR&VIS", EXPECTED, ATTRIBUTES, ONLY, options=("frames", "neutral"))
