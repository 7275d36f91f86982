"""Workers: processes in a model version's own environment that score what has no kernel."""
