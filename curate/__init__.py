"""URL list -> shards, embeddings, scores, verdicts, selections."""
