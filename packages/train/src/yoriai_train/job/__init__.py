"""One training job: its ranks, its loop, its watch, its ends."""
