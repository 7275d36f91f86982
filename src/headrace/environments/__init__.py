"""Environments: built by uv from a lock, cached by the hash of the lock."""
