"""Hugging Face folders and artifacts, read and written a tensor at a time."""
