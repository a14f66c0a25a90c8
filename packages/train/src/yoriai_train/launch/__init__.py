"""How a job starts on many nodes under a site's scheduler."""
