"""What a connected dataset is made of: HTTP, messages, selections (connected.py)."""
