"""The only place where domains meet: whole jobs and their reports."""
