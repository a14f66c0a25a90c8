"""A web application over search indexes."""
