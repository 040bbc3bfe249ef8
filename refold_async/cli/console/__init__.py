"""What all commands share: options, exit codes, words, signals and standard streams."""
