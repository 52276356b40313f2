"""Auditing: whether a running Gihan keeps what it guarantees, judged from outside by what it has written."""
