"""The notifier: decides only delivery and the life of a task, and tells on NOTICES what came of each."""
