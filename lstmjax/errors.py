"""What went wrong outside the program: files, folders, settings. Command lines show the sentence, no traceback."""


class InputError(ValueError):
    """A file, a run folder or a setting that can't be used; the message is one sentence that names it."""
