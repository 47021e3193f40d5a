"""What a night clears away and keeps safe: old files and rows, free pages, backups."""
