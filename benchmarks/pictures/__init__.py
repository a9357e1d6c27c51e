"""The pictures of the experiments: they draw rows and arrays, and import no experiment."""
