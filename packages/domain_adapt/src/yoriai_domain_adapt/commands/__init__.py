"""The commands of ``yoriai-domain-adapt``."""
