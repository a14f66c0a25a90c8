"""From token shards to samples, in an order that is a pure function."""
