"""Names, schemas and atomic files: the lake and the evaluation store."""
