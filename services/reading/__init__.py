"""What more than one service reads of cases: the views of schema `read` together with the rules, and how it is told.

The one rule it protects: who may know what of a case is said once, whoever serves the page.
"""
