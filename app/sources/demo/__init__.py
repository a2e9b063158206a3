"""The camera without a device."""
