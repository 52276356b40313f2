"""Tasks and remedies: what somebody of the municipality must do, from the decision that wants it to its end.

The one rule: nothing is paid twice for one incident, nothing before two people have looked at it, and every step that a
person takes stands on NOTICES in the transaction that makes it.

A task:    (held) -> assigned -> done, by somebody or by a fact; withdrawn where the decision is taken back before.
A remedy:  (held) -> assigned -> [found] -> [amount entered] -> approved -> issued -> acknowledged; or declined.
           Withdrawn where the breach is retracted, kept where that comes after it was issued; covered where the
           incident was paid for under another name, and assigned after all where an approver says it is another.

Read `kinds` (which tasks there are and with whom they lie), `noted` (what the facts of a case say of it), `wanted`
(what follows from a decision beyond itself), `life` (what may follow on what, and who may do it), `store` (how rows
come and leave), `rows` (what a row is), `steps` (what people do to it), `noting` (what facts do to it), `book` (the
money), `covering` (what is paid already), `acting` (what the desk calls), `findings` (what it sends by the door) and
`letters` (drawn by `letter_page`). Lists are read from read.tasks, read.task_steps, read.book and read.remedy_sums.
"""
