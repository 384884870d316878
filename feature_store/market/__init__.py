"""A simulated market: people, goods, and what the ones did with the others, with the true probabilities."""
