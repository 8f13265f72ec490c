"""Other monitors at work on a workload's files, each in an environment of its own; nothing here needs mlobs_pipelines."""
