"""Tests, in folders that tell what each needs."""
