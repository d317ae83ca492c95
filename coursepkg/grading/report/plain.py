r"""Text and names that others wrote, made harmless to show and to store."""

from __future__ import annotations

import hashlib
import re
import unicodedata

__all__ = ["file_stem", "one_line", "readable"]

#: The most characters of one text that a report shows.
LIMIT = 20_000

#: Controls, lone surrogates, noncharacters, and what turns the direction of text or hides in it.
UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    "\ud800-\udfff\ufdd0-\ufdef\ufeff\ufff0-\ufffb\ufffe\uffff\U000e0000-\U000e0fff"
    + "".join(
        f"{chr(plane + 0xFFFE)}{chr(plane + 0xFFFF)}" for plane in range(2**16, 17 * 2**16, 2**16)
    )
    + "]"
)
#: What Windows keeps for devices, with any ending.
DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?")


def readable(text: str, limit: int = LIMIT) -> str:
    r"""Return text in which every character can be seen, cut to a length that can be read.

    Controls, lone surrogates and marks that turn the direction of text are written the way
    Python writes them in a string; lines end in a line feed. The result can be encoded.

    Parameters
    ----------
    text : str
    limit : int
        Characters that are kept; a line at the end tells how many there were.

    Examples
    --------
    >>> print(readable("red: \x1b[31m, right to left: \u202e"))
    red: \x1b[31m, right to left: \u202e
    >>> print(readable("x" * 50, limit=3))
    xxx
    ... (the first 3 of 50 characters)
    """
    cut = text[:limit].replace("\r\n", "\n").replace("\r", "\n")
    shown = UNSEEN.sub(lambda found: found[0].encode("unicode_escape").decode(), cut)
    if len(text) <= limit:
        return shown
    return f"{shown}\n... (the first {limit:,} of {len(text):,} characters)"


def one_line(text: str, limit: int = 120) -> str:
    r"""Return text on one line, as :func:`readable`, cut with an ellipsis.

    Examples
    --------
    >>> one_line("two\nlines", limit=6)
    'two…'
    """
    shown = " ".join(readable(text[: limit + 1], limit + 1).split())
    if len(shown) <= limit and len(text) <= limit:
        return shown
    words, _, rest = shown[:limit].rpartition(" ")
    return f"{words if len(rest) < limit / 2 else shown[: limit - 1]}…"


def file_stem(name: str) -> str:
    r"""Return a safe name for a file about `name`, a different one for each name.

    A short name of small letters, digits, dots, dashes and underscores stays as it is. Any other
    is turned into such a name, with the beginning of its SHA-256 digest behind it.

    Examples
    --------
    >>> file_stem("ada.lovelace")
    'ada.lovelace'
    >>> file_stem("../Ada")
    'ada-4e4af21652b78501'
    """
    if (
        re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,63}", name)
        and not name.endswith(".")
        and not DEVICES.fullmatch(name)
        and not re.search(r"-[0-9a-f]{16}$", name)
    ):
        return name
    ascii_only = unicodedata.normalize("NFKD", name[:500]).encode("ascii", "ignore").decode()
    word = re.sub(r"[^a-z0-9]+", "-", ascii_only.lower()).strip("-")[:40]
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]
    return f"{word or 'learner'}-{digest}"
