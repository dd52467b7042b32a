"""The figures of docs/guidance.md: a toy in two dimensions, and the bundled sample."""
