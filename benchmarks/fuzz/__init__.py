"""Random problems with exact hypergradients, to judge certificates by."""
