"""Exports into the database: parsed records become rows, batch by batch, and importing twice adds nothing."""
