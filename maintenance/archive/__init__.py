"""Where pairs go that are no longer trained: first out of the pools, then out of the database, and back."""
