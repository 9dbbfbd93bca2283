"""Who is told of an incident, when, by what way, and until it has arrived."""
