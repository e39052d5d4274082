"""The Django app with our tasks, so that the worker finds them as it does in any project."""
