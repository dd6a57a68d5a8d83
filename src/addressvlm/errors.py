"""What can go wrong through a user's input or wish, each with the exit code of the command line."""

from typing import ClassVar


class AddressVLMError(Exception):
    """Something a user can put right; the message names the thing, the value and the way out."""

    exit_code: ClassVar[int] = 3


class UsageError(AddressVLMError):
    """The command or function was asked for something that does not exist or does not fit together."""

    exit_code: ClassVar[int] = 2


class InterruptedJob(AddressVLMError):
    """The job was stopped (Ctrl-C, SIGTERM); the same command continues it."""

    exit_code: ClassVar[int] = 4
