"""The only app of the scenarios' project."""
