"""The first page of the admin: how full the memory is, what the last night did, what waits for a person."""
