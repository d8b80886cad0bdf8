"""What every room builds on: events, streams, filters, options."""
