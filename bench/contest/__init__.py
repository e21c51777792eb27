"""Methods beside each other on inputs of known truth: what they find, and what that takes."""
