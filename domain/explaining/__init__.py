"""Explanations: why a decision is what it is, told from the definition and the members."""
