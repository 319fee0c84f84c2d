"""Advice on definitions that are valid and yet may not do what was meant."""
