"""Pure mathematics on skeletons: measures, edits, crossings, rasters."""
