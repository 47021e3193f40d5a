"""Which group a preference pair belongs to, for `preference_shares`."""

from collections.abc import Mapping

from training.datasets import PreferenceGroup

GROUPS_BY_SOURCE: Mapping[str, PreferenceGroup] = {
    "edit": "curated",
    "import": "curated",
    "rating": "drafts",
    "regeneration": "drafts",
    "replay": "replay",
}


def preference_group(source: str, *, approved: bool) -> PreferenceGroup:
    """Return the group of a pair; one that a person approved is curated wherever it is from.

    A source that only a file knows is curated too: someone chose those pairs.
    """
    return "curated" if approved else GROUPS_BY_SOURCE.get(source, "curated")
