"""Products with stock, and the orders that people place for them."""
