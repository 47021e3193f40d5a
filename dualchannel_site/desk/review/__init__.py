"""The review queue: one pair after another, decided by keyboard."""
