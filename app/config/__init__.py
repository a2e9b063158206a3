"""What can be set: one frozen, validated configuration, from a YAML file and the command line."""
