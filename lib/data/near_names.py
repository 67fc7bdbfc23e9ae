"""Names that are near each other, and those that are the same but for a slip."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterable

LEAST_LIKENESS = 0.75  # of a name that is called near, 1 for the same
SHORTEST = 4  # letters of a word that may have a slip: AM and PM are two things


def find_near(name: str, names: Iterable[str]) -> str:
    """Return the one of some names that is nearly this one, "" where none is.

    >>> find_near("promotion", ["price", "Promotoin"])
    'Promotoin'
    """
    folded = {other.casefold(): other for other in names}
    near = difflib.get_close_matches(name.casefold(), folded, n=1, cutoff=LEAST_LIKENESS)
    return folded[near[0]] if near else ""


def is_misspelt(name: str, other: str) -> bool:
    """Tell whether two names are one but for case, accents, separators or a slip in a word.

    A slip is a letter more, less or another, or two that are swapped; not the first letter, nor a
    digit. So columns of two things that are named alike are kept apart.

    >>> is_misspelt("unit_price", "Unit Prcie"), is_misspelt("temp_min", "temp_max")
    (True, False)
    """
    words, others = _words(name), _words(other)
    if "".join(words) == "".join(others):
        return True
    return len(words) == len(others) and all(map(_is_slip, words, others))


def _words(name: str) -> list[str]:
    plain = unicodedata.normalize("NFKD", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name))
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    return re.findall(r"[^\W_]+", plain.casefold())


def _is_slip(word: str, other: str) -> bool:
    if word == other:
        return True
    if word[0] != other[0] or min(len(word), len(other)) < SHORTEST:
        return False
    word, other = _without_begin(*_without_begin(word, other))
    if not (word + other).isalpha():
        return False
    return max(len(word), len(other)) == 1 or (len(word) == 2 and word == other[::-1])


def _without_begin(word: str, other: str) -> tuple[str, str]:
    """Return both reversed, without the letters that they begin with alike."""
    pairs = enumerate(zip(word, other, strict=False))
    begin = next((i for i, (a, b) in pairs if a != b), min(len(word), len(other)))
    return word[begin:][::-1], other[begin:][::-1]
