"""The desk: the pages of the admin on which a person works through the morning, above all three rooms."""
