"""Nothing here is a test: these files run in the environment of `make oracle`."""

collect_ignore_glob = ["*.py"]
