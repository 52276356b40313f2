"""What a city says of itself: how well each promise was kept in a year, what it owed and paid, what citizens said.

The one rule: it is counted from the record as it was known at an instant, by pure functions. The same record and the
same instant give the same numbers, wherever the record was read.
"""
