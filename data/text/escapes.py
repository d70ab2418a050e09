"""Characters that a shell can't easily give, as they are typed: `--escapes` of `charlm-gen`."""

import re

from charlm.data.system.errors import SettingsError

_PLAIN = {"n": "\n", "t": "\t", "\\": "\\"}
_ESCAPE = re.compile(r"\\(?:([nt\\])|x([0-9a-fA-F]{2})|u([0-9a-fA-F]{4})|(.?))", re.DOTALL)


def unescaped(text: str) -> str:
    r"""The text with `\n`, `\t`, `\\`, `\xNN` and `\uNNNN` as the characters that they stand for.

    Raises:
        SettingsError: a backslash begins anything else.
    """
    return _ESCAPE.sub(_character, text)


def escape_in(text: str) -> str | None:
    """The first escape in a text, as it is typed, if there is one."""
    return next((found[0] for found in _ESCAPE.finditer(text) if found[4] is None), None)


def _character(found: re.Match[str]) -> str:
    plain, byte, unit, other = found.groups()
    if other is not None:
        raise SettingsError(
            rf"`escapes` knows \n, \t, \\, \xNN and \uNNNN, not {found[0]}; "
            r"a backslash itself is \\"
        )
    return _PLAIN[plain] if plain else chr(int(byte or unit, 16))
