"""The verbs of the command line, a file a field; no heavy import at module level."""
