"""sla_timer: folds CASES into deadlines, lets time pass as events, and emits what follows on SLA."""
