"""The loop that runs every day: train on what is new, gate, publish, compare, promote or roll back."""
