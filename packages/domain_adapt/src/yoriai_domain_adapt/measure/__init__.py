"""What a change gained and lost, and whether a hop kept the model as it was."""
