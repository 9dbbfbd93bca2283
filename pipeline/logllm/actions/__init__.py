"""What runbooks declare to be done: offered with an incident, approved by a person, run once, all of it on record."""
