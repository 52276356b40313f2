-- A case is written again with each of its facts: its row stays in one piece, uncompressed, and finds room on its page.
alter table sla_timer.cases alter column state set storage external;
alter table sla_timer.cases set (toast_tuple_target = 8160, fillfactor = 80);
