"""The HTTP API: one file for each subject. The one rule: nobody learns of a case that is not theirs to know."""
