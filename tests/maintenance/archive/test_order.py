"""Who stands for others never goes without them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from maintenance.archive.order import complete_groups, whole_files

LINKS = st.dictionaries(st.integers(1, 12), st.none() | st.integers(1, 12), max_size=12)


def test_a_group_has_its_survivor_last() -> None:
    assert complete_groups({1: None, 2: None, 3: 1, 4: 1}, []) == [[3, 4, 1], [2]]


def test_a_survivor_whose_pair_stays_stays() -> None:
    assert complete_groups({1: None, 3: 1, 4: 1}, [1]) == [[3], [4]]


def test_who_stands_for_one_that_cannot_go_stays_too() -> None:
    assert complete_groups({1: None, 2: 1, 3: 2}, [2]) == [[3]]


@given(links=LINKS, staying=st.lists(st.integers(1, 12), max_size=3))
def test_all_go_once_that_can(links: dict[int, int | None], staying: list[int]) -> None:
    going = [key for group in complete_groups(links, staying) for key in group]
    assert len(going) == len(set(going))
    assert not set(going) & set(staying)
    left = links.keys() - set(going)
    for key in left:
        # One stays only for another that stays.
        assert key in staying or any(into == key and other in left for other, into in links.items())
    for key in going:
        assert not any(into == key for other, into in links.items() if other in left)


@given(links=LINKS)
def test_without_circles_whoever_is_merged_comes_first(links: dict[int, int | None]) -> None:
    straight = {key: into for key, into in links.items() if into is None or into < key}
    for group in complete_groups(straight, []):
        for number, key in enumerate(group):
            assert straight.get(key) not in group[:number]


@given(groups=st.lists(st.lists(st.integers(), min_size=1, max_size=5), max_size=8), pairs=st.integers(1, 6))
def test_a_file_has_whole_groups_and_no_more_than_it_must(groups: list[list[int]], pairs: int) -> None:
    files = list(whole_files(groups, pairs=pairs))
    assert [key for file in files for key in file] == [key for group in groups for key in group]
    lengths = {len(group) for group in groups}
    assert all(file and (len(file) <= pairs or len(file) in lengths) for file in files)
