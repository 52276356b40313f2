"""`python -m services.notifier` runs the notifier. The one rule: everything it needs comes from the
environment.
"""

from services.notifier.app import main

if __name__ == "__main__":
    main()
