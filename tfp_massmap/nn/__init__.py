"""Neural networks of the prior: what feeds them."""
