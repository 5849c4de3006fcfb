"""Addresses of sources: what of them may be shown, and what comes from the environment."""

import os
import re
from urllib.parse import unquote

from nightgate.errors import DefinitionError

_PASSWORD = re.compile(r"(?<=://)([^/@:]*):([^@]*)@")
_TOKEN = re.compile(r"(?<=https://)[^/@:?\s]+@")
_SECRET = r"password|passwd|pwd|token|secret|sig|signature|credential|api[-_]?key|access[-_]?key"
_LITERAL = re.compile(rf"(?i)[?&;][^=&;\s]*(?:{_SECRET})[^=&;\s]*=[^&;\s]")
_SECRET_ARGUMENT = re.compile(rf"(?i)([?&;][^=&;\s]*(?:{_SECRET}|key|auth)[^=&;\s]*=)[^&;\s]*")
_VARIABLE = re.compile(r"\$\{(\w+)\}")


def expanded(data: str) -> str:
    """Put environment variables in the place of `${NAME}`; raise DefinitionError for one that is not set."""
    absent = [name for name in _VARIABLE.findall(data) if name not in os.environ]
    if absent:
        raise DefinitionError(f"source.data names an environment variable that is not set: {', '.join(absent)}.",
                              remedy=f"Set it where the run starts: export {absent[0]}=…")
    return _VARIABLE.sub(lambda match: os.environ[match[1]], data)


def shown(data: str) -> str:
    """Return an address as it may be shown: without a password, a token or a key."""
    return _SECRET_ARGUMENT.sub(r"\1***", _TOKEN.sub("***@", _PASSWORD.sub(r"\1:***@", data)))


def without_secrets(text: str, address: str) -> str:
    """Take an address's password out of a text that a driver wrote."""
    for match in _PASSWORD.finditer(address):
        for secret in {match[2], unquote(match[2])} - {""}:
            text = text.replace(secret, "***")
    return shown(text)


def holds_secret(data: str) -> bool:
    """Say whether an address has a password or a token in it that is not left to the environment, as `${NAME}`."""
    bare = _VARIABLE.sub("", data)
    return bool(any(match[2] for match in _PASSWORD.finditer(bare)) or _TOKEN.search(bare) or _LITERAL.search(bare))
