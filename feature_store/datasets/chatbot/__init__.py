"""The simulator of a shop's service chatbot: who comes, with which orders, what they want and what of it is seen."""
