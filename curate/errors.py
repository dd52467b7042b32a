"""The one error a user can cause: a single line that says what, the value and the fix."""


class UserError(Exception):
    """A mistake in what the user gave; the command line prints it as one line and exits with 2."""
