"""Radboud Faces Database (Langner et al. 2010)."""

from pathlib import Path

from lssl.data.readers.source import EXPRESSIONS, Listing, Reader, SourceRecord, match_files

EXPECTED = "Rafd090_01_Caucasian_female_angry_frontal.jpg (camera_model_ethnicity_gender_emotion_gaze)"
ATTRIBUTES = ("expression",)
#: The paper's 4,824 pictures: 67 models x 8 expressions x 3 gazes x 3 cameras; the other two are full profiles.
ONLY = {"camera": ("45", "90", "135")}


def scan(root: Path) -> Listing:
    """Every photograph; columns expression, camera (90 is frontal), gaze, gender, ethnicity."""
    pattern = (
        r"Rafd(?P<camera>\d{3})_(?P<model>\d+)_(?P<ethnicity>[a-z]+)_(?P<gender>female|male)"
        r"_(?P<emotion>angry|contemptuous|disgusted|fearful|happy|neutral|sad|surprised)"
        r"_(?P<gaze>left|frontal|right)\.\w+"
    )
    hits, listing = match_files(root, pattern, EXPECTED)
    for path, match in hits:
        columns = {
            "expression": EXPRESSIONS[match["emotion"].lower()],
            "camera": str(int(match["camera"])),
            "gaze": match["gaze"].lower(),
            "gender": match["gender"].lower(),
            "ethnicity": match["ethnicity"].lower(),
        }
        key = f"{match['model']}_{columns['expression']}_{columns['gaze']}_{match['camera']}"
        listing.records.append(SourceRecord(key, path, match["model"], columns))
    return listing


READER = Reader("rafd", scan, "Radboud Faces Database", EXPECTED, ATTRIBUTES, ONLY)
