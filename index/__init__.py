"""Embeddings -> kNN index -> search, service, page."""
