"""What was said, what is kept of it."""
