"""Everything between an address and the core types; errors of other libraries stop here."""
