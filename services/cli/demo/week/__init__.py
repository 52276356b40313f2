"""A working week of municipalities, made up but lifelike: what their systems send, when, through which door.

The one rule: the same seed gives the same bytes in the same order. Nothing here reads a clock, and every name, number
and address is invented (000 numbers, .example mail).

Three things keep the outcome of a run independent of how fast it goes: all steps lie on a grid of five minutes, a case
gets at most one new fact in a step, and what happened is never dated after the step that reports it.
"""
