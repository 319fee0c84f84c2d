"""Postgres: the event store, the streams that write it, and what else must outlive a process."""
