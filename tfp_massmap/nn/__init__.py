"""Neural networks: architectures, layers, optimizer, training loop and files."""
