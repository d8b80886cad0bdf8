"""Foundation of every room: events, streams, filters, options."""
