"""`celeriac migrate-from-celery`: what a project that uses Celery has to change, and the changes that need no thought.

`names`, `imports` and `told` are the one table of Celery's names, which the reference page is made from too; `verdicts`
looks a name up in it. The other modules read a project's files and never import them.
"""
