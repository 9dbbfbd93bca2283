"""Where an incident goes: matchers, routes, owners and times of day."""
