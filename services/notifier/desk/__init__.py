"""The desk: what the municipality owes to whom by when, for clerks, approvers, heads and audit. HTML from the server.

The one rule it protects: nobody sees what is not theirs to know of, and no page decides who may do what: a step is
judged by `tasks.acting`, on the row that it changes.

Read `signing_in` and `sessions` (who is there), `site` (what every page shares), `lists` (what is to be done), `item`
(one task and its steps), `case` (its case, and why a date is the date), `trail` (who did what), `changes` (live).
"""
