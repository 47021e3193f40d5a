import pytest

from memory.importers.records import BadRecordError
from memory.importers.trees import Node, arranged, chained, last_path, path_to
from memory.importers.turns import Turn


def node(name: str, parent: str | None, *, kept: bool = True, children: tuple[str, ...] = ()) -> Node:
    return Node(name, parent, Turn("user", name) if kept else None, children)


def test_parents_come_before_children_and_siblings_are_numbered_in_their_order() -> None:
    nodes = [node("b", "a"), node("c", "a"), node("a", None, children=("c", "b"))]

    found = arranged(nodes, frozenset({"a", "b"}))

    assert [(each.external_id, each.parent_id, each.branch_position, each.is_active_branch) for each in found] == [
        ("a", None, 0, True),
        ("c", "a", 0, False),
        ("b", "a", 1, True),
    ]


def test_the_children_of_an_empty_node_move_up() -> None:
    nodes = [node("root", None, kept=False), node("a", "root"), node("gap", "a", kept=False), node("b", "gap")]

    found = arranged(nodes, frozenset())

    assert [(each.external_id, each.parent_id) for each in found] == [("a", None), ("b", "a")]


def test_reasoning_becomes_a_leaf_beside_the_answer_it_was_cut_from() -> None:
    nodes = [node("q", None), Node("a", "q", Turn("assistant", "Four.", "two and two")), node("next", "a")]

    found = {each.external_id: each for each in arranged(nodes, frozenset({"q", "a", "next"}))}

    thought = found["a#reasoning"]
    assert (thought.parent_id, thought.role, thought.kind, thought.internal_generated) == (
        "q",
        "assistant",
        "introspection",
        True,
    )
    assert thought.content == "two and two"
    assert thought.branch_position == found["a"].branch_position
    assert found["next"].parent_id == "a"


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([node("a", "b"), node("b", "a")], "parent: 2 of 2 messages lie in a circle of parents"),
        ([node("r", None), node("a", "a")], "parent: 1 of 2 messages lie in a circle of parents"),
        ([node("a", "gone")], "parent: 'gone' of message 'a' does not exist"),
        ([node("a", None), node("a", None)], "id: 'a' stands there twice, allowed once in a conversation"),
    ],
)
def test_what_is_no_tree_is_a_bad_record(nodes: list[Node], reason: str) -> None:
    with pytest.raises(BadRecordError) as caught:
        arranged(nodes, frozenset())

    assert str(caught.value) == reason


def test_a_tree_deeper_than_the_stack_is_arranged() -> None:
    nodes = [node(str(number), str(number - 1) if number else None) for number in range(20_000)]

    assert len(arranged(nodes, last_path(nodes))) == 20_000


def test_paths_follow_a_leaf_or_the_last_draft() -> None:
    nodes = [node("a", None), node("b", "a"), node("c", "a"), node("d", "c")]

    assert path_to(nodes, "b") == {"a", "b"}
    assert path_to(nodes, "gone") == frozenset()
    assert path_to([node("a", "b"), node("b", "a")], "a") == {"a", "b"}
    assert last_path(nodes) == {"a", "c", "d"}


def test_a_longer_list_shares_the_ids_of_what_it_shares_and_a_diverging_one_branches_off() -> None:
    said = [Turn("user", "Hi"), Turn("assistant", "Hello"), Turn("user", "Bye")]
    short, long = chained(said[:2]), chained(said)
    other = chained([said[0], Turn("assistant", "Good day")])

    assert [each.external_id for each in long[:2]] == [each.external_id for each in short]
    assert other[0].external_id == long[0].external_id
    assert other[1].external_id != long[1].external_id
    assert other[1].parent_id == long[0].external_id


def test_the_same_words_further_down_are_another_message() -> None:
    found = chained([Turn("user", "continue"), Turn("assistant", "ok")] * 3)

    assert len({each.external_id for each in found}) == 6
