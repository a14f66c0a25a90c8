"""Models beside one another."""
