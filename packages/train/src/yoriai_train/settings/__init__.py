"""What a recipe says of training: schedule, optimiser, stability, strategy, presets; no torch."""
