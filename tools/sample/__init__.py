"""The recipe of the bundled sample: choose, encode, plant, write."""
