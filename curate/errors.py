"""What can go wrong for a reason that a person can mend, as a small tree of classes.

Every message is one line that says what, the value and the fix. The command line prints a
`FrenchcatError` as that line and exits with 2; code that decides by a kind of error asks for its
class, never for its words.
"""


def first_line(error: BaseException | str, most: int = 160) -> str:
    """What an error says, in one line of at most `most` characters; its class where it is mute."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:most]


class FrenchcatError(Exception):
    """The root: everything that frenchcat raises on purpose."""


class UserError(FrenchcatError):
    """A mistake in what was given: an argument, a setting, a file, a list."""


class NotFound(UserError):
    """A dataset, an index, a selection, a run, a row or an image that is not there."""


class Busy(UserError):
    """Another process holds the dataset; the same call later does it."""


class AlreadyThere(UserError):
    """What would be overwritten by another of the same name, and nobody agreed to that."""


class ConfirmationNeeded(UserError):
    """Costly work would be done again because a setting changed, and nobody agreed to that.

    `what` says which work and why, without the cure; nothing was changed.
    """

    def __init__(self, what: str, cure: str) -> None:
        super().__init__(what, cure)
        self.what, self.cure = what, cure

    def __str__(self) -> str:
        return f"{self.what}; {self.cure}"


class NothingDownloaded(UserError):
    """A download after which no row of the dataset has an image."""


class BadCondition(UserError):
    """A condition that is not allowed, cannot be read, or fails on the rows."""


class UnknownColumn(BadCondition):
    """A column that the dataset does not have; `column` is its name."""

    def __init__(self, message: str, column: str) -> None:
        super().__init__(message, column)
        self.column = column

    def __str__(self) -> str:
        return str(self.args[0])


class ModelUnavailable(UserError):
    """Weights that are neither on this machine nor to be had."""


class ModelMismatch(UserError):
    """Vectors of one model, asked for with another."""


class Damaged(UserError):
    """A file of a dataset or a run that is broken, cut short or changed."""


class Diverged(UserError):
    """Training whose loss, gradient or weights are not finite; nothing of it was saved."""


class UnreadableImage(UserError):
    """An image file that cannot be opened; `reason` says why, without the file's name."""

    def __init__(
        self, name: str, reason: str, cure: str = "give a jpg, png, webp or another image"
    ) -> None:
        super().__init__(name, reason, cure)
        self.reason = reason

    def __str__(self) -> str:
        name, reason, cure = self.args
        return f"{name} cannot be decoded ({reason}); {cure}"


class NotAllowed(UserError):
    """What a service does not do for this key, or for nobody; or a key that it does not know."""


class Unreachable(UserError):
    """A service that does not answer, answers in part, or is not frenchcat's."""


class Unwritable(UserError):
    """A file or folder that may not be written, or cannot be made."""


class NoSpace(UserError):
    """A disk without room for what is to be written."""
