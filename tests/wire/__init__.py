"""What asks over HTTP."""
