-- Who read what is kept of a person is told to that person: the access record is asked by reference.
create index access_ref on vault.access (tenant, ref);
