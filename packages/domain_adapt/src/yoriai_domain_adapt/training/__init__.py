"""Small training loops: rows of a vocabulary, and a student on its teacher."""
