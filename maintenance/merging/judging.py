"""What two pairs with similar vectors are to each other, found from their texts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from maintenance.merging.candidates import read_texts
from maintenance.merging.channels import Channel, PairTexts
from maintenance.merging.greedy import APART, DIFFERENT_FACTS, SAME, Rows, Verdicts
from maintenance.merging.ranking import Numbers
from memory.embeddings import pair_text
from memory.extraction.facts import Facts, facts_in
from memory.extraction.vectors import VectorCache
from memory.text import normalised

# Texts of rejected answers that one night embeds: some minutes on a slow machine.
MOST_EMBEDDED = 5_000
# Pairs of rows whose texts are in memory at a time.
_PAIRS_READ = 2_000

Words = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Comparer:
    """Judges pairs of similar rows of one channel by their facts, and of preference pairs by what was rejected.

    Of every row that is similar to any, the facts are kept as hashes of 64 bits, and only where these do not tell are
    texts read again: names that one text writes as names and the other as words, or writes more often.

    Attributes:
        channel: the channel.
        pairs: the key of each row's pair, shape (n,).
        introspection: which rows are thoughts, which are nothing that was said, shape (n,).
        threshold: cosine above which two rejected answers are alike.
        vectors: makes the vectors of rejected answers.
        using: the database.
        undecided: rows of which not all pairs could be judged, as there were too many texts to embed.

    """

    channel: Channel
    pairs: npt.NDArray[np.int64]
    introspection: Mask
    threshold: float
    vectors: VectorCache
    using: str
    undecided: set[int] = field(default_factory=set)
    _hashes: Words = field(init=False)
    _texts_left: int = field(init=False, default_factory=lambda: MOST_EMBEDDED)

    def prepare(self, rows: Rows, on_progress: Callable[[float], None]) -> None:
        """Read the texts of `rows`, distinct numbers of all that `judge` will be asked about, shape (k,)."""
        # Seven words: numbers, dates and negations, and names, of what was told; the same of what was rejected; what
        # was answered; what was rejected; the dialogue before. A pair that is gone keeps zeros, and its numbers are
        # like no other's.
        self._hashes = np.zeros((len(self.pairs), 7), dtype=np.int64)
        self._hashes[:, 0] = -np.arange(len(self.pairs)) - 1
        by_key = rows[np.argsort(self.pairs[rows])]
        keys = self.pairs[by_key]
        done = 0
        for found, texts in read_texts(self.channel, keys, using=self.using):
            self._hashes[by_key[np.searchsorted(keys, found)]] = [_hashes(each) for each in texts]
            done += len(found)
            on_progress(done / max(len(keys), 1))

    def judge(self, first: Rows, second: Rows) -> Verdicts:
        """Return what is found about the pairs (`first[i]`, `second[i]`), shape (k,)."""
        one, other = self._hashes[first], self._hashes[second]
        told = (one[:, 0] == other[:, 0]) & (one[:, 1] == other[:, 1])
        rejected = (one[:, 2] == other[:, 2]) & (one[:, 3] == other[:, 3])
        doubtful = (one[:, 0] == other[:, 0]) & (one[:, 2] == other[:, 2]) & ~(told & rejected)
        for part in _parts(doubtful):
            told[part], rejected[part] = self._agreements(first[part], second[part])
        turned_round = (one[:, 4] == other[:, 5]) & (one[:, 5] == other[:, 4])
        alike = one[:, 5] == other[:, 5]
        # No vector and no fact tells of the dialogue before, by which one answer is true and another one is not.
        may_be_same = told & rejected & ~turned_round & (one[:, 6] == other[:, 6])
        for part in _parts(may_be_same & ~alike):
            alike[part] = self._rejected_alike(first[part], second[part])
        verdicts = np.where(told, APART, DIFFERENT_FACTS)
        verdicts[may_be_same & alike] = SAME
        verdicts[self.introspection[first] != self.introspection[second]] = APART
        return verdicts

    def _agreements(self, first: Rows, second: Rows) -> tuple[Mask, Mask]:
        """Return whether pairs agree in the facts of what was told, and of what was rejected; shape (k,) both."""
        texts = self._texts(np.union1d(first, second))
        facts = {row: (facts_in(each.told), facts_in(each.rejected)) for row, each in texts.items()}
        found = np.array([_agree(facts, *pair) for pair in zip(first.tolist(), second.tolist(), strict=True)])
        return found[:, 0], found[:, 1]

    def _rejected_alike(self, first: Rows, second: Rows) -> Mask:
        """Return whether the rejected answers of pairs are alike, shape (k,); those without vectors are not."""
        texts = {
            row: pair_text(each.question, each.rejected) for row, each in self._texts(np.union1d(first, second)).items()
        }
        asked: set[str] = set()
        decided = []
        for number, (one, other) in enumerate(zip(first.tolist(), second.tolist(), strict=True)):
            if one not in texts or other not in texts:
                continue
            more = {texts[one], texts[other]} - asked
            if len(more) > self._texts_left:
                self.undecided.add(other)
                continue
            self._texts_left -= len(more)
            asked |= more
            decided.append((number, texts[one], texts[other]))
        alike = np.zeros(len(first), dtype=np.bool_)
        if asked:
            self.vectors.encode(list(asked))
        for number, text, other_text in decided:
            alike[number] = self.vectors.similarity(text, other_text) > self.threshold
        self.vectors.forget()
        return alike

    def _texts(self, rows: Rows) -> dict[int, PairTexts]:
        keys = self.pairs[rows]
        by_key = dict(zip(keys.tolist(), rows.tolist(), strict=True))
        return {
            by_key[key]: each
            for found, texts in read_texts(self.channel, np.sort(keys), using=self.using)
            for key, each in zip(found.tolist(), texts, strict=True)
        }


def _parts(mask: Mask) -> Iterator[Numbers]:
    """Yield the numbers of what is true, a part at a time."""
    numbers = np.flatnonzero(mask)
    for start in range(0, len(numbers), _PAIRS_READ):
        yield numbers[start : start + _PAIRS_READ]


def _hashes(texts: PairTexts) -> tuple[int, ...]:
    # Of strings, `hash` has 64 bits and a secret of the process: no text can be made to meet another one.
    return (
        *_fact_hashes(facts_in(texts.told)),
        *_fact_hashes(facts_in(texts.rejected)),
        hash(normalised(texts.answer)),
        hash(normalised(texts.rejected)),
        texts.hash_before,
    )


def _fact_hashes(facts: Facts) -> tuple[int, int]:
    return hash((facts.numbers, facts.dates, facts.negated)), hash(facts.names)


def _agree(facts: dict[int, tuple[Facts, Facts]], one: int, other: int) -> tuple[bool, bool]:
    if one not in facts or other not in facts:
        return False, False
    (told, rejected), (other_told, other_rejected) = facts[one], facts[other]
    return told.agree_with(other_told), rejected.agree_with(other_rejected)
