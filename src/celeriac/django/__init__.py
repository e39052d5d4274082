"""Celeriac in a Django project: `INSTALLED_APPS += ["celeriac.django"]`.

The only package of Celeriac's that imports Django. It holds the broker and the result store on the project's own
database, the result store in Django's cache, the models, the admin, the system checks and the management command.
"""
