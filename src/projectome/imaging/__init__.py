"""Images before analysis: normalisation and projections."""
