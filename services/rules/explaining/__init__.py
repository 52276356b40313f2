"""Explaining: why a date is the date, in steps, and in the words of a citizen."""
