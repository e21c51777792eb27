"""Records of public datasets, one JSON document each; `projectome.io.records` reads them."""
