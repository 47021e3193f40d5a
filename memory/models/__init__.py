"""The tables of the memory: conversations as they were said, and the pairs that are made of them."""

from memory.models.bulk_decisions import BulkChange, BulkDecision
from memory.models.conversations import Conversation, Message
from memory.models.embeddings import PairEmbedding
from memory.models.exports import ExportedPair
from memory.models.imports import ImportBatch
from memory.models.pairs import PreferencePair, ReviewStatus, SftPair, TrainingPair
from memory.models.replay import ReplayEntry
from memory.models.saved_filters import SavedFilter

__all__ = [
    "BulkChange",
    "BulkDecision",
    "Conversation",
    "ExportedPair",
    "ImportBatch",
    "Message",
    "PairEmbedding",
    "PreferencePair",
    "ReplayEntry",
    "ReviewStatus",
    "SavedFilter",
    "SftPair",
    "TrainingPair",
]
