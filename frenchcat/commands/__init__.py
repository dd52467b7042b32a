"""The verbs of the command line, one file per field; no heavy import at module level."""
