"""From a protocol to rows, scores and intervals; the step eval/run."""
