"""Memory pairs as a JSONL file in the prompt-completion format of TRL."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.db import DEFAULT_DB_ALIAS

from memory.extraction.request import Selection
from memory.models import SftPair

# Pairs read at a time.
_CHUNK = 2_000


def export_jsonl(selection: Selection, path: Path, *, using: str = DEFAULT_DB_ALIAS) -> int:
    """Write the trainable pairs of `selection` to `path`, oldest first; return how many there were.

    One object a line: `prompt`, the context and the instruction, and `completion`, the response, each a list of
    messages of `role` and `content`. The file appears whole or not at all: it is written beside `path` and renamed.

    Raises:
        OSError: if the file cannot be written; what stood at `path` is still there.

    """
    with tempfile.NamedTemporaryFile(
        "w", encoding="utf-8", dir=path.parent, prefix=f".{path.name}.", delete=False
    ) as file:
        try:
            count = 0
            for record in _records(selection, using=using):
                file.write(json.dumps(record, ensure_ascii=False))
                file.write("\n")
                count += 1
            file.flush()
            os.fsync(file.fileno())
            # A temporary file is for its owner alone; an export is as public as any new file.
            Path(file.name).chmod(0o666 & ~_umask())
            Path(file.name).replace(path)
        except BaseException:
            Path(file.name).unlink(missing_ok=True)
            raise
    return count


def _records(selection: Selection, *, using: str) -> Iterator[dict[str, Any]]:
    pairs = SftPair.objects.using(using).trainable().filter(conversation__in=selection.conversations(using=using))
    if selection.since is not None:
        pairs = pairs.since(selection.since)
    rows = pairs.order_by("created_at", "pk").values_list("context", "instruction", "response")
    for context, instruction, response in rows.iterator(chunk_size=_CHUNK):
        yield {
            "prompt": [*context, {"role": "user", "content": instruction}],
            "completion": [{"role": "assistant", "content": response}],
        }


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
