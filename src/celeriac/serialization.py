"""What a project may teach the serializers: formats of its own, and types that JSON has not.

The public face of `celeriac.message.serializers`, with the names and signatures of `kombu.serialization` and
`kombu.utils.json`. Called by projects where their app is made.
"""

from celeriac.message.serializers import register, register_type, unregister

__all__ = ["register", "register_type", "unregister"]
