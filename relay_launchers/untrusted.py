"""Text that somebody else wrote, made harmless for who reads it: a model, or a person's terminal.

Pure text, standard library only, owns nothing. Nothing unseen or terminal-controlling passes
`visible`; nothing that a reader could take for a line of our frame, or for what his provider says,
passes `neutralize`. Equal input gives equal text, and doing it twice changes nothing more.
"""

import re
import unicodedata
from itertools import islice
from typing import Final

# Everything a reader breaks a line at; only \n is left of them.
_LINE_BREAK: Final = re.compile("\r\n|[\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]")

# Characters that act without being seen: C0 and C1 controls (terminal escapes), bidi controls,
# zero-width ones that join nothing, fillers, tag characters and selectors (text smuggled to a
# model), lone surrogates (they break every encoder).
_HIDDEN: Final = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f"
    "\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0d\ufeff\uffa0\ufff9-\ufffb"
    "\ud800-\udfff\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff"
)
# Scripts and emoji need these between two characters; after a Latin one, or one after the other,
# they only hide something. (A keycap is a digit, U+FE0F and U+20E3.)
_JOINERS: Final = "\u200c\u200d\ufe0e\ufe0f"
UNSEEN: Final = re.compile(
    f"[{_HIDDEN}][{_HIDDEN}{_JOINERS}]*"
    rf"|(?<=[\x00-\x7f\u00c0-\u024f])(?!\ufe0f\u20e3)[{_JOINERS}]+"
    rf"|\A[{_JOINERS}]+"
    rf"|[{_JOINERS}]{{3,}}"
)
_CODE: Final = re.compile("<U\\+[0-9A-F]{4,6}(?: and [0-9]+ more)?>")
_MOST_CODES: Final = 200
"""Of a text with more runs of them nothing can be learned from their codes."""

# Letters of other scripts that draw like those of the marks of our frame; I, l and one another.
_LOOKALIKES: Final = str.maketrans(
    "\u043c\u1d0d\u03bc\u0455\ua731\u0261\u050d\u0262\u0581"
    "\u0435\u1d07\u03b5\u0454\u04bd\u0578\u0274\u03b7\u03bd\u043f\u0501\u1d05"
    "\u043e\u03bf\u0585\u1d0f\u0493\ua730\u0433\u0280\u13a1"
    "\u0443\u04af\u028f\u03b3\u03c5\u0430\u03b1\u1d00\u0251\u04cf\u029f\u0456\u03b9\u0131\u026ai",
    "mmmssgggg" + "eeeeennnnndd" + "ooooffrrr" + "yyyyyaaaallllll" + "l",
)
# The marks with anything between their letters but letters and digits.
_MARK: Final = re.compile(
    "|".join(
        "".join(rf"[\W_]*{letter}" for letter in mark)
        for mark in (["m", "s", "g", r"\d"], "endofrelaymall", "endofmsg", "relaymall")
    )
)
_LONGEST_MARK: Final = 64
_FIRST_LETTERS: Final = frozenset("mMeErR")

# What a provider marks its own words with: a text may name it, not use it.
_PROVIDER_TAG: Final = re.compile(
    "[<\uff1c\ufe64]"
    r"(?=\s*/?\s*(?:system-reminder|cross-session-message|task-notification|teammate-message"
    r"|channel|local-command-\w+|command-(?:name|message|args)|bash-(?:input|stdout|stderr)"
    r"|user-prompt-submit-hook|hook_prompt|(?:antml:)?(?:invoke|function_calls|function_results)"
    r"|environment_context|user_instructions|user_shell_command|turn_aborted"
    r"|subagent_notification|permissions|instructions)\b|\|[a-z_]+\|>)",
    re.IGNORECASE,
)
_ANGLE: Final = "\u2039"


def visible(text: str) -> str:
    """`text` with one kind of line break and each run of unseen characters written as its code."""
    text = _LINE_BREAK.sub("\n", text)
    shown, count = UNSEEN.subn(_code, text)
    return shown if count <= _MOST_CODES else UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def neutralize(text: str) -> str:
    """`text` without unseen characters, lines like our frame, or a provider's own tags."""
    lines = _PROVIDER_TAG.sub(_ANGLE, visible(text)).split("\n")
    return "\n".join(f"> {line}" if _looks_like_frame(line) else line for line in lines)


def one_line(value: object) -> str:
    """A name or heading of somebody else's as part of one line."""
    line = visible(str(value)).replace("\n", " ").replace("\t", " ")
    return _PROVIDER_TAG.sub(_ANGLE, line)


def quoted(value: object) -> str:
    """The same between quotation marks, which it cannot close."""
    return '"' + one_line(value).replace('"', "'") + '"'


def _code(run: re.Match[str]) -> str:
    characters = run.group()
    first = f"U+{ord(characters[0]):04X}"
    return f"<{first}>" if len(characters) == 1 else f"<{first} and {len(characters) - 1} more>"


def _looks_like_frame(line: str) -> bool:
    """Would a reader who overlooks blanks, case, width, script and decoration take it for ours?"""
    first = line[:1]
    if first in ("", ">") or (first.isascii() and first.isalnum() and first not in _FIRST_LETTERS):
        return False  # nearly every line there is, and those quoted already
    if "<U+" in line:
        line = _CODE.sub("", line)
    ink = "".join(filter(_is_ink, unicodedata.normalize("NFKD", _start(line))))
    return _MARK.match(ink.casefold().translate(_LOOKALIKES)) is not None


def _start(line: str) -> str:
    return "".join(islice(filter(_is_ink, line), _LONGEST_MARK))


def _is_ink(character: str) -> bool:
    """Neither blank, nor a mark on another character, nor invisible (U+2800: empty Braille)."""
    return unicodedata.category(character)[0] not in "MZC" and character != "\u2800"
