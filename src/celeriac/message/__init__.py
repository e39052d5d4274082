"""What is on the wire: messages, serializers, the protocol, and the form of stored results."""
