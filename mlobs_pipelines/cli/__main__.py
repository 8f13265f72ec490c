"""`python -m mlobs_pipelines.cli`."""

from mlobs_pipelines.cli import main

if __name__ == "__main__":
    main(prog_name="mlobs")
