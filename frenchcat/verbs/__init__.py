"""The verbs of an open dataset by theme; `OpenDataset` (opened.py) has them all."""
