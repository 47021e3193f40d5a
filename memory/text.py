"""Text as the rules see it: trimmed of what nobody sees, normalised, hashed."""

import hashlib
import json
import re
import unicodedata
from collections.abc import Mapping, Sequence

# Zero-width characters and byte-order marks: an answer of nothing but these looks empty, yet `str.strip` keeps it.
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff"
_EDGE = re.compile(rf"^[\s{INVISIBLE}]+|[\s{INVISIBLE}]+$")
_SPACE = re.compile(r"\s+")


def trimmed(text: str) -> str:
    """Return `text` without white space and invisible characters at its edges."""
    return _EDGE.sub("", text)


def normalised(text: str) -> str:
    """Return `text` in the form that decides whether two texts are the same: NFKC, case-folded, single spaces."""
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", trimmed(text)).casefold())


def content_hash(*parts: str) -> str:
    """Return the SHA-256 (64 hex digits) over the normalised parts."""
    digest = hashlib.sha256()
    for part in parts:
        # The length goes first, so that no two lists of parts can run into the same bytes.
        data = normalised(part).encode()
        digest.update(f"{len(data)}:".encode())
        digest.update(data)
    return digest.hexdigest()


def preference_hash(prompt: Sequence[Mapping[str, str]], chosen: str, rejected: str) -> str:
    """Return the content hash of a preference pair; `prompt` is a list of messages of `role` and `content`."""
    flat = json.dumps([[message["role"], normalised(message["content"])] for message in prompt])
    return content_hash(flat, chosen, rejected)
