"""tfds builder `halo_kappa`; see README.md."""
