"""Text that every database can hold, of what strangers may have written.

Called for each name, id and text that goes into a table. One task with an odd name must not stop a whole batch.
"""

#: The length of the columns for names and ids.
NAME = 255


def text(value: str) -> str:
    """Return `value` without NUL, which PostgreSQL refuses, and without lone surrogates, which no database takes."""
    if value.isascii() and "\0" not in value:
        return value
    return value.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def name(value: str) -> str:
    """Return `value` as it fits into a column for names."""
    if len(value) <= NAME and value.isascii() and "\0" not in value:
        return value
    return text(value[:NAME])
