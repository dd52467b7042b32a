"""The recipe of the artist: drawings by package name, through the pipeline, to its training set."""
