"""`INSTALLED_APPS += ["celeriac"]` is taken for what is meant: Django looks for an app's configuration in this module.

Imported by Django alone. The app is `celeriac.django`, under either name.
"""

from celeriac.django.apps import CeleriacConfig as CeleriacConfig
