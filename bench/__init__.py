"""Benchmarks against the real peers, each in its own environment, side by side in one run."""
