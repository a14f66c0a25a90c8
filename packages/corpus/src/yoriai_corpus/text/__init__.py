"""What is known of characters, lines and n-grams: pure functions over batches of code points."""
