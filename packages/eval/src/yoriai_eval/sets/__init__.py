"""The evaluation sets: where they come from and how their rows are built."""
