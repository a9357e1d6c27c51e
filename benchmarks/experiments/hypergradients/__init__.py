"""Error, time, memory and compilations of hypergradients."""
