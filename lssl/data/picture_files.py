"""Which files are pictures, by name and by content, and what to do with those that are not read."""

import importlib.util
import os
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image, features

#: Pillow's decoders that read photographs: none runs another program (EPS), reads documents (PDF), or is a stub.
READ_FORMATS: tuple[str, ...] = (
    "JPEG", "MPO", "PNG", "BMP", "DIB", "TIFF", "WEBP", "GIF", "PPM", "AVIF", "JPEG2000", "PCX", "SGI", "QOI", "DDS",
    "ICO", "PSD", "SUN", "HEIF",
)  # fmt: skip
TGA_SUFFIXES = frozenset({".tga", ".icb", ".vda", ".vst"})
_ALWAYS = (
    ".jpg .jpeg .jpe .jfif .jif .jfi .png .apng .bmp .dib .tif .tiff .gif .ppm .pgm .pbm .pnm .pcx .sgi .bw .qoi .dds "
    ".ico .psd .ras"
)
_AVIF, _WEBP, _JPEG2000 = {".avif", ".avifs"}, {".webp"}, {".jp2", ".j2k", ".jpx", ".j2c", ".jpc", ".jpf"}
_HEIC = {".heic", ".heif", ".heics", ".heifs", ".hif"}


def _has(feature: str) -> bool:
    known = {*features.modules, *features.codecs, *features.features}
    return feature in known and bool(features.check(feature))


def _heif_plugin() -> bool:
    return importlib.util.find_spec("pillow_heif") is not None


#: Suffixes, in lower case, of the pictures that are read here.
SUFFIXES: frozenset[str] = frozenset(
    {*_ALWAYS.split(), *TGA_SUFFIXES}
    | (_AVIF if _has("avif") else set())
    | (_WEBP if _has("webp") else set())
    | (_JPEG2000 if _has("jpg_2000") else set())
    | (_HEIC if _heif_plugin() else set())
)

_FIXES = {
    "HEIC": "HEIC is not read: save it as JPEG, or pip install pillow-heif",
    "AVIF": "AVIF is not read by this Pillow: pip install -U pillow (11.3 or later), or save it as JPEG",
    "WebP": "WebP is not read by this Pillow: reinstall it, or save the picture as JPEG",
    "JPEG 2000": "JPEG 2000 is not read by this Pillow: reinstall it, or save the picture as JPEG",
    "raw": "a camera's raw file is not read: develop it to JPEG or TIFF",
    "video": "a video is not read: take pictures out of it first (ffmpeg -i FILE frame_%04d.png)",
    "drawing": "a drawing or a document is not read: export it as PNG",
    "JPEG XL": "JPEG XL is not read: save it as JPEG or PNG",
    "other": "this picture format is not read: save it as JPEG or PNG",
    "archive": "an archive is not read: unpack it",
    "cloud": "is not on this disk: let iCloud download it first",
    "pointer": "a Git LFS pointer, not the picture: git lfs pull",
    "page": "a web page, not a picture: download the picture again",
}
_BY_SUFFIX = {
    "HEIC": _HEIC,
    "AVIF": _AVIF,
    "WebP": _WEBP,
    "JPEG 2000": _JPEG2000,
    "raw": {
        ".cr2",
        ".cr3",
        ".crw",
        ".nef",
        ".nrw",
        ".arw",
        ".sr2",
        ".dng",
        ".orf",
        ".rw2",
        ".raf",
        ".pef",
        ".srw",
        ".raw",
        ".3fr",
        ".iiq",
        ".x3f",
    },
    "video": {
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".mts",
        ".m2ts",
        ".3gp",
        ".wmv",
        ".flv",
        ".ogv",
        ".insv",
        ".lrv",
        ".mjpeg",
        ".mjpg",
    },
    "drawing": {".svg", ".svgz", ".pdf", ".eps", ".ps", ".ai", ".emf", ".wmf", ".cdr", ".indd"},
    "JPEG XL": {".jxl"},
    "other": {
        ".xcf",
        ".kra",
        ".exr",
        ".hdr",
        ".pic",
        ".pict",
        ".jxr",
        ".wdp",
        ".bpg",
        ".flif",
        ".fits",
        ".fit",
        ".pcd",
        ".xpm",
        ".xbm",
        ".djvu",
        ".pfm",
    },
    "archive": {".zip", ".rar", ".7z", ".tar", ".tgz", ".gz", ".xz"},
}
_PICTURE_MARKS = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n": "PNG",
    b"GIF8": "GIF",
    b"II*\0": "TIFF",
    b"MM\0*": "TIFF",
    b"qoif": "QOI",
    b"8BPS": "PSD",
}
_OTHER_MARKS = {
    b"\x1a\x45\xdf\xa3": "video",
    b"%PDF": "drawing",
    b"%!PS": "drawing",
    b"\xff\x0a": "JPEG XL",
    b"\0\0\0\x0cJXL ": "JPEG XL",
    b"\0\0\x01\xba": "video",
    b"version https://git-lfs": "pointer",
    b"<html": "page",
    b"<!DOCTYPE": "page",
    b"<!doctype": "page",
    b"PK\3\4": "archive",
}


#: A file that marks a folder whose pictures are not photographs, such as grids of results: the folder is skipped.
NOT_FACES = ".lssl-not-faces"


@dataclass
class PictureFiles:
    """Pictures of a folder, sorted, and (path, reason) of what looks like a picture but is not read."""

    pictures: list[Path] = field(default_factory=list)
    refused: list[tuple[Path, str]] = field(default_factory=list)


def find_pictures(root: Path, *, nested: bool = True) -> PictureFiles:
    """The pictures in a folder and, if `nested`, below it; symbolic links are followed, hidden files are left out.

    Whatever looks like a picture, by name or by its first bytes, is in one list or the other: nothing is dropped.
    """
    found = PictureFiles()
    seen: set[tuple[int, int]] = set()

    def cannot_list(error: OSError) -> None:
        found.refused.append((Path(error.filename or root), f"cannot be listed: {error.strerror}"))

    for folder, folders, files in os.walk(root, followlinks=True, onerror=cannot_list):
        status = os.stat(folder)
        here = (status.st_dev, status.st_ino)
        folders[:] = sorted(name for name in folders if not name.startswith(".")) if nested and here not in seen else []
        if here in seen or NOT_FACES in files:  # a link that leads back up; our own grids
            folders.clear()
            continue
        if Path(folder) != root and {"metadata.csv", "dataset.json"} <= set(files):  # results of an earlier command
            folders.clear()
            found.refused.append((Path(folder), "a data set folder that lssl wrote: its pictures are not taken again"))
            continue
        seen.add(here)
        for name in sorted(files):
            if not name.startswith("."):
                _sort_in(Path(folder) / name, found)
            elif name.endswith(".icloud"):  # a placeholder for a file that is only in the cloud
                found.refused.append((Path(folder) / name[1 : -len(".icloud")], _FIXES["cloud"]))
    found.pictures.sort()
    found.refused.sort()
    return found


def _sort_in(path: Path, found: PictureFiles) -> None:
    suffix = path.suffix.lower()
    if suffix in SUFFIXES:
        if path.is_file():
            found.pictures.append(path)
        else:
            found.refused.append((path, "a link to nothing" if path.is_symlink() else "is not an ordinary file"))
        return
    reason = next((_FIXES[kind] for kind, suffixes in _BY_SUFFIX.items() if suffix in suffixes), "")
    if not reason and path.is_file() and (kind := kind_of(path)) and kind not in ("page", "archive"):
        wrong_name = f"is {_article(kind)} picture by its content: give its name the suffix .{kind.lower()}"
        reason = why_not_read(kind) or wrong_name
    if reason:
        found.refused.append((path, reason))


def kind_of(path: Path) -> str:
    """What a file's first bytes say it is: a picture's format, another key of `_FIXES`, or an empty text."""
    try:
        with path.open("rb") as file:
            head = file.read(32)
    except OSError:
        return ""
    for mark, kind in (_PICTURE_MARKS | _OTHER_MARKS).items():
        if head.startswith(mark):
            return kind
    if head[:4] == b"RIFF":
        return {b"WEBP": "WebP", b"AVI ": "video"}.get(head[8:12], "")
    if head[4:8] == b"ftyp":
        brand = head[8:12].lower()
        if brand in (b"avif", b"avis"):
            return "AVIF"
        return "HEIC" if brand in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1") else "video"
    return "BMP" if head[:2] == b"BM" and head[6:10] == bytes(4) else ""


def why_not_read(kind: str) -> str:
    """The reason and the fix for a kind that is not read here; an empty text for one that is."""
    readable = {"AVIF": _AVIF, "WebP": _WEBP, "HEIC": _HEIC, "JPEG 2000": _JPEG2000}.get(kind)
    return "" if readable is not None and readable <= SUFFIXES else _FIXES.get(kind, "")


def formats_for(path: Path) -> tuple[str, ...]:
    """Pillow's names of the formats to try on a file; registers the plugin that reads HEIF if it is needed."""
    if kind_of(path) in ("JPEG", "PNG"):
        Image.preinit()  # the common formats; the others' plugins take a tenth of a second
    else:
        Image.init()
    if path.suffix.lower() in _HEIC and _heif_plugin() and "HEIF" not in Image.OPEN:
        from pillow_heif import register_heif_opener

        register_heif_opener()
    tried = (*READ_FORMATS, "TGA") if path.suffix.lower() in TGA_SUFFIXES else READ_FORMATS  # TGA files have no mark
    return tuple(name for name in tried if name in Image.OPEN)


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "A" else f"a {kind}"
