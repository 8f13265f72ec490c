"""The live pages: the same as the files, with forms; for this machine alone unless a proxy stands before it."""
