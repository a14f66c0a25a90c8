"""From text to token shards and mixtures."""
