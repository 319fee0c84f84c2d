"""Seeded transactions whose right reconciliation is known before any engine has seen them."""
