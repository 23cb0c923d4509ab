"""The one exception that means "the person in front of the screen can mend this"."""


class UserError(ValueError):
    """A mistake of input or configuration: one line that says what, what it got, what was wanted, what to do.

    The command line prints it without a traceback and exits with code 2.
    """
