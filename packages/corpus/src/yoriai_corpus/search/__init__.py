"""Search over everything that was read: any substring, its exact count, and where it stands."""
