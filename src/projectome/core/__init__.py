"""Values and pure mathematics that every other room speaks; imports numpy and errors only."""
