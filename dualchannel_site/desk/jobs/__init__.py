"""Work that a person starts from the admin, and a worker does."""
