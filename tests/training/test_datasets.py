"""Which conversations are held out depends on their names alone."""

from training.datasets import is_held_out

KEYS = [f"chatgpt:{number}" for number in range(4000)]


def test_about_the_asked_share_is_held_out() -> None:
    assert 340 < sum(is_held_out(key, share=0.1) for key in KEYS) < 460


def test_a_larger_share_only_adds() -> None:
    small = {key for key in KEYS if is_held_out(key, share=0.05)}
    large = {key for key in KEYS if is_held_out(key, share=0.2)}
    assert small < large


def test_nothing_is_held_out_at_zero() -> None:
    assert not any(is_held_out(key, share=0) for key in KEYS)


def test_the_verdict_never_changes() -> None:
    """Pinned: another hash would move pairs between training and validation in every database there is."""
    assert is_held_out("demo:c-001", share=0.5)
    assert not is_held_out("demo:c-002", share=0.5)
