"""Cost of sessions: prices, the meter, the sum of one session, and the report."""
