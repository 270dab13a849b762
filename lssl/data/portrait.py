"""One photograph -> one face -> one crop: the rules of every command that takes photographs.

Which pictures are meant, where their landmarks are, which of several faces is meant, which faces are refused, how the
results are named. `prepare`, `synthesize`, `render-frontal` and `normalize-pose` all come here.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lssl.data import detect
from lssl.data.align import CROP_SCALE, EYE_LINE, Similarity, check_inside, face_anchors, face_similarity, warp
from lssl.data.folder import METADATA
from lssl.data.images import Picture, read_picture
from lssl.data.landmark_check import check_on_face
from lssl.data.landmark_files import find_landmark_file, read_landmarks
from lssl.data.picture_files import SUFFIXES, find_pictures
from lssl.data.tables import same_name
from lssl.errors import LsslError

#: A second face of over this share of the largest one's area makes it unclear who is meant; smaller are passers-by.
SECOND_FACE = 0.25
_LARGEST_ROLL = 60.0  # degrees; heads tilt by 45 at most; anything further was turned by a camera or a program
_LEAST_CONTRAST = 4  # of 255; a face in near darkness has more
_LONGEST_NAME = 120  # bytes: suffixes are added to it, and file systems allow 255


@dataclass(frozen=True)
class Portrait:
    """One face of a photograph: image uint8 (H, W, 3), upright; landmarks (68, 2) in its pixels; note and metadata, see
    Picture."""

    image: NDArray[np.uint8]
    landmarks: NDArray[np.float32]
    note: str = ""
    metadata: Mapping[str, bytes] = field(default_factory=dict)

    def crop(
        self, size: int, crop_scale: float = CROP_SCALE, eye_line: float = EYE_LINE
    ) -> tuple[NDArray[np.uint8], NDArray[np.float32], Similarity]:
        """The aligned square crop (size, size, 3), its landmarks (68, 2), and the similarity used.

        Raises LsslError for a face that is tiny or degenerate.
        """
        similarity = face_similarity(face_anchors(self.landmarks), size, crop_scale, eye_line)
        crop = warp(self.image, similarity, size)
        check_not_blank(crop)
        return crop, similarity.apply(self.landmarks), similarity


@dataclass
class Inputs:
    """What a command's arguments mean: data set folders, photographs, and (path, reason) of files that are not read."""

    folders: list[Path] = field(default_factory=list)
    photographs: list[Path] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)


def find_inputs(paths: Sequence[Path]) -> Inputs:
    """Sorts paths into data set folders (with a metadata.csv) and photographs, in order. Other folders stand for the
    photographs directly in them or, if there are none, for those in the folders below.

    A name that does not exist as written is looked for with its letters composed or decomposed (macOS).
    Raises LsslError for a path that does not exist, and for a folder without a picture.
    """
    found = Inputs()
    for path in map(existing_path, paths):
        if not path.is_dir():
            found.photographs.append(path)
        elif (path / METADATA).is_file():
            found.folders.append(path)
        else:
            inside = find_pictures(path, nested=False)
            if not inside.pictures:
                inside = find_pictures(path)
            if not inside.pictures:
                why = f" ({inside.refused[0][0].name}: {inside.refused[0][1]})" if inside.refused else ""
                raise LsslError(f"{path} holds no picture that can be read, and no {METADATA} either{why}")
            found.photographs += inside.pictures
            found.refused += inside.refused
    return found


def check_apart(out: Path, sources: Sequence[Path]) -> None:
    """Raises LsslError if results in the folder `out` would lie among what is read: in one of the `sources` itself, or
    where the same command, repeated, would take them for photographs; or if `out` is a picture's name."""
    if out.suffix.lower() in SUFFIXES and not out.is_dir():
        raise LsslError(
            f"{out} is a picture's name, but the results go to a folder, under names of their own; name that"
        )
    there = out.resolve()
    for source in sources:
        if not source.is_dir():
            continue
        if there == source.resolve():
            raise LsslError(f"{out} is the folder that is read; choose another one for the results")
        nested = not (source / METADATA).is_file() and not find_pictures(source, nested=False).pictures
        if nested and source.resolve() in there.parents:
            raise LsslError(f"{out} lies inside {source}, whose pictures it would add to; choose a folder elsewhere")


def check_not_over(files: Iterable[Path], read: Iterable[Path]) -> None:
    """Raises LsslError if a file to be written stands already beside the photographs that are read: whether it is an
    earlier result or a photograph, nobody can tell."""
    folders = {path.resolve().parent for path in read}
    for file in files:
        if file.resolve().parent in folders and file.exists():
            raise LsslError(
                f"{file} is there already, beside the photographs, and might be one; move it away, or choose another -o"
            )


def existing_path(path: Path) -> Path:
    """The path, or else the file in its folder whose name differs only in how its letters are composed.

    Raises LsslError if there is neither.
    """
    try:
        if path.exists() or path.is_symlink():
            return path
        if path.parent.is_dir():
            for other in path.parent.iterdir():
                if same_name(other.name) == same_name(path.name):
                    return other
    except OSError as error:  # a name that is too long, a folder that may not be listed
        raise LsslError(f"{path}: {error.strerror or error}") from None
    raise LsslError(f"{path}: no such file or folder")


def read_portrait(
    path: Path,
    *,
    landmarks: Path | None = None,
    below: Path | None = None,
    largest_face: bool = False,
) -> Portrait:
    """The face of a photograph: by its landmark file (see `find_landmark_file`), else found by dlib.

    below: the photograph's path below its source, see there. largest_face: see `only_face`.
    Raises LsslError (no face, several, cut off, on its side, landmarks of another picture), naming the file, or
    DetectionError.
    """
    picture = read_picture(path)
    file = find_landmark_file(path, landmarks, below)
    known = None if file is None else read_landmarks(file)
    try:
        points = only_face(picture.pixels, largest_face=largest_face) if known is None else known
        check_face(points, picture)
        if file is not None:
            check_on_face(points, picture.pixels, file.name)
    except detect.DetectionError:
        raise  # it concerns no photograph in particular
    except LsslError as error:
        raise LsslError(f"{path}: {error}") from None
    return Portrait(picture.pixels, points, picture.note, picture.metadata)


def only_face(image: NDArray[np.uint8], *, largest_face: bool = False) -> NDArray[np.float32]:
    """The (68, 2) landmarks of the one face that a picture shows, passers-by aside.

    largest_face: of several faces of like size, the largest. Raises LsslError for no face and for several.
    """
    faces = detect.find_faces(image)
    if not faces:
        raise LsslError("no face found")
    areas = [(face.box[2] - face.box[0]) * (face.box[3] - face.box[1]) for face in faces]
    large = sum(area > SECOND_FACE * areas[0] for area in areas)
    if large > 1 and not largest_face:
        raise LsslError(f"{large} faces found (--largest-face takes the largest)")
    return faces[0].landmarks


def check_face(points: NDArray[np.float32], picture: Picture) -> None:
    """Raises LsslError unless landmarks (68, 2) lie in the picture, upright and the right way round."""
    check_upright(points, picture.orientation)
    check_inside(points, *picture.pixels.shape[:2])


def check_not_blank(crop: NDArray[np.uint8]) -> None:
    """Raises LsslError for a crop (H, W, 3) that shows nothing: one colour where a face should be."""
    middle = crop[crop.shape[0] // 4 : -crop.shape[0] // 4 or None, crop.shape[1] // 4 : -crop.shape[1] // 4 or None]
    if int(np.ptp(middle, axis=(0, 1)).max()) < _LEAST_CONTRAST:
        raise LsslError("nothing but one colour where the face should be: a blank picture, or another one's landmarks")


def check_upright(points: NDArray[np.float32], orientation: int = 1) -> None:
    """Raises LsslError for landmarks (68, 2) of a face that lies on its side, is upside down, or is mirrored.

    orientation: the picture's EXIF orientation, the likely cause if it is not 1.
    """
    left, right, mouth = face_anchors(points)
    across, down = right - left, mouth - (left + right) / 2
    if orientation != 1:
        why = f"they were marked before the picture's EXIF orientation ({orientation}) was applied"
    else:
        why = "was the picture turned, as by its EXIF orientation, after they were marked?"
    fix = "mark the picture as it is shown, or remove the file, and dlib will find them (`lssl prepare`: --redetect)"
    if across[0] * down[1] < across[1] * down[0] and np.hypot(*across) > 0.25 * np.hypot(*down):
        raise LsslError(
            "the landmarks are mirrored: x and y are swapped, they belong to the mirrored picture, "
            f"or {why.removesuffix('?')}; {fix}"
        )
    roll = float(np.degrees(np.arctan2(across[1], across[0])))
    if abs(roll) > _LARGEST_ROLL:
        raise LsslError(f"the landmarks show a face with a roll of {roll:.0f} degrees: {why}; {fix}")


def safe_name(text: str) -> str:
    """A text as a part of a file's name: letters, digits, and . + - _ between them, 120 bytes at most."""
    import hashlib
    import re
    import unicodedata

    name = re.sub(r"[^\w.+-]+", "_", unicodedata.normalize("NFC", text)).strip("._") or "face"
    if re.fullmatch(r"(?i)con|prn|aux|nul|com\d|lpt\d", name.split(".")[0]):  # reserved by Windows
        name = f"_{name}"
    if len(name.encode()) > _LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:10]
        name = name.encode()[: _LONGEST_NAME - 11].decode(errors="ignore") + "_" + digest
    return name


def unique_names(names: Sequence[str]) -> list[str]:
    """Safe file names in order; repeated ones (in any case) are numbered: a, a-2, a-3."""
    taken: set[str] = set()
    result = []
    for name in map(safe_name, names):
        chosen, number = name, 1
        while chosen.casefold() in taken:
            number += 1
            chosen = f"{name}-{number}"
        taken.add(chosen.casefold())
        result.append(chosen)
    return result
