"""Taking documents out of everything that was made of them."""
