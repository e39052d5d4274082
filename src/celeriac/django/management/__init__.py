"""What the command line needs of Django, and its door: `python manage.py celeriac`."""
