"""Which questions stand in which text; the step eval/contamination."""
