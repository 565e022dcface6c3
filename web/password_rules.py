"""What a new password must be, by NIST SP 800-63B-4, 3.1.1.2: long enough, and not one of those that are tried first.

No mixture of characters is asked for. The whole password is judged, by how many guesses it takes someone who knows
zxcvbn's lists (leaked passwords, names, words), keyboards, repeats, dates, and what can be known of its owner.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

from zxcvbn.matching import L33T_TABLE, RANKED_DICTIONARIES, build_ranked_dict, omnimatch
from zxcvbn.scoring import most_guessable_match_sequence

LENGTH_MAX = 256
#: Ten times what the throttle lets strangers try of one account in a year.
GUESSES_LEAST = 10**7

#: Characters that are judged at once: the time that it takes grows with the square.
_PIECE = 72
#: Ways to read digits and signs as letters that are tried, or up to twice as many where a sign stands for two letters.
#: Each costs as much as the password read as it is; there are hundreds of a password with every such sign.
_READINGS = 8
_SIGNS = {sign: letter for letter, signs in L33T_TABLE.items() for sign in signs}
_SERVICE = "devconnect"
_SEPARATORS = re.compile(r"[\W_]+")


def spelled(password: str) -> str:
    """However a keyboard composes its letters, it is the same password (NFC)."""
    return unicodedata.normalize("NFC", password)


def too_long_or_short(password: str, least: int) -> str | None:
    """Why the length won't do, in characters (code points, NFC); None when it does."""
    length = len(spelled(password))
    if length < least:
        return f"has at least {least} characters: a few words that don't belong together are easy to remember"
    if length > LENGTH_MAX:
        return f"has at most {LENGTH_MAX} characters"
    return None


def too_easy(password: str, inputs: Iterable[str]) -> str | None:
    """Why it would be guessed; None when it wouldn't. Takes milliseconds, some tens of them for odd ones."""
    text = spelled(password)
    known = build_ranked_dict(list(dict.fromkeys(_expected(inputs))))
    lists = {**RANKED_DICTIONARIES, "user_inputs": known}
    if any(_repeats(each, lists) for each in (text, _SEPARATORS.sub("", text.casefold()))):
        return "repeats something that is easily guessed: choose words that others wouldn't put together"
    if _is_expected(text, known):
        return "is made of your name, your address or ours: choose words that others wouldn't put together"
    if _guesses(text, lists) >= GUESSES_LEAST:
        return None
    return "is one of those that are tried first: choose words that others wouldn't put together"


def _repeats(text: str, lists: dict[str, dict[str, int]]) -> bool:
    """Whether it is something easy a few times over."""
    period = (text + text).find(text, 1)
    return 0 < period < len(text) and _guesses(text[:period], lists) * (len(text) // period) < GUESSES_LEAST


def _expected(inputs: Iterable[str]) -> Iterator[str]:
    """The inputs and their parts, in lower case, as people put them into passwords."""
    yield _SERVICE
    for given in inputs:
        whole = given.casefold().strip()
        parts = [part for part in _SEPARATORS.split(whole) if len(part) > 2]
        yield from (part for part in (whole, whole.partition("@")[0], "".join(parts), *parts) if len(part) > 2)


def _is_expected(text: str, known: Iterable[str]) -> bool:
    """Whether it is nothing but known words, with signs and a few digits or letters between them, such as a date."""
    rest = text.casefold()
    for word in sorted(known, key=len, reverse=True):
        rest = rest.replace(word, " ")
    others = [character for character in rest if character.isalnum()]
    choice = 10 if all(map(str.isdigit, others)) else 36
    return choice ** len(others) < GUESSES_LEAST and any(word in text.casefold() for word in known)


def _guesses(text: str, lists: dict[str, dict[str, int]]) -> float:
    """How many guesses a text takes; piece by piece, as far as that is needed."""
    guesses = 1.0
    for start in range(0, len(text), _PIECE):
        piece = _readable(text[start : start + _PIECE])
        # Not zxcvbn.zxcvbn: that keeps one caller's inputs where another thread's would find them.
        found = most_guessable_match_sequence(piece, omnimatch(piece, lists))
        guesses *= float(found["guesses"])
        if guesses >= GUESSES_LEAST:
            break
    return guesses


def _readable(piece: str) -> str:
    """The piece; with its signs read as letters, in one way, where there would be too many ways to do so."""
    there = set(piece)
    ways = 1
    for signs in L33T_TABLE.values():
        ways *= max(1, len(there.intersection(signs)))
    return piece if ways <= _READINGS else "".join(_SIGNS.get(sign, sign) for sign in piece)


def reason(password: str, inputs: Sequence[str], least: int) -> str | None:
    """Why this can't be somebody's password, to be said after its name; None when it can."""
    return too_long_or_short(password, least) or too_easy(password, inputs)
