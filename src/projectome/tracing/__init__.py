"""Labels and images to skeletons: minimal paths, TEASAR, joins, somata."""
