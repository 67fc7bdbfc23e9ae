"""What the intervals of totals, scenarios and orders cover."""
