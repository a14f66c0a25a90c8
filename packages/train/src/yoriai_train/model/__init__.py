"""Models, losses, parameters in and out."""
