"""Records of public datasets, one JSON document each; `projectome.datasets.records` reads them."""
