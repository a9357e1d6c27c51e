"""The experiments: a folder per family, a file per experiment, named as the experiment."""
