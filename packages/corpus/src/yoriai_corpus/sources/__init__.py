"""Readers: from files of every common kind to documents."""
