"""What people have typed, made fit to be shown in one line; all three applications need it."""

#: Characters of a name, and of a message.
LONGEST_NAME = 24
LONGEST_TEXT = 400


def one_line(text: str, longest: int) -> str:
    """The text without controls, marks of direction and long spaces."""
    words = "".join(c if c.isprintable() else " " for c in text).split()
    return " ".join(words)[:longest].strip()
