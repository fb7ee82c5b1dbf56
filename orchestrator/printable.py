"""Text from outside, such as a worker's reason or its log, made harmless wherever it is shown."""

import re
import unicodedata


def printable(text: str) -> str:
    """Text without terminal colours, and with a mark for characters that control output or change its direction.

    What is no character in XML or UTF-8 (U+FFFE, lone surrogates) is marked, too.
    """
    if text.isprintable():  # most are, and there may be very many
        return text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n")
    return "".join(char if char in "\n\t" or not _is_control(char) else "\ufffd" for char in plain)


def _is_control(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs") or ord(char) & 0xFFFE == 0xFFFE
