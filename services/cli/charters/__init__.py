"""Charters at the command line: what is wrong with one, what a new one changes, and which tests show each clause."""
