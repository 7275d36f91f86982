"""Payloads: bytes of a request to typed inputs, predictions to bytes."""
