"""The short form of each promise's test: it drives the program from outside and says what it saw."""
