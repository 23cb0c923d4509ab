"""What every other floor stands on: errors, records, config, devices, distribution, files and chunk arithmetic."""
