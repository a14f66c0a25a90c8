"""Plain functions on tensors and counts: what every step below computes with."""
