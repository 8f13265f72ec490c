"""The model of a version and a bounded sample of its rows -> what each feature adds to its predictions, as additive sums."""
