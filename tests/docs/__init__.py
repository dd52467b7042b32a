"""The documentation, run as printed.

`blocks` reads the code blocks of a page, `world` makes the folder in which a page's blocks find
what they name, `server` runs their commands without starting Python and torch for each of them,
and `stand_ins` says what is smaller or nearer there than a reader's own.
"""
