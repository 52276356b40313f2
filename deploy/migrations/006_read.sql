-- What the pages and answers for people read beside the cases: the rules that hold.
create view read.enacted as
select partition, sequence, convert_from(body, 'UTF8') as body from sla_timer.enacted;
comment on view read.enacted is 'Per partition, in order: the events that enact charters, calendars and revisions of the rules.';
