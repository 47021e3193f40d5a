"""Reference log-probabilities: computed once for each pair and reference, kept for later epochs, for later nights."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from training.artifacts import write_json
from training.trainer.batches import Example


class ReferenceStore:
    """The log-probabilities that one reference gave to pairs, in a JSON file of its own.

    The name of the file says which reference, in which precision; a key says which tokens. What another model, or
    another adapter, has said is never taken for this one's.
    """

    def __init__(self, folder: Path, *, reference: str) -> None:
        self._path = folder / f"{reference}.json"
        self._known: dict[str, list[float]] = {}
        if self._path.is_file():
            self._known = json.loads(self._path.read_text(encoding="utf-8"))

    def missing(self, examples: Sequence[Example]) -> list[int]:
        """Return the positions of the examples that are not known."""
        return [number for number, example in enumerate(examples) if pair_key(example) not in self._known]

    def add(self, examples: Sequence[Example], values: Sequence[Sequence[float]]) -> None:
        """Keep what the reference gave to the chosen and the rejected answer of each example, in nats."""
        for example, (chosen, rejected) in zip(examples, values, strict=True):
            self._known[pair_key(example)] = [chosen, rejected]

    def save(self) -> None:
        """Write the file under a temporary name, then rename it."""
        write_json(self._path, self._known)

    def filled(self, example: Example) -> Example:
        """Return the example with its reference log-probabilities, which must be known."""
        chosen, rejected = self._known[pair_key(example)]
        return replace(example, references=(chosen, rejected))


def pair_key(example: Example) -> str:
    """Return the SHA-256 of the pair's tokens."""
    digest = hashlib.sha256()
    for sequence in example.sequences:
        digest.update(f"{sequence.start}:{','.join(map(str, sequence.ids))};".encode())
    return digest.hexdigest()
