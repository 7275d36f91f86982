"""The demo: a simulated fleet, the whole loop on it, and a summary."""
