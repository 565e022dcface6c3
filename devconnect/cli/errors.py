"""How a command fails: one line on stderr, a non-zero exit status, never a traceback."""

import click


class CliError(click.ClickException):
    """What went wrong and what to do about it, in a sentence or two.

    Click prints `Error: <message>` on stderr and exits with `exit_code`.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code
