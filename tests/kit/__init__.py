"""The kit for the tests of sites that use the gateway."""
