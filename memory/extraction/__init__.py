"""From messages to pairs: pure rules in modules of their own, one writer that stores what they decide."""
