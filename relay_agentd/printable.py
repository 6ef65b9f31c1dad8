"""Text made fit for a terminal: what others wrote must not be able to move the cursor, retitle the
window or answer the terminal's queries. Pure.
"""

import re
from typing import Final

# C0 but for tab and newline, DEL, C1, and the direction overrides that can disguise text.
_UNPRINTABLE: Final = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(text: str) -> str:
    """`text` with what would act on the terminal made visible instead."""
    return _UNPRINTABLE.sub("\N{REPLACEMENT CHARACTER}", text)
