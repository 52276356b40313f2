"""Clients of Gihan, for the systems that publish to it. They know the contracts and nothing else of it."""
