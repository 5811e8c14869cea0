"""tfds builder `kappatng_cosmos`; see README.md."""
