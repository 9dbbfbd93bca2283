"""Records to OpenTelemetry's protocol, logs over HTTP."""
