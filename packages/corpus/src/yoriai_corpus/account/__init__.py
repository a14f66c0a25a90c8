"""What became of every document, and how right the rules were."""
