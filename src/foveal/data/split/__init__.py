"""Train, validation and test subsets."""
