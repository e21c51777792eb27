"""What microscopes and pipelines write beside the pixels, in one model for all of them."""
