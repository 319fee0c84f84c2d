"""Benchmarks: the product as it is started in earnest, beside its peers, in one run."""
