"""How attacks scale: devices, batches."""
