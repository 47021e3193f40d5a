"""What a person may do to pairs: approve, reject, reopen, re-emit, unarchive, merge, edit, swap, tie, undo.

Everything goes into the history of the pairs with its author and its reason, after the state that was found. What
cannot be done changes nothing: a rule that is broken raises `ValidationError`, a pair that is not fit for it
`ValueError`, each with one line that can be shown to people.
"""

from memory.curation.answers import swap, tie
from memory.curation.decisions import UNARCHIVED, approve, reemit, reject, reopen, unarchive
from memory.curation.editing import Edited, edit, save
from memory.curation.merging import merge
from memory.curation.state import state_of, states_of
from memory.curation.undoing import Undone, UndoRefusedError, can_undo, undo

__all__ = [
    "UNARCHIVED",
    "Edited",
    "UndoRefusedError",
    "Undone",
    "approve",
    "can_undo",
    "edit",
    "merge",
    "reemit",
    "reject",
    "reopen",
    "save",
    "state_of",
    "states_of",
    "swap",
    "tie",
    "unarchive",
    "undo",
]
