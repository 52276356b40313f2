"""What is kept of a person, told to that person (Personal Information Protection Act, art. 35).

The one rule it protects: everything that is kept of somebody is told to them, and of nobody else anything. Read `whom`
(who is meant), `dossier` (what is kept), `page` (as it is printed). The API and the command line stand on the same.
"""
