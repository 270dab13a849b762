"""Text tables as people save them: encodings, byte order marks, delimiters. All tables from users are read here."""

import codecs
import csv
import io
import unicodedata
from pathlib import Path

from lssl.errors import LsslError

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = (",", ";", "\t", "|")
_INVISIBLE = "\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"  # that pages and chats add around what is copied from them
_LARGEST = 256 * 2**20


def read_text(path: str | Path, wanted: str = "CSV UTF-8") -> str:
    """The text of a file in UTF-8, or in what its byte order mark says (UTF-16, UTF-32).

    wanted: what messages call the right way to save it.
    Raises LsslError for a file that cannot be opened, is over 256 MiB, or is in another encoding.
    """
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise LsslError(f"{path}: {path.stat().st_size >> 20} MiB, too large for a file of text")
        data = path.read_bytes()
    except OSError as error:
        raise LsslError(f"{path}: {error.strerror or error}") from None
    if data.startswith((b"PK\3\4", b"\xd0\xcf\x11\xe0")):
        raise LsslError(f"{path} is a spreadsheet or an archive, not text: save it as {wanted}")
    marked = any(data.startswith(mark) for mark, _ in _MARKS)
    if b"\0" in data and not marked:
        what = " (UTF-16 without its byte order mark?)" if data.count(0) > len(data) / 4 else ""
        raise LsslError(f"{path} is not UTF-8 text{what}: save it as {wanted}")
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), "utf-8")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise LsslError(
            f"{path} is not {encoding.removesuffix('-sig').upper()} (byte {error.start}; Latin-1 or Windows-1252?): "
            f"save it as {wanted}"
        ) from None


def read_rows(path: str | Path) -> list[list[str]]:
    """The rows of a delimited text file, each cell stripped, empty rows dropped, from line 1 on.

    The delimiter (comma, semicolon, tab or bar) is the one that gives the first rows equally many cells; Excel's
    `sep=;` line is obeyed. Raises LsslError like `read_text`, and if a quote is not closed.
    """
    return [cells for _, cells in read_numbered_rows(path)]


def read_numbered_rows(path: str | Path) -> list[tuple[int, list[str]]]:
    """As `read_rows`, each row with the number of its last line in the file, from 1."""
    text = read_text(path)
    first = [line for line in text[:100_000].splitlines()[:20] if line.strip()]
    delimiter, skipped = _delimiter(first), 0
    stream = io.StringIO(text, newline="")
    if first and (said := first[0].strip().strip('"')).lower().startswith("sep=") and len(said) == 5:
        delimiter, skipped = said[4], 1
        stream.readline()
    reader = csv.reader(stream, delimiter=delimiter, strict=True)
    rows, begun = [], 1 + skipped
    try:
        for cells in reader:
            cells = [cell.strip().strip(_INVISIBLE).strip() for cell in cells]
            if any(cells):
                rows.append((reader.line_num + skipped, cells))
            begun = reader.line_num + skipped + 1
    except csv.Error as error:
        if "end of data" in str(error):  # found at the end of the file, which tells nobody where to look
            raise LsslError(f"{path}, line {begun}: a quotation mark that begins in this row is not closed") from None
        raise LsslError(f"{path}, line {reader.line_num + skipped}: not a CSV table ({error})") from None
    return rows


def same_name(name: str) -> str:
    """A file name in the form that its spellings share: composed letters (macOS decomposes them), forward slashes."""
    return unicodedata.normalize("NFC", readable(name).replace("\\", "/")).removeprefix("./")


def readable(name: str) -> str:
    """A file's name as text that can be written: one that is not UTF-8 is read as Latin-1, as old archives have it."""
    try:
        name.encode()
    except UnicodeEncodeError:  # Python keeps such bytes as lone surrogates
        return name.encode("utf-8", "surrogateescape").decode("latin-1")
    return name


def _delimiter(first: list[str]) -> str:
    """The delimiter that divides the first rows into the same number of cells, at least two; else the header's."""
    for delimiter in (";", "\t", ",", "|"):  # with semicolons and tabs, commas may be decimal
        try:
            counts = {len(row) for row in csv.reader(first, delimiter=delimiter)}
        except csv.Error:
            continue
        if len(counts) == 1 and counts != {1} and counts != {0}:
            return delimiter
    counted = {delimiter: first[0].count(delimiter) if first else 0 for delimiter in _DELIMITERS}
    return max(_DELIMITERS, key=lambda delimiter: counted[delimiter])
