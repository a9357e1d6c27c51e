"""One file per picture: it draws rows and arrays, and imports nothing of what made them."""
