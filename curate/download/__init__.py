"""URL lists in, shards out: the safe fetch, the resizing and the writing."""
