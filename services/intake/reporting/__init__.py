"""The yearly report of a city: read from the views, and shown as page, PDF and table.

The one rule: every form shows the same value (`services.rules.reporting`), and the same value gives the same bytes.
"""
