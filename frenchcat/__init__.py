"""The command line, the demo and its bundled sample: parses, calls one function, prints."""

__version__ = "0.1.0"
