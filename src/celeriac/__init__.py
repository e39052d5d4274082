"""Celeriac: background work for Django in one package."""
