"""Candidates, selection and finality: how open transactions become matches."""
